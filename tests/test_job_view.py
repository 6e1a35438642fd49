"""What is told of jobs: each in the state it is in, whether it lives or has ended long ago."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.job_state import JobState
from server.jobs import Jobs
from tests.support.pools import wait_until
from tests.support.service import service
from tests.support.statistics import STATISTICS, Anything

NEVER = 2**63 - 1
BUSY = frozenset({JobState.QUEUED, JobState.RUNNING})


def submit(jobs: Jobs, name: str, **fields: str) -> int:
    return jobs.submit(STATISTICS[name], Anything(**fields))


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """Twelve jobs that have ended, two that are computed, and three that wait, in this order."""
    gates = [tmp_path / "first", tmp_path / "second"]
    with service(tmp_path / "results") as jobs:
        for number in range(12):
            submit(jobs, "fail" if number % 3 == 0 else "echo", value=str(number))
        wait_until(lambda: not list(jobs.live))
        for gate in gates:
            submit(jobs, "wait_for_file", path=str(gate))
        wait_until(lambda: sum(job.state is JobState.RUNNING for job in jobs.live) == 2)
        for number in range(3):
            submit(jobs, "echo", value=f"later {number}")
        yield jobs
        for gate in gates:
            gate.touch()


def told(jobs: Jobs, *states: JobState, before: int = NEVER, limit: int = 100) -> list[int]:
    found, _ = jobs.history(before, limit, states=frozenset(states or JobState))
    assert all(each["state"] in (states or JobState) for each in found)
    return [each["job_id"] for each in found]


def test_the_newest_come_first_each_in_the_state_it_is_in(jobs: Jobs) -> None:
    assert told(jobs) == list(range(17, 0, -1))
    assert told(jobs, JobState.DONE) == [12, 11, 9, 8, 6, 5, 3, 2]
    assert told(jobs, JobState.FAILED) == [10, 7, 4, 1]
    assert told(jobs, JobState.QUEUED) == [17, 16, 15]
    assert told(jobs, JobState.RUNNING) == [14, 13]
    assert told(jobs, *BUSY) == [17, 16, 15, 14, 13]
    assert told(jobs, JobState.CANCELLED) == []
    assert told(jobs, JobState.RUNNING, JobState.FAILED) == [14, 13, 10, 7, 4, 1]


@pytest.mark.parametrize("states", [frozenset(JobState), BUSY, frozenset({JobState.DONE})])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_follow_each_other_and_end(
    jobs: Jobs, states: frozenset[JobState], limit: int
) -> None:
    found: list[int] = []
    before: int | None = NEVER
    while before is not None:
        page, before = jobs.history(before, limit, states=states)
        assert len(page) <= limit
        found += [each["job_id"] for each in page]
    assert found == told(jobs, *states)


def test_a_record_in_the_history_is_the_one_that_is_told_by_itself(jobs: Jobs) -> None:
    found, rest = jobs.history(NEVER, 100)
    assert found == [jobs.describe(each["job_id"]) for each in found]
    assert rest is None


def test_one_statistic_can_be_asked_for(jobs: Jobs) -> None:
    found, _ = jobs.history(NEVER, 100, statistic="wait_for_file", states=BUSY)
    assert [each["job_id"] for each in found] == [14, 13]
    assert jobs.history(NEVER, 100, statistic="wait_for_file", states={JobState.DONE}) == ([], None)


@pytest.mark.parametrize("states", [frozenset(JobState), BUSY, frozenset({JobState.CANCELLED})])
def test_a_page_costs_one_read_whatever_is_asked(jobs: Jobs, states: frozenset[JobState]) -> None:
    reads: list[str] = []
    jobs._ledger._reader.set_trace_callback(reads.append)
    jobs.history(NEVER, 3, states=states)
    jobs._ledger._reader.set_trace_callback(None)
    assert len(reads) == 1


def test_the_pool_tells_what_is_computed_and_how_many_have_ended(jobs: Jobs) -> None:
    pool = jobs.describe_pool()
    assert pool["computing"] == [
        {"job_id": 13, "statistic": "wait_for_file", "progress": 0.0},
        {"job_id": 14, "statistic": "wait_for_file", "progress": 0.0},
    ]
    assert pool["ended_jobs"] == 12
    jobs.cancel(17)
    assert jobs.describe_pool()["ended_jobs"] == 13
