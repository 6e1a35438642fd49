"""What a server lets be seen from outside: figures that add up, and a request's whole story."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.backends import WHERE_WORKERS_ARE_PROCESSES, Settings
from tests.support.servers import FOR_TESTS, Answer, RunningServer, running_server, wait_for

OBESITY = "Percent of adults aged 18 years and older who have obesity"
HEADER = "X-Request-Id"


def scrape(server: RunningServer) -> Callable[..., float]:
    """The figures of this moment: a function from a sample's name and labels to its value."""
    answer = server.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }

    def value(name: str, **labels: str) -> float:
        return samples.get((f"sportiv_{name}", frozenset(labels.items())), 0.0)

    return value


def post(server: RunningServer, statistic: str, request_id: str, **request: Any) -> int:
    """Post a job with an id of one's own; the job's number."""
    answer = server.ask("POST", f"/api/{statistic}", request, {HEADER: request_id})
    assert (answer.status, answer.headers["x-request-id"]) == (202, request_id)
    return answer.json["job_id"]


def begun(gate: Path) -> int:
    """The worker that has begun with the job that waits at the gate."""
    mark = Path(f"{gate}.begun")
    wait_for(mark.exists, "the job has begun")
    return int(mark.read_text())


def wait_until_running(server: RunningServer, job: int) -> None:
    """Wait until the server has heard that the job has begun."""
    wait_for(
        lambda: server.get(f"/api/jobs/{job}")["data"]["state"] == "running", f"job {job} runs"
    )


def whole_again(server: RunningServer, replaced: int) -> Callable[..., float]:
    """The figures once all workers are there and idle, so many of them in the place of others."""

    def look() -> Callable[..., float] | None:
        value = scrape(server)
        there = value("workers_alive"), value("workers_busy"), value("workers_replaced_total")
        return value if there == (2, 0, replaced) else None

    return wait_for(look, f"{replaced} workers are replaced")


# -- figures --------------------------------------------------------------------------


@WHERE_WORKERS_ARE_PROCESSES
def test_the_figures_tell_what_was_done(tmp_path: Path, backend: Settings) -> None:
    settings = {"SPORTIV_MAX_ATTEMPTS": "3", **backend}
    with running_server(tmp_path, configuration=FOR_TESTS, **settings) as server:
        server.wait_until_whole()
        for _ in range(3):
            server.data("best5", question=OBESITY)
        assert server.result(server.submit("fail", value="of no use"))["status"] == "error"
        killers = server.submit("leave", value=3)  # costs three workers, is tried again twice
        assert server.result(killers)["status"] == "error"
        gate = tmp_path / "gate"
        cancelled = server.submit("wait_for_file", path=str(gate))  # costs one worker
        wait_until_running(server, cancelled)
        assert server.ask("DELETE", f"/api/jobs/{cancelled}").status == 200
        second = tmp_path / "second"
        survivor = server.submit("wait_for_file", path=str(second), value="kept")
        wait_until_running(server, survivor)
        os.kill(begun(second), signal.SIGKILL)  # costs one more, is tried again once
        second.touch()
        assert server.result(survivor)["data"] == "kept"

        value = whole_again(server, replaced=5)
        assert value("tasks_retried_total") == 3
        for statistic, outcome, number in (
            ("best5", "done", 3),
            ("fail", "failed", 1),
            ("leave", "failed", 1),
            ("wait_for_file", "cancelled", 1),
            ("wait_for_file", "done", 1),
        ):
            assert value("jobs_ended_total", statistic=statistic, outcome=outcome) == number
        for statistic, number in {"best5": 3, "fail": 1, "leave": 1, "wait_for_file": 2}.items():
            assert value("jobs_accepted_total", statistic=statistic) == number
            if statistic == "leave" and backend["SPORTIV_BACKEND"] == "dask":
                continue  # the word that it has begun may have died with each of its workers
            assert value("job_waiting_seconds_count", statistic=statistic) == number
            assert value("job_running_seconds_count", statistic=statistic) == number
        assert value("jobs_unfinished") == value("jobs_waiting") == value("tasks_waiting") == 0
        assert value("result_locks") == 0
        assert value("shared_bytes") > 100_000


