"""Jobs as resources: waiting for them, keys, batches, lists, and answers given again."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import WHERE_IT_IS_KNOWN_HOW_A_WORKER_DIED, Settings
from tests.support.servers import FOR_TESTS, Answer, RunningServer, running_server, wait_for

OBESITY = "Percent of adults aged 18 years and older who have obesity"
LONG = "60"


@pytest.fixture(scope="module")
def server(backend: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("resources")
    with running_server(folder, configuration=FOR_TESTS, **backend) as running:
        yield running


def post(server: RunningServer, name: str, body: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.ask("POST", f"/api/{name}", body, named or None)


def known_jobs(server: RunningServer) -> int:
    return len(server.get("/api/jobs")["data"])


# -- waiting --------------------------------------------------------------------------


def test_a_post_that_prefers_to_wait_is_answered_with_the_result(server: RunningServer) -> None:
    for wish in (f"wait={LONG}", f'respond-async, wait="{LONG}"; x=1', f"WAIT={LONG}, wait=0"):
        answer = post(server, "echo", {"value": 7}, Prefer=wish)
        assert answer.status == 200
        assert answer.json == {"status": "done", "data": 7}
        assert answer.headers["preference-applied"] == f"wait={LONG}"
        assert server.get(answer.headers["location"]) == answer.json


def test_a_post_whose_job_does_not_end_in_time_is_answered_202(
    server: RunningServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    answer = post(server, "wait_for_file", {"path": str(gate)}, Prefer="wait=0.05")
    assert answer.status == 202
    assert answer.json["status"] == "running"
    assert "preference-applied" not in answer.headers
    assert int(answer.headers["retry-after"]) > 0
    gate.touch()
    server.result(answer.json["job_id"])


@pytest.mark.parametrize("wish", ["wait", "wait=", "wait=-1", "wait=soon", "", "return=minimal"])
def test_a_preference_that_makes_no_sense_is_passed_over(server: RunningServer, wish: str) -> None:
    assert post(server, "echo", {"value": 1}, Prefer=wish).status == 202


@WHERE_IT_IS_KNOWN_HOW_A_WORKER_DIED
def test_a_job_that_fails_while_a_client_waits_is_told_as_any_other(server: RunningServer) -> None:
    answer = post(server, "leave", {"value": 3}, Prefer=f"wait={LONG}")
    assert answer.status == 200
    assert answer.json["status"] == "error"
    assert "exit code 3" in answer.json["reason"]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"torn"), Path.unlink])
def test_a_job_whose_result_is_gone_or_damaged_is_accepted_for_who_waits_too(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        job_id = post(server, "echo", {"value": 7}, Idempotency_Key="k").json["job_id"]
        server.result(job_id)
        wait_for(lambda: ended(server, job_id), "the end is on record")
        damage(server.results / f"job_id_{job_id}.json")
        answer = post(server, "echo", {"value": 7}, Idempotency_Key="k", Prefer=f"wait={LONG}")
        assert answer.status == 202
        assert answer.json == {"job_id": job_id, "status": "running"}
        assert "preference-applied" not in answer.headers


def ended(server: RunningServer, job_id: int) -> bool:
    """Whether the job is out of memory: what is known of it says nothing of its parts."""
    return "parts" not in server.get(f"/api/jobs/{job_id}")["data"]


def test_who_waits_for_a_result_has_it_as_soon_as_the_job_ends(
    server: RunningServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job_id = server.submit("wait_for_file", path=str(gate), value="waited")
    wait_for(Path(f"{gate}.begun").exists, "the job has begun")
    assert server.get(f"/api/get_results/{job_id}?wait=0.01") == {"status": "running"}
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(server.get, f"/api/get_results/{job_id}?wait={LONG}")
        assert not answer.done()
        gate.touch()
        assert answer.result(30) == {"status": "done", "data": "waited"}
    assert server.get(f"/api/get_results/{job_id}?wait={LONG}")["data"] == "waited"


def test_clients_that_wait_never_take_all_threads(server: RunningServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = server.submit("wait_for_file", path=str(gate), value="waited")
    with ThreadPoolExecutor(40) as clients:
        path = f"/api/get_results/{job_id}?wait={LONG}"
        answers = [clients.submit(server.get, path) for _ in range(40)]
        # 16 threads serve: the 32 that may not wait are answered at once.
        wait_for(lambda: sum(each.done() for each in answers) == 32, "others are answered")
        assert server.get("/healthz") == {"status": "ok"}
        gate.touch()
        ended = [each.result(30) for each in answers]
    assert sum(each["status"] == "done" for each in ended) == 8


@pytest.mark.parametrize("wait", ["-1", "soon", "61", "1e3", "nan", "1e", ""])
def test_a_wait_that_makes_no_sense_is_refused(server: RunningServer, wait: str) -> None:
    job_id = server.submit("echo")
    answer = server.ask("GET", f"/api/get_results/{job_id}?wait={wait}")
    assert answer.status == 400
    assert "from 0 to 60" in answer.json["reason"]


# -- keys -----------------------------------------------------------------------------


def test_the_same_key_and_request_are_one_job(server: RunningServer) -> None:
    before = known_jobs(server)
    with ThreadPoolExecutor(20) as clients:
        answers = list(
            clients.map(
                lambda _: post(server, "echo", {"value": "once"}, Idempotency_Key="key-1"),
                range(100),
            )
        )
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["job_id"] for answer in answers}) == 1
    assert known_jobs(server) == before + 1


def test_the_same_key_with_another_request_is_refused(server: RunningServer) -> None:
    first = post(server, "echo", {"value": 1}, Idempotency_Key="key-2")
    for name, body in (("echo", {"value": 2}), ("pid", {"value": 1}), ("echo", {"priority": 1})):
        answer = post(server, name, body, Idempotency_Key="key-2")
        assert answer.status == 422
        assert f"job {first.json['job_id']}" in answer.json["reason"]
    batch = {"jobs": [{"statistic": "echo", "value": 1}]}
    assert post(server, "batch", batch, Idempotency_Key="key-2").status == 422


def test_a_drawn_seed_does_not_make_it_another_request(server: RunningServer) -> None:
    body = {"question": OBESITY, "states": ["Ohio"], "n_resamples": 100}
    ids = [
        post(server, "bootstrap_ci", body, Idempotency_Key="key-3").json["job_id"] for _ in range(3)
    ]
    assert len(set(ids)) == 1


@pytest.mark.parametrize("key", ["", "with space", "k" * 256, "ключ"])
def test_what_is_no_key_is_refused(server: RunningServer, key: str) -> None:
    before = known_jobs(server)
    answer = post(server, "echo", {}, Idempotency_Key=key.encode().decode("latin-1"))
    assert answer.status == 400
    assert known_jobs(server) == before


def test_a_key_is_kept_as_long_as_its_job_also_over_a_kill(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        first = post(server, "echo", {"value": 1}, Idempotency_Key="kept").json["job_id"]
        server.kill()
    short = {"SPORTIV_RESULT_TTL": "2"}
    with running_server(tmp_path, configuration=FOR_TESTS, **short) as server:
        again = post(server, "echo", {"value": 1}, Idempotency_Key="kept")
        assert again.json["job_id"] == first
        wait_for(lambda: server.ask("GET", f"/api/jobs/{first}").status == 404, "it is let go")
        assert post(server, "echo", {"value": 2}, Idempotency_Key="kept").json["job_id"] > first


# -- batches --------------------------------------------------------------------------


def test_a_batch_is_accepted_whole_and_has_one_id(server: RunningServer) -> None:
    jobs = [{"statistic": "echo", "value": number} for number in range(50)]
    answer = post(server, "batch", {"jobs": jobs})
    assert answer.status == 202
    ids = answer.json["job_ids"]
    assert ids == list(range(ids[0], ids[0] + 50))
    assert answer.json["batch_id"] == ids[0]
    address = answer.headers["location"]
    wait_for(lambda: server.get(address)["status"] == "done", "the whole batch is done")
    whole = server.get(address)
    assert whole["progress"] == 1.0
    assert whole["data"] == [{f"job_id_{job_id}": "done"} for job_id in ids]
    assert [server.result(job_id)["data"] for job_id in ids] == list(range(50))
    record = server.get(f"/api/jobs/{ids[7]}")["data"]
    assert record["batch"] == ids[0]
    assert record["links"]["batch"] == address


def test_a_batch_that_runs_tells_its_progress(server: RunningServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs = [{"statistic": "echo"}] * 3 + [{"statistic": "wait_for_file", "path": str(gate)}]
    address = post(server, "batch", {"jobs": jobs}).headers["location"]
    wait_for(lambda: server.get(address)["progress"] == 0.75, "three of four are done")
    assert server.get(address)["status"] == "running"
    gate.touch()
    wait_for(lambda: server.get(address)["status"] == "done", "all are")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "a batch is"),
        ({"jobs": []}, "1 to 100 jobs"),
        ({"jobs": {}}, "a batch is"),
        ({"jobs": [{}], "more": 1}, "a batch is"),
        ({"jobs": [7]}, "jobs[0] must be an object"),
        ({"jobs": [{"statistic": "ech"}]}, "jobs[0]: no statistic 'ech'; nearest: 'echo'"),
        (
            {"jobs": [{"statistic": "echo"}, {"statistic": "best5", "question": "obesty"}]},
            "jobs[1]: no question 'obesty'",
        ),
        ({"jobs": [{"statistic": "echo", "timeout_s": 1e6}]}, "timeout_s"),
    ],
)
def test_a_batch_with_one_bad_job_is_refused_whole(
    server: RunningServer, body: Any, reason: str
) -> None:
    before = known_jobs(server)
    answer = post(server, "batch", body)
    assert answer.status == 400
    assert reason in answer.json["reason"]
    assert known_jobs(server) == before


def test_a_batch_that_finds_no_room_is_refused_whole(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_MAX_QUEUED="5") as server:
        answer = post(server, "batch", {"jobs": [{"statistic": "echo"}] * 6})
        assert answer.status == 503
        assert server.get("/api/jobs")["data"] == []
        assert post(server, "batch", {"jobs": [{"statistic": "echo"}] * 5}).status == 202


def test_a_batch_may_have_a_key(server: RunningServer) -> None:
    body = {"jobs": [{"statistic": "echo", "value": number} for number in range(3)]}
    first, again = (post(server, "batch", body, Idempotency_Key="batch-1") for _ in range(2))
    assert first.json == again.json
    body["jobs"].append({"statistic": "echo"})
    assert post(server, "batch", body, Idempotency_Key="batch-1").status == 422


def test_a_key_gives_the_whole_batch_again_also_where_only_some_of_it_is_kept(
    tmp_path: Path,
) -> None:
    body = {"jobs": [{"statistic": "echo", "value": number} for number in range(3)]}
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_MAX_RESULTS="1") as server:
        first = post(server, "batch", body, Idempotency_Key="batch")
        wait_for(lambda: known_jobs(server) == 1, "the others are let go")
        again = post(server, "batch", body, Idempotency_Key="batch")
        assert again.json == first.json
        address = again.headers["location"]
        assert address == first.headers["location"]
        assert server.get(address)["data"] == [{"job_id_3": "done"}]


@pytest.mark.parametrize("batch", ["999999", "0", "x", "../1"])
def test_an_unknown_batch_is_404(server: RunningServer, batch: str) -> None:
    assert server.ask("GET", f"/api/batch/{batch}").status == 404


# -- lists ----------------------------------------------------------------------------


def test_a_list_of_jobs_can_be_cut_by_state_and_statistic(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        done = [server.submit("echo", value=number) for number in range(3)]
        failed = server.submit("leave", value=3, timeout_s=60)
        for job_id in (*done, failed):
            server.result(job_id)
        running = server.submit("wait_for_file", path=str(gate))

        def listed(query: str) -> list[int]:
            data = server.get(f"/api/jobs?{query}")["data"]
            return [int(name.removeprefix("job_id_")) for each in data for name in each]

        assert listed("status=done") == done
        assert listed("status=error") == listed("status=failed") == [failed]
        assert listed("status=cancelled") == []
        assert listed("status=running") == [running]
        assert listed("statistic=echo") == done
        assert listed("statistic=echo&status=running") == []
        page = server.get("/api/jobs?status=done&limit=2")
        assert len(page["data"]) == 2
        assert server.get(page["next"])["data"] == [{f"job_id_{done[2]}": "done"}]
        gate.touch()


@pytest.mark.parametrize(
    "query", ["status=finished", "statistic=best6", "limit=0", "after=-1", "page=2"]
)
def test_a_list_that_cannot_be_cut_so_is_refused(server: RunningServer, query: str) -> None:
    assert server.ask("GET", f"/api/jobs?{query}").status == 400


# -- answers given again --------------------------------------------------------------


def test_an_identical_question_is_given_the_earlier_answer(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_CACHE="1") as server:
        first = server.submit("pid")
        answer = server.result(first)
        again = server.submit("pid", priority=9)
        assert server.result(again) == answer
        record = server.get(f"/api/jobs/{again}")["data"]
        assert (record["cached_from"], record["state"]) == (first, "done")
        assert server.get(f"/api/jobs/{first}")["data"]["cached_from"] is None
        other = server.submit("pid", value=1)
        server.result(other)
        assert server.get(f"/api/jobs/{other}")["data"]["cached_from"] is None


def test_an_answer_that_has_gone_or_was_damaged_is_not_given_again(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_CACHE="1") as server:
        for harm in (Path.unlink, lambda path: path.write_text('{"status":"done","data":0}')):
            first = server.submit("echo", value=str(harm))
            server.result(first)
            harm(server.results / f"job_id_{first}.json")
            again = server.submit("echo", value=str(harm))
            assert server.result(again)["data"] == str(harm)
            assert server.get(f"/api/jobs/{again}")["data"]["cached_from"] is None


def test_a_question_without_a_seed_is_answered_anew_each_time(tmp_path: Path) -> None:
    body = {"question": OBESITY, "states": ["Ohio"], "n_resamples": 100}
    with running_server(tmp_path, SPORTIV_CACHE="1") as server:
        seeds = {server.data("bootstrap_ci", **body)["seed"] for _ in range(3)}
        assert len(seeds) == 3
        first = server.submit("bootstrap_ci", **body, seed=1)
        server.result(first)
        again = server.submit("bootstrap_ci", **body, seed=1)
        server.result(again)
        assert server.get(f"/api/jobs/{again}")["data"]["cached_from"] == first


def test_a_failure_is_not_given_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with running_server(
        tmp_path, configuration=FOR_TESTS, SPORTIV_CACHE="1", SPORTIV_MAX_ATTEMPTS="1"
    ) as server:
        assert server.result(server.submit("leave_once", path=str(mark)))["status"] == "error"
        assert server.data("leave_once", path=str(mark)) == "survived"


def test_many_who_ask_the_same_at_once_all_have_the_answer(tmp_path: Path) -> None:
    with running_server(tmp_path, SPORTIV_CACHE="1") as server, ThreadPoolExecutor(16) as clients:
        barrier = threading.Barrier(16)

        def ask(_: int) -> Any:
            barrier.wait()
            return [server.data("best5", question=OBESITY) for _ in range(10)]

        answers = list(clients.map(ask, range(16)))
        assert all(each == answers[0][0] for answer in answers for each in answer)
