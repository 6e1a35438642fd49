"""What only threads do; the promises of every pool are tried in test_process_pool."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pools
from tests.support.pools import Bench, decoded, opened_pool, wait_until

nothing_left_behind = pools.nothing_left_behind


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A pool of two worker threads."""
    with opened_pool(tmp_path, "thread") as bench:
        yield bench


def test_its_workers_are_threads_of_this_process(bench: Bench) -> None:
    assert bench.pids() <= {thread.native_id for thread in threading.enumerate()}
    assert {worker.memory for worker in bench.pool.workers()} == {0}


def test_a_thread_that_is_stuck_is_replaced_and_leaves_when_it_is_done(bench: Bench) -> None:
    gate = bench.gate()
    stuck = bench.submit("wait_for_file", path=gate.path, time_limit=1)
    gate.begun()
    (busy,) = (w.pid for w in bench.pool.workers() if w.state == "busy")
    assert bench.heard.wait_for(stuck).reason == "time limit of 1 s"
    assert busy not in bench.wait_until_whole(without={busy})
    gate.open()
    wait_until(lambda: busy not in {thread.native_id for thread in threading.enumerate()})
    assert len(bench.heard.of(stuck)) == 1


def test_as_many_tasks_as_there_are_workers_go_on_although_threads_are_stuck(
    bench: Bench,
) -> None:
    gates = [bench.gate() for _ in range(4)]
    stuck = [bench.submit("wait_for_file", path=gate.path, time_limit=0.2) for gate in gates]
    for job in stuck:
        assert bench.heard.wait_for(job).reason == "time limit of 0.2 s"
    others = bench.hold_all()
    for gate in (*gates, *others):
        gate.open()


@pytest.mark.parametrize("code", [None, 0, 3, "with a text"])
def test_leaving_fails_the_task_and_keeps_the_thread(bench: Bench, code: object) -> None:
    before = bench.pids()
    reason = bench.run("system_exit", code).reason
    assert reason is not None
    assert reason.startswith("SystemExit")
    assert bench.pids() == before


def test_an_interrupt_in_a_statistic_fails_its_task_and_keeps_the_thread(bench: Bench) -> None:
    before = bench.pids()
    assert bench.run("interrupt", time_limit=5).reason == "KeyboardInterrupt"
    assert bench.pids() == before


def test_closing_leaves_a_stuck_thread_behind_which_ends_by_itself(bench: Bench) -> None:
    gates = bench.hold_all()
    bench.close()
    assert [thread.name for thread in threading.enumerate() if "worker-" in thread.name]
    for gate in gates:
        gate.open()


def test_tasks_of_a_thread_do_not_wait_for_those_of_another(bench: Bench) -> None:
    gate = bench.gate()
    slow = bench.submit("wait_for_file", "slow", path=gate.path)
    gate.begun()
    for number in range(20):
        assert bench.answer("echo", number) == number
    gate.open()
    assert decoded(bench.heard.wait_for(slow)) == "slow"