def test_the_figures_tell_what_is_under_way(tmp_path: Path, backend: Settings) -> None:
    gates = [tmp_path / f"gate {number}" for number in range(2)]
    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:
        server.wait_until_whole()
        jobs = [server.submit("wait_for_file", path=str(gate)) for gate in gates]
        for gate in gates:
            begun(gate)
        waiting = [server.submit("echo", value=number) for number in range(6)]
        value = scrape(server)
        assert value("jobs_unfinished") == value("result_locks") == 8
        assert value("jobs_waiting") == 6
        assert value("workers_alive") == value("workers_busy") == 2
        assert value("jobs_accepted_total", statistic="echo") == 6
        for gate in gates:
            gate.touch()
        for job_id in (*jobs, *waiting):
            assert server.result(job_id)["status"] == "done"
        value = scrape(server)
        assert value("jobs_ended_total", statistic="echo", outcome="done") == 6


def test_requests_are_counted_by_rule_and_status_whatever_their_address(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        for number in range(5):
            assert server.ask("GET", f"/api/get_results/{number + 1}").status == 404
            assert server.ask("GET", f"/nowhere/{number}").status == 404
        assert server.ask("POST", "/api/best5", {}).status == 400
        job_id = server.submit("best5", question=OBESITY)
        server.result(job_id)
        value = scrape(server)
        results = "/api/get_results/<job_id>"
        name = "http_requests_total"
        assert value(name, method="GET", route=results, status="404") == 5
        assert value(name, method="GET", route=results, status="200") >= 1
        assert value(name, method="GET", route="none", status="404") == 5
        assert value(name, method="POST", route="/api/best5", status="400") == 1
        assert value(name, method="POST", route="/api/best5", status="202") == 1
        assert value("http_request_seconds_count", route="/api/best5") == 2
        assert b"nowhere" not in server.ask("GET", "/metrics").content


# -- a request's id -------------------------------------------------------------------


def test_an_id_of_the_client_s_comes_back_and_others_are_made(tmp_path: Path) -> None:
    def answered(answer: Answer) -> str:
        return answer.headers["x-request-id"]

    with running_server(tmp_path) as server:
        for given in ("a", "7f.Z_-", "x" * 64):
            assert answered(server.ask("GET", "/healthz", None, {HEADER: given})) == given
        made = set()
        for given in ("", "x" * 65, "a b", "a,b", "naïve", "a/b", "<script>", '"', "$(id)"):
            made.add(answered(server.ask("GET", "/healthz", None, {HEADER: given})))
        assert len(made) == 9
        for method, path in (
            ("GET", "/nowhere"),
            ("GET", "/metrics"),
            ("POST", "/api/best5"),
            ("DELETE", "/api/jobs"),
            ("GET", "/api/get_results/1"),
            ("OPTIONS", "/api/jobs"),
        ):
            made.add(answered(server.ask(method, path)))
        assert len(made) == 15
        assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)


