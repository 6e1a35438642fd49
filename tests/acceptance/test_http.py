"""Every address of the server as a client sees it, bare and with the double slash."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from server.stats import STATISTICS
from tests.support.backends import WHERE_WORKERS_ARE_PROCESSES, Settings
from tests.support.servers import RunningServer, running_server, wait_for

OBESITY = "Percent of adults aged 18 years and older who have obesity"


@pytest.fixture(scope="module")
def server(backend: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("http"), **backend) as running:
        running.wait_until_whole()
        yield running


def jobs_known(server: RunningServer) -> int:
    return len(server.get("/api/jobs")["data"])


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_a_job_goes_from_post_to_result(server: RunningServer, slashes: str) -> None:
    answer = server.ask("POST", f"{slashes}api/best5", {"question": OBESITY})
    assert answer.status == 202
    job_id = answer.json["job_id"]
    assert type(job_id) is int
    assert answer.headers["location"] == f"/api/get_results/{job_id}"
    result = server.result(job_id)
    assert result["status"] == "done"
    assert len(result["data"]) == 5
    for name in (job_id, f"job_id_{job_id}"):
        assert server.get(f"{slashes}api/get_results/{name}") == result


@pytest.mark.parametrize(
    "path",
    [
        "api/jobs",
        "api/num_jobs",
        "api/statistics",
        "api/questions",
        "api/states",
        "api/pool",
        "healthz",
        "readyz",
    ],
)
def test_every_get_answers_bare_and_with_the_double_slash(server: RunningServer, path: str) -> None:
    bare, double = server.ask("GET", f"/{path}"), server.ask("GET", f"//{path}")
    assert bare.status == double.status == 200
    assert bare.json.keys() == double.json.keys()
    assert bare.headers["content-type"] == "application/json"


def test_num_jobs_counts_jobs_that_have_not_ended_under_both_names(server: RunningServer) -> None:
    wait_for(lambda: server.get("/api/num_jobs")["data"] == 0, "all jobs have ended")
    assert server.get("/api/num_jobs") == {"status": "done", "data": 0, "num_jobs": 0}


def test_jobs_lists_every_job_in_order(server: RunningServer) -> None:
    job_id = server.submit("global_mean", question=OBESITY)
    server.result(job_id)
    listed = server.get("/api/jobs")
    assert listed["status"] == "done"
    assert [list(each) for each in listed["data"]] == [
        [f"job_id_{number}"] for number in range(1, job_id + 1)
    ]
    assert listed["data"][-1] == {f"job_id_{job_id}": "done"}


def test_pool_shows_each_worker_and_an_empty_lock_map(
    server: RunningServer, backend: Settings
) -> None:
    wait_for(lambda: server.get("/api/num_jobs")["data"] == 0, "all jobs have ended")
    pool = server.get("/api/pool")["data"]
    assert pool["backend"] == backend["SPORTIV_BACKEND"]
    assert len(pool["workers"]) == 2
    for worker in pool["workers"]:
        assert worker.keys() == {"pid", "state", "job", "tasks_done", "memory"}
        assert worker["state"] == "idle"
        assert worker["job"] is None
        assert (worker["memory"] > 0) is (pool["backend"] == "process"), "only it measures that"
    assert pool["queued_jobs"] == pool["result_locks"] == 0


def test_statistics_name_their_address_and_fields(server: RunningServer) -> None:
    listed = {each["name"]: each for each in server.get("/api/statistics")["data"]}
    assert list(listed) == list(STATISTICS)
    assert listed["state_mean"]["path"] == "/api/state_mean"
    assert [field["name"] for field in listed["state_mean"]["fields"] if field["required"]] == [
        "question",
        "state",
    ]


def test_a_form_made_of_the_fields_alone_asks_every_statistic(server: RunningServer) -> None:
    first = {"question": server.questions()[0], "state": server.get("/api/states")["data"][0]}
    for each in server.get("/api/statistics")["data"]:
        needed = [field for field in each["fields"] if field["required"]]
        filled = {field["name"]: first[field["vocabulary"]] for field in needed}
        body = {f["name"]: None for f in each["fields"] if f["optional"]} | filled
        body |= {f["name"]: f["default"] for f in each["fields"] if "default" in f}
        if each["name"] == "permutation_test":  # as its words say, one of two fields is needed
            body["states"] = server.get("/api/states")["data"][:2]
        assert server.ask("POST", each["path"], body).status == 202, each["name"]
        assert server.ask("POST", each["path"], each["example"]).status == 202, each["name"]
        assert each["formula"]
        assert each["source"]


@pytest.mark.parametrize(
    ("statistic", "body", "told"),
    [
        ("best5", {}, "`question`"),
        ("best5", {"question": 5}, "Expected `str`"),
        ("best5", {"question": None}, "Expected `str`"),
        ("best5", {"question": OBESITY, "state": "Ohio"}, "unknown field `state`"),
        ("state_mean", {"question": OBESITY}, "`state`"),
        ("state_mean", {"question": OBESITY, "state": "ohio"}, "'Ohio'"),
        ("state_mean", {"question": OBESITY, "state": "Pensylvania"}, "'Pennsylvania'"),
        ("best5", {"question": "obesty"}, OBESITY),
        ("best5", {"question": OBESITY.upper()}, OBESITY),
        ("best5", {"question": ""}, "no question ''"),
        ("best5", [], "must be a JSON object"),
        ("best5", "text", "must be a JSON object"),
        ("best5", b"", "not JSON"),
        ("best5", b"{", "not JSON"),
        ("best5", b'{"question": NaN}', "NaN is not JSON"),
        ("best5", b'{"question": "a", "question": "b"}', "stands twice"),
        ("best5", b'{"question": "\xff"}', "not UTF-8"),
        ("best5", b'{"question": "\\ud800"}', "surrogate"),
        ("best5", b'{"question": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", "nested too deeply"),
        ("best5", b'{"question": 1' + b"0" * 10_000 + b"}", "not JSON"),
    ],
)
def test_a_wrong_request_is_refused_in_words_and_uses_no_job_id(
    server: RunningServer, statistic: str, body: Any, told: str
) -> None:
    before = jobs_known(server)
    answer = server.ask("POST", f"/api/{statistic}", body)
    assert answer.status == 400
    assert answer.json.keys() == {"status", "reason"}
    assert answer.json["status"] == "error"
    assert told in answer.json["reason"]
    assert jobs_known(server) == before


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/nowhere", None, {}, 404),
        ("GET", "/api/unknown_statistic", None, {}, 404),
        ("POST", "/api/unknown_statistic", {}, {}, 404),
        ("GET", "/api/best5", None, {}, 405),
        ("DELETE", "/api/jobs", None, {}, 405),
        ("POST", "/api/best5", {"question": OBESITY}, {"Content-Type": "text/plain"}, 415),
        ("POST", "/api/best5", {"question": OBESITY}, {"Content-Encoding": "gzip"}, 415),
        ("POST", "/api/best5", b"x" * 70_000, {}, 413),
        ("POST", "/api/best5", None, {}, 400),
    ],
)
def test_every_error_has_the_one_shape(
    server: RunningServer,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
) -> None:
    answer = server.ask(method, path, body, headers)
    assert answer.status == status
    assert answer.json["status"] == "error"
    assert answer.json["reason"]
    assert answer.json.keys() == {"status", "reason"}


def test_a_body_of_unknown_length_is_refused(server: RunningServer) -> None:
    answer = server.ask(
        "POST", "/api/best5", None, {"Transfer-Encoding": "chunked", "Content-Type": "text/plain"}
    )
    assert answer.status == 411


NO_IDS = (
    "0 -1 007 1e1 %D9%A7 999999999999999999999999999999 x job_id_ job_id_0 job_id_1.json %20 1/"
    " ..%2f..%2fsecret ../../etc/passwd 1%00 1%0d%0a 999999"
)


@pytest.mark.parametrize("job_id", NO_IDS.split())
def test_an_id_that_names_no_job_is_404(server: RunningServer, job_id: str) -> None:
    answer = server.ask("GET", f"/api/get_results/{job_id}")
    assert answer.status == 404
    assert answer.json == {"status": "error", "reason": "Invalid job_id"}


def test_log_lines_stay_lines_whatever_a_client_sends(server: RunningServer) -> None:
    server.ask("GET", "/api/get_results/1%0d%0aFORGED")
    wait_for(lambda: "FORGED" in server.log(), "the request is logged")
    assert [line for line in server.log().splitlines() if line.startswith("FORGED")] == []


def test_the_log_tells_the_story_of_a_job(server: RunningServer) -> None:
    job_id = server.submit("global_mean", question=OBESITY)
    server.result(job_id)
    payload = json.dumps({"question": OBESITY})
    wait_for(lambda: f"job {job_id}: done" in server.log(), "the result is logged")
    log = server.log()
    assert "started with 2 workers" in log
    assert f"POST /api/global_mean {payload} job {job_id} -> 202" in log


@WHERE_WORKERS_ARE_PROCESSES
def test_the_log_tells_of_each_worker(server: RunningServer) -> None:
    told = re.findall(r"worker (\d+): |worker tcp\S+ is ready, pid (\d+)$", server.log(), re.M)
    assert {int(own or others) for own, others in told} >= {*server.worker_pids()}
