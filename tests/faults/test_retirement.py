"""Workers that have done enough or keep too much are replaced first, and no task notices."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server import dispatch
from server.pool import Outcome
from tests.support import pools
from tests.support.pools import (
    DEADLINE,
    Bench,
    Moody,
    alive,
    children,
    decoded,
    open_files,
    opened_pool,
    wait_until,
)

moody = pools.moody
nothing_left_behind = pools.nothing_left_behind

MIB = 2**20


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sportiv.pool")


def retired(caplog: pytest.LogCaptureFixture) -> dict[int, str]:
    """Who has retired so far, and why."""
    found = {}
    for message in caplog.messages:
        if " retires as soon as " in message:
            found[int(message.split()[1])] = message.partition(": ")[2]
    return found


def wait_until_replaced(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Return when everybody who has retired is gone."""
    gone = retired(caplog).keys()
    wait_until(lambda: not gone & {worker.pid for worker in bench.pool.workers()})


def outcomes_of(bench: Bench, jobs: list[int]) -> list[Outcome]:
    """The outcomes of the latest jobs, as soon as all have ended; each has done so once."""
    before = len(bench.submitted) - len(jobs)
    bench.heard.wait_until(lambda: len(bench.heard.ended) == before + len(jobs))
    ended = {outcome.task.job: outcome for outcome in bench.heard.ended[before:]}
    return [ended[job] for job in jobs]


@contextmanager
def never_fewer_at_work_than(count: int, bench: Bench) -> Iterator[None]:
    """Looks all the time how many workers could take a task."""
    over = threading.Event()
    seen = []

    def watch() -> None:
        while not over.wait(0.001):
            states = [worker.state for worker in bench.pool.workers()]
            seen.append(sum(state in ("idle", "busy") for state in states))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert min(seen) >= count


def test_ten_thousand_tasks_and_forty_workers_later_all_is_as_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened_pool(tmp_path, worker_max_tasks=200) as bench:
        forks = bench.fork_server()
        files, processes = len(open_files()), len(children(forks))
        threads = threading.active_count()
        pids = set()
        with never_fewer_at_work_than(2, bench):
            for _ in range(250):  # so that nobody does many more than 200
                jobs = [bench.submit("pid", max_attempts=1) for _ in range(40)]
                outcomes = outcomes_of(bench, jobs)
                assert {outcome.attempts for outcome in outcomes} == {()}
                pids |= {decoded(outcome) for outcome in outcomes}
                wait_until_replaced(bench, caplog)
        assert len(pids) >= 40
        bench.wait_until_whole()
        wait_until(lambda: len(children(forks)) == processes)
        assert len(open_files()) == files
        assert threading.active_count() == threads
        why = retired(caplog).values()
        assert all(reason.startswith("it has done 2") for reason in why)


def test_retirement_under_full_load_costs_no_task_an_attempt(tmp_path: Path) -> None:
    with opened_pool(tmp_path, worker_max_tasks=100) as bench, never_fewer_at_work_than(2, bench):
        jobs = [bench.submit("echo", n, max_attempts=1) for n in range(10_000)]
        outcomes = outcomes_of(bench, jobs)
        assert [decoded(outcome) for outcome in outcomes] == list(range(10_000))
        assert {outcome.attempts for outcome in outcomes} == {()}


def test_a_worker_that_leaks_is_replaced_before_it_reaches_its_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened_pool(tmp_path, worker_memory=64 * MIB) as bench:
        pids = set()
        for _ in range(60):
            outcome = bench.run("leak", 4 * MIB, seconds=0.02)
            assert outcome.attempts == ()
            pids.add(decoded(outcome))
            wait_until_replaced(bench, caplog)
        assert len(pids) >= 4
        assert len(retired(caplog)) >= 2
        for reason in retired(caplog).values():
            _, _, size, unit, *_ = reason.split()
            assert (32 <= int(size) <= 48, unit) == (True, "MiB")


def test_who_retires_ends_a_long_task_and_gives_back_what_it_has_not_begun(tmp_path: Path) -> None:
    with opened_pool(tmp_path, workers=1, worker_max_tasks=1) as bench:
        first, second = bench.gate(), bench.gate()
        bench.submit("wait_for_file", path=first.path)
        long = bench.submit("wait_for_file", "well", path=second.path, max_attempts=1)
        old = first.begun()
        wait_until(lambda: bench.pool.waiting() == 0)
        first.open()
        assert second.begun() == old
        wait_until(lambda: "leaving" in [w.state for w in bench.pool.workers() if w.pid == old])
        other = bench.run("pid", max_attempts=1)
        assert decoded(other) != old
        assert other.attempts == ()
        assert bench.heard.of(long) == []
        second.open()
        outcome = bench.heard.wait_for(long)
        assert (decoded(outcome), outcome.attempts) == ("well", ())
        wait_until(lambda: not alive(old))


def test_where_no_replacement_can_start_the_old_worker_goes_on(
    tmp_path: Path, moody: Moody
) -> None:
    options = {"workers": 1, "worker_max_tasks": 1}
    with opened_pool(tmp_path, catalogue=moody.name, **options) as bench:
        (old,) = bench.pids()
        moody.deadly.touch()
        assert bench.answer("pid") == old
        wait_until(lambda: bench.pool.trouble)
        assert moody.deaths() >= 3
        for _ in range(20):
            assert bench.answer("pid", max_attempts=1) == old
        moody.deadly.unlink()
        wait_until(lambda: not alive(old))
        assert bench.answer("pid", max_attempts=1) != old


def test_who_does_not_leave_when_told_to_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LEAVE_TIMEOUT", 0.2)
    with opened_pool(tmp_path, workers=1, worker_max_tasks=1) as bench:
        (old,) = bench.pids()
        bench.answer("outstay", seconds=2 * DEADLINE)
        wait_until(lambda: not alive(old))
        assert bench.answer("pid", max_attempts=1) not in (old, os.getpid())


def test_a_retired_worker_that_dies_at_its_last_task_costs_that_an_attempt(tmp_path: Path) -> None:
    with opened_pool(tmp_path, workers=1, worker_max_tasks=1) as bench:
        first, second = bench.gate(), bench.gate()
        bench.submit("wait_for_file", path=first.path)
        long = bench.submit("wait_for_file", "well", path=second.path)
        old = first.begun()
        wait_until(lambda: bench.pool.waiting() == 0)
        first.open()
        assert second.begun() == old
        wait_until(lambda: "leaving" in [w.state for w in bench.pool.workers() if w.pid == old])
        bench.end_worker(old)
        assert second.begun(except_by=old) != old
        second.open()
        outcome = bench.heard.wait_for(long)
        assert [attempt.pid for attempt in outcome.attempts] == [old]