def test_the_id_of_a_request_is_in_the_job_s_record_also_after_a_restart(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        job_id = post(server, "wait_for_file", "client.7", path=str(gate), value="kept")
        begun(gate)
        assert server.get(f"/api/jobs/{job_id}")["data"]["request_id"] == "client.7"
        server.kill()
    gate.touch()
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        assert server.result(job_id)["data"] == "kept"
        assert server.get(f"/api/jobs/{job_id}")["data"]["request_id"] == "client.7"
        wait_for(lambda: f"job {job_id}: done [client.7]" in server.log(), "the end is logged")
        assert f"job {job_id}: taken up again [client.7]" in server.log()


def test_in_the_text_log_the_id_ends_each_line_of_the_story(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        job_id = post(server, "fail", "r-1", value="of no use")
        server.result(job_id)
        wait_for(lambda: f"job {job_id}: ValueError" in server.log(), "the end is logged")
        told = [line for line in server.log().splitlines() if line.endswith(" [r-1]")]
        wanted = ("POST /api/fail ", "part 0 raised ValueError", ": ValueError: of no use")
        for part in wanted:
            assert any(part in line for line in told), part


# -- the log as JSON ------------------------------------------------------------------


def lines(server: RunningServer) -> list[dict[str, Any]]:
    """Every line of the log, each parsed by itself."""
    found = [json.loads(line) for line in server.log().splitlines()]
    for line in found:
        assert line.keys() >= {"time", "level", "logger", "message"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    return found


def of(server: RunningServer, request_id: str, state: str) -> list[dict[str, Any]]:
    """The lines of one request, as soon as one of them tells of the job's end."""

    def story() -> list[dict[str, Any]] | None:
        told = [line for line in lines(server) if line.get("request_id") == request_id]
        return told if any(line.get("state") == state for line in told) else None

    return wait_for(story, f"the end of {request_id} is logged")


def test_json_lines_carry_the_id_from_the_post_to_the_worker_to_the_end(
    tmp_path: Path, backend: Settings
) -> None:
    settings = {"SPORTIV_LOG_FORMAT": "json", **backend}
    with running_server(tmp_path, configuration=FOR_TESTS, **settings) as server:
        job_id = post(server, "fail", "r-1", value='naïve\nFORGED \u2028 \\ "quoted"')
        server.result(job_id)
        told = of(server, "r-1", "failed")
        (access,) = (line for line in told if line["logger"] == "sportiv.http")
        (worker,) = (line for line in told if "trace" in line)
        (end,) = (line for line in told if "state" in line)
        assert {line["job"] for line in (access, worker, end)} == {job_id}
        assert (access["method"], access["path"], access["status"]) == ("POST", "/api/fail", 202)
        assert access["duration_ms"] > 0
        assert worker["level"] == "ERROR"
        assert "in fail\n" in worker["trace"]
        assert (end["statistic"], end["state"]) == ("fail", "failed")
        assert end["reason"].startswith("ValueError: naïve")
        assert end["waited_s"] >= 0
        assert end["ran_s"] >= 0
        assert server.log().isascii()


@WHERE_WORKERS_ARE_PROCESSES
def test_json_lines_tell_each_attempt_with_the_id(tmp_path: Path, backend: Settings) -> None:
    attempts = {"SPORTIV_LOG_FORMAT": "json", "SPORTIV_MAX_ATTEMPTS": "2", **backend}
    with running_server(tmp_path, configuration=FOR_TESTS, **attempts) as server:
        job_id = post(server, "leave", "r-2", value=3)
        server.result(job_id)
        told = [line for line in of(server, "r-2", "failed") if line["level"] == "WARNING"]
        assert [line["message"].partition(":")[0] for line in told] == [
            f"job {job_id} part 0 attempt {number}" for number in (1, 2)
        ]
        assert len({line["worker"] for line in told}) == 2


def test_json_lines_stay_lines_whatever_a_client_sends(tmp_path: Path) -> None:
    with running_server(tmp_path, SPORTIV_LOG_FORMAT="json") as server:
        path = "/api/get_results/1%0d%0a%22FORGED%e2%80%a8%7f%c2%85"
        server.ask("GET", path, None, {HEADER: '"}\\'})
        wait_for(lambda: "FORGED" in server.log(), "the request is logged")
        (line,) = (line for line in lines(server) if "FORGED" in line["message"])
        assert line["path"] == '/api/get_results/1\r\n"FORGED\u2028\x7f\x85'
        assert re.fullmatch("[0-9a-f]{32}", line["request_id"])
