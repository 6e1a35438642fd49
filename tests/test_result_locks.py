"""A job has one lock, held by one thread at a time, for as long as the job is in the map."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from server.result_locks import ResultLocks

DEADLINE = 20.0
LOCK_TYPE = type(threading.Lock())


@pytest.fixture
def locks() -> ResultLocks:
    return ResultLocks()


def test_a_job_without_an_entry_is_not_alive(locks: ResultLocks) -> None:
    with locks.holding(1) as alive:
        assert alive is False
    assert len(locks) == 0


def test_an_entry_lives_until_it_is_discarded(locks: ResultLocks) -> None:
    locks.add(1)
    for _ in range(3):
        with locks.holding(1) as alive:
            assert alive is True
        assert len(locks) == 1
    locks.discard(1)
    with locks.holding(1) as alive:
        assert alive is False
    assert len(locks) == 0


def test_a_job_gets_one_lock(locks: ResultLocks) -> None:
    locks.add(1)
    with pytest.raises(ValueError, match="job 1 has a lock already"):
        locks.add(1)
    assert len(locks) == 1


def test_discarding_what_is_not_there_does_nothing(locks: ResultLocks) -> None:
    locks.add(1)
    locks.discard(2)
    assert len(locks) == 1


def test_the_holder_may_discard(locks: ResultLocks) -> None:
    locks.add(1)
    with locks.holding(1) as alive:
        locks.discard(1)
        assert alive is True
    assert len(locks) == 0


def test_a_lock_is_let_go_when_its_holder_fails(locks: ResultLocks) -> None:
    locks.add(1)
    with pytest.raises(RuntimeError), locks.holding(1):
        raise RuntimeError
    with ThreadPoolExecutor() as threads:
        assert threads.submit(held, locks, 1).result(DEADLINE) is True


def test_one_job_does_not_wait_for_another(locks: ResultLocks) -> None:
    locks.add(1)
    locks.add(2)
    with locks.holding(1), ThreadPoolExecutor() as threads:
        assert threads.submit(held, locks, 2).result(DEADLINE) is True
        assert threads.submit(held, locks, 3).result(DEADLINE) is False
        threads.submit(locks.add, 4).result(DEADLINE)
        threads.submit(locks.discard, 2).result(DEADLINE)
        assert threads.submit(len, locks).result(DEADLINE) == 2


def held(locks: ResultLocks, job_id: int) -> bool:
    with locks.holding(job_id) as alive:
        return alive


def test_a_thread_that_waits_sees_that_the_entry_has_gone(
    locks: ResultLocks, eventually: Callable[..., None]
) -> None:
    locks.add(1)
    seen: list[bool] = []
    waiting = threading.Thread(target=lambda: seen.append(held(locks, 1)))
    with locks.holding(1):
        waiting.start()
        eventually(lambda: waits_for_a_lock(waiting))
        locks.discard(1)
        assert seen == []
    waiting.join(DEADLINE)
    assert seen == [False]


def test_a_thread_that_waits_for_an_old_entry_does_not_get_the_new_one(
    locks: ResultLocks, eventually: Callable[..., None]
) -> None:
    locks.add(1)
    seen: list[bool] = []
    waiting = threading.Thread(target=lambda: seen.append(held(locks, 1)))
    with locks.holding(1):
        waiting.start()
        eventually(lambda: waits_for_a_lock(waiting))
        locks.discard(1)
        locks.add(1)
    waiting.join(DEADLINE)
    assert seen == [False]
    assert held(locks, 1) is True


def waits_for_a_lock(thread: threading.Thread) -> bool:
    """Whether the thread has looked up the job's lock (and so waits, as we hold it)."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None or frame.f_code.co_name != "holding":
        return False
    return any(isinstance(value, LOCK_TYPE) for value in frame.f_locals.values())


def test_two_threads_never_hold_the_same_job(locks: ResultLocks) -> None:
    jobs, rounds, count = range(1, 4), 200, 8
    holders = dict.fromkeys(jobs, 0)
    sums = dict.fromkeys(jobs, 0)
    barrier = threading.Barrier(count)

    def work() -> None:
        barrier.wait(DEADLINE)
        for turn in range(rounds):
            job_id = jobs[turn % len(jobs)]
            with locks.holding(job_id) as alive:
                assert alive
                holders[job_id] += 1
                assert holders[job_id] == 1
                sums[job_id] += 1
                assert holders[job_id] == 1
                holders[job_id] -= 1

    with ExitStack() as stack:
        for job_id in jobs:
            locks.add(job_id)
            stack.callback(locks.discard, job_id)
        with ThreadPoolExecutor(count) as threads:
            for each in [threads.submit(work) for _ in range(count)]:
                each.result(DEADLINE)
    assert sum(sums.values()) == rounds * count
    assert len(locks) == 0


def test_of_many_that_would_write_last_exactly_one_does(locks: ResultLocks) -> None:
    jobs, count = range(1, 101), 8
    finals: list[int] = []
    barrier = threading.Barrier(count)
    for job_id in jobs:
        locks.add(job_id)

    def end_all() -> None:
        barrier.wait(DEADLINE)
        for job_id in jobs:
            with locks.holding(job_id) as alive:
                if alive:
                    finals.append(job_id)
                    locks.discard(job_id)

    with ThreadPoolExecutor(count) as threads:
        for each in [threads.submit(end_all) for _ in range(count)]:
            each.result(DEADLINE)
    assert sorted(finals) == list(jobs)
    assert len(locks) == 0
