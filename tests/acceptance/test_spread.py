"""One job on many workers: the same digits however it is spread, turns for others, progress."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.stats import STATISTICS
from tests.support.backends import WHERE_WORKERS_ARE_PROCESSES, Settings
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

OBESITY = "Percent of adults aged 18 years and older who have obesity"
RANDOM = [name for name, row in STATISTICS.items() if "seed" in row.request.__struct_fields__]

HEAVY = {"question": OBESITY, "n_resamples": 200_000, "seed": 11}
"""A bootstrap of some fifty parts."""


def spread_request(name: str) -> dict[str, Any]:
    """The example of a statistic, made so large that it has several parts."""
    request = dict(STATISTICS[name].example)
    fields = STATISTICS[name].request.__struct_fields__
    size = next(each for each in ("n_resamples", "n_permutations") if each in fields)
    return request | {size: 60_000, "seed": 2**53 - 1}


@pytest.fixture(scope="module")
def server(backend: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("spread")
    with running_server(folder, configuration=FOR_TESTS, **backend) as running:
        running.wait_until_whole()
        yield running


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers of a server with a single worker."""
    with running_server(tmp_path_factory.mktemp("alone"), SPORTIV_WORKERS="1") as alone:
        return answers_of(alone)


def answers_of(server: RunningServer) -> dict[str, Any]:
    """Every statistic's answer to its example, which random methods compute in many parts."""
    requests = {name: dict(row.example) for name, row in STATISTICS.items()}
    requests |= {name: spread_request(name) for name in RANDOM}
    ids = {name: server.submit(name, **request) for name, request in requests.items()}
    found = {name: server.result(job_id, 120) for name, job_id in ids.items()}
    assert all(each["status"] == "done" for each in found.values()), found
    return found


def test_the_digits_do_not_depend_on_who_computes(
    server: RunningServer, answers: dict[str, Any]
) -> None:
    assert json.dumps(answers_of(server)) == json.dumps(answers)


def test_the_digits_do_not_depend_on_how_many_compute(
    tmp_path: Path, answers: dict[str, Any]
) -> None:
    with running_server(tmp_path, SPORTIV_WORKERS="7") as crowd:
        assert json.dumps(answers_of(crowd)) == json.dumps(answers)


@WHERE_WORKERS_ARE_PROCESSES
def test_a_worker_that_is_killed_in_mid_job_changes_no_digit(server: RunningServer) -> None:
    whole = server.result(server.submit("bootstrap_ci", **HEAVY), 120)
    job_id = server.submit("bootstrap_ci", **HEAVY)
    killed = set()
    for part_of_it in (0.1, 0.4):
        wait_for(lambda: progress(server, job_id) > part_of_it, "it comes on")  # noqa: B023
        killed.add(server.worker_pids()[0])
        os.kill(server.worker_pids()[0], signal.SIGKILL)
    assert server.result(job_id, 120) == whole
    attempts = server.get(f"/api/jobs/{job_id}")["data"]["attempts"]
    assert {attempt["pid"] for attempt in attempts} <= killed
    assert all(attempt["stage"] for attempt in attempts)


def progress(server: RunningServer, job_id: int) -> float:
    answer = server.get(f"/api/get_results/{job_id}")
    assert answer["status"] == "running"
    return answer["progress"]


def test_progress_grows_from_nothing_to_the_end(server: RunningServer) -> None:
    job_id = server.submit("bootstrap_ci", **HEAVY)
    seen = []
    while (answer := server.get(f"/api/get_results/{job_id}"))["status"] == "running":
        seen.append(answer["progress"])
        record = server.get(f"/api/jobs/{job_id}")["data"]
        assert seen[-1] <= record["progress"] <= 1
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert 0 <= seen[0] < seen[-1] < 1
    record = server.get(f"/api/jobs/{job_id}")["data"]
    assert (record["state"], record["progress"]) == ("done", 1.0)


def test_without_a_seed_one_is_drawn_recorded_and_returned(server: RunningServer) -> None:
    request = {"question": OBESITY, "states": ["Ohio"], "n_resamples": 500}
    ids = [server.submit("bootstrap_ci", **request) for _ in range(2)]
    answers = [server.result(job_id)["data"] for job_id in ids]
    assert answers[0]["seed"] != answers[1]["seed"]
    for job_id, answer in zip(ids, answers, strict=True):
        record = server.get(f"/api/jobs/{job_id}")["data"]
        assert record["request"]["seed"] == answer["seed"]
        assert server.data("bootstrap_ci", **request, seed=answer["seed"]) == answer


def test_a_long_job_holds_up_no_other(server: RunningServer) -> None:
    heavy = server.submit("bootstrap_ci", **HEAVY | {"n_resamples": 2_000_000})
    wait_for(lambda: progress(server, heavy) > 0, "it has begun")
    for number in range(20):
        assert server.data("echo", value=number) == number
    assert server.get(f"/api/get_results/{heavy}")["status"] == "running"
    assert server.ask("DELETE", f"/api/jobs/{heavy}").status == 200
    assert server.get(f"/api/jobs/{heavy}")["data"]["state"] == "cancelled"


def test_a_higher_priority_has_more_turns(server: RunningServer) -> None:
    big = HEAVY | {"n_resamples": 500_000}
    low = server.submit("bootstrap_ci", **big, priority=0)
    high = server.submit("bootstrap_ci", **big, priority=9)
    wait_for(lambda: progress(server, high) > 0.3, "the later one has come on")
    assert progress(server, low) < 0.2
    for job_id in (low, high):
        server.ask("DELETE", f"/api/jobs/{job_id}")


def test_what_is_too_much_is_refused_with_the_limit(server: RunningServer) -> None:
    before = server.get("/api/jobs")["data"]
    answer = server.ask("POST", "/api/bootstrap_ci", HEAVY | {"n_resamples": 10_000_001})
    assert answer.status == 400
    assert "10000000" in answer.json["reason"]
    answer = server.ask("POST", "/api/permutation_test", {"question": OBESITY, "states": ["Ohio"]})
    assert answer.status == 400
    assert "two" in answer.json["reason"]
    assert server.get("/api/jobs")["data"] == before, "no id is used"


def test_a_worker_that_needs_no_scipy_stays_without_it(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_WORKERS="1") as server:
        server.data("describe", question=OBESITY, by="state")
        modules = server.data("loaded_modules")
    assert "numpy" in modules
    assert not [name for name in modules if name.partition(".")[0] in ("scipy", "polars")]
