"""What a page is told beside answers: the history, the server, and who computes what."""

import itertools
import platform
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import server as package
from tests.support.servers import (
    FOR_TESTS,
    RunningServer,
    in_threads,
    running_server,
    wait_for,
)

TOKEN = "correct-horse-battery-staple"
STATUSES = ("running", "done", "error", "queued", "failed", "cancelled")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("facts"), configuration=FOR_TESTS) as running:
        yield running


def pages(server: RunningServer, path: str) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, from `path` on, as a client follows them."""
    address: str | None = path
    while address:
        answer = server.get(address)
        assert answer["status"] == "done"
        yield answer["data"]
        address = answer.get("next")


def everything(server: RunningServer, path: str) -> list[int]:
    return [each["job_id"] for page in pages(server, path) for each in page]


# -- the history ----------------------------------------------------------------------


def test_the_history_has_each_job_s_record_newest_first(server: RunningServer) -> None:
    ids = [server.submit("echo", value=number) for number in range(3)]
    for job_id in ids:
        server.result(job_id)
    first, second, third = server.get("/api/history?limit=3")["data"]
    assert [first["job_id"], second["job_id"], third["job_id"]] == ids[::-1]
    assert third == server.get(f"/api/jobs/{ids[0]}")["data"]
    assert first["links"]["result"] == f"/api/get_results/{ids[2]}"
    assert first["request"]["value"] == 2


def test_a_page_has_fifty_jobs_unless_it_is_asked_for_others(tmp_path: Path) -> None:
    jobs = {"jobs": [{"statistic": "echo", "value": 1}] * 100}
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        assert server.get("/api/history") == {"status": "done", "data": []}
        for _ in range(6):
            assert server.ask("POST", "/api/batch", jobs).status == 202
        assert [len(page) for page in pages(server, "/api/history")] == [50] * 12 + [0]
        assert [len(page) for page in pages(server, "/api/history?limit=600")] == [500, 100]
        assert everything(server, "/api/history?limit=7") == list(range(600, 0, -1))
        assert everything(server, "/api/history?before=4&limit=2") == [3, 2, 1]


def test_the_history_can_be_cut_by_state_and_statistic(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        done = [server.submit("echo", value=number) for number in range(3)]
        failed = server.submit("fail", value="of no use")
        for job_id in (*done, failed):
            server.result(job_id)
        running = [server.submit("wait_for_file", path=str(gate)) for _ in range(2)]
        wait_for(lambda: len(server.get("/api/pool")["data"]["computing"]) == 2, "both have begun")
        queued = [server.submit("echo", value=number) for number in range(2)]
        cancelled = server.submit("echo", value="in vain")
        assert server.ask("DELETE", f"/api/jobs/{cancelled}").status == 200
        wanted = {
            "done": done[::-1],
            "failed": [failed],
            "cancelled": [cancelled],
            "error": [cancelled, failed],
            "queued": queued[::-1],
            "running": [*queued[::-1], *running[::-1]],
        }
        assert wanted.keys() == set(STATUSES)
        for status, ids in wanted.items():
            assert everything(server, f"/api/history?status={status}") == ids
            assert everything(server, f"/api/history?status={status}&limit=1") == ids
            listed = server.get(f"/api/jobs?status={status}")["data"]
            assert [*map(list, listed)] == [[f"job_id_{job_id}"] for job_id in reversed(ids)]
        assert everything(server, "/api/history?statistic=wait_for_file") == running[::-1]
        assert everything(server, "/api/history?statistic=echo&status=done") == done[::-1]
        gate.touch()


def newest(server: RunningServer) -> int:
    found = server.get("/api/history?limit=1")["data"]
    return found[0]["job_id"] if found else 0


def test_pages_miss_nobody_and_double_nobody_while_jobs_arrive(tmp_path: Path) -> None:
    arrived = itertools.count(1)

    def arrive(left: threading.Event) -> None:
        while not left.is_set():
            server.submit("echo", value=next(arrived))

    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        with in_threads(arrive, 2):
            for query in ("", "&statistic=echo", "&status=done"):
                wait_for(lambda: newest(server) > 30, "some have come")
                known = newest(server)
                ids: list[int] = []
                for page in pages(server, f"/api/history?limit=9{query}"):
                    ids += [each["job_id"] for each in page]
                    wait_for(lambda first=ids[0]: newest(server) > first, "others come meanwhile")
                assert ids == sorted(set(ids), reverse=True)
                if query != "&status=done":
                    assert ids[ids.index(known) :] == list(range(known, 0, -1))
        wait_for(lambda: server.get("/api/num_jobs")["data"] == 0, "all have ended")
        whole = list(range(newest(server), 0, -1))
        assert everything(server, "/api/history?limit=500&status=done") == whole


@pytest.mark.parametrize(
    "query",
    [
        *("status=finished", "statistic=best6", "limit=0", "limit=x", "limit=-1", "before=0"),
        *("before=x", "after=1", "page=2", f"before={10**18}"),
    ],
)
def test_a_history_that_cannot_be_cut_so_is_refused(server: RunningServer, query: str) -> None:
    answer = server.ask("GET", f"/api/history?{query}")
    assert answer.status == 400
    assert answer.json["reason"]


# -- the server -----------------------------------------------------------------------


def test_the_server_says_what_it_is(tmp_path: Path) -> None:
    settings = {"SPORTIV_JOB_TIMEOUT": "77", "SPORTIV_RESULT_TTL": "0", "SPORTIV_MAX_QUEUED": "9"}
    with running_server(tmp_path, SPORTIV_DURABILITY="process", **settings) as server:
        facts = server.get("/api/server")["data"]
        assert facts["version"] == package.__version__
        assert facts["python"] == platform.python_version()
        assert {"flask", "gunicorn", "numpy", "vl-convert-python"} <= facts["libraries"].keys()
        assert (facts["backend"], facts["workers"]) == ("process", 2)
        assert facts["durability"] == "process"
        assert facts["cores"] >= 1
        assert (facts["needs_token"], facts["open_reads"]) == (False, False)
        limits = facts["limits"]
        assert (limits["job_timeout"], limits["max_queued"]) == (77, 9)
        assert limits["result_ttl"] is None
        questions = server.get("/api/questions")["data"]
        table = facts["table"]
        assert table["rows"] == sum(each["rows"] for each in questions)
        assert table["questions"] == len(questions)
        assert table["states"] == len(server.get("/api/states")["data"])
        years = [year for each in questions for year in each["years"]]
        assert table["years"] == [min(years), max(years)]
        assert table["file"] == "sample.csv.gz"
        assert table["title"]
        assert table["fingerprint"] == server.get("/api/pool")["data"]["fingerprint"]
        metrics = server.ask("GET", "/metrics").content.decode()
        shown = re.search(r"^sportiv_shared_bytes (.*)$", metrics, re.MULTILINE)
        assert shown is not None
        assert table["shared_bytes"] == float(shown[1]) > 100_000


def test_the_server_says_when_it_takes_no_new_jobs_and_since_when_it_serves(
    tmp_path: Path,
) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        job_id = server.submit("echo", value=1)
        server.result(job_id)
        facts = server.get("/api/server")["data"]
        assert facts["accepting"] is True
        assert facts["started_at"] <= server.get(f"/api/jobs/{job_id}")["data"]["accepted_at"]
        server.get("/api/graceful_shutdown")
        later = server.get("/api/server")["data"]
        assert later == facts | {"accepting": False}


def test_no_fact_is_a_secret(tmp_path: Path) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with running_server(tmp_path, SPORTIV_TOKEN=TOKEN) as server:
        for path in ("/api/server", "/api/history"):
            assert server.ask("GET", path).status == 401
        answer = server.ask("GET", "/api/server", None, bearer)
        assert answer.json["data"]["needs_token"] is True
        for secret in (TOKEN, str(tmp_path), str(Path(__file__).parents[2])):
            assert secret.encode() not in answer.content


# -- who computes what ----------------------------------------------------------------


def test_the_pool_tells_who_computes_what_and_how_many_have_ended(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        pool = server.get("/api/pool")["data"]
        assert (pool["computing"], pool["ended_jobs"]) == ([], 0)
        job_id = server.submit("wait_for_file", path=str(gate))

        def busy() -> Any:
            pool = server.get("/api/pool")["data"]
            return pool if pool["computing"] else None

        pool = wait_for(busy, "the job has begun")
        assert pool["computing"] == [
            {"job_id": job_id, "statistic": "wait_for_file", "progress": 0.0}
        ]
        assert job_id in [worker["job"] for worker in pool["workers"]]
        gate.touch()
        server.result(job_id)
        server.result(server.submit("fail", value="of no use"))
        assert server.get("/api/pool")["data"]["ended_jobs"] == 2
