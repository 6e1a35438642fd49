"""A task that takes too much memory fails at once, alone, and says so; its worker is replaced."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pools
from tests.support.pools import Bench, alive, decoded, opened_pool, small_table, wait_until

nothing_left_behind = pools.nothing_left_behind

MIB = 2**20

LIMIT = 64 * MIB

REASON = "memory limit of 64 MiB"

TAKERS = ("fill_array", "fill_bytes", "grow_list", "make_objects")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A pool of two workers, which withstands all tests one after the other."""
    with opened_pool(tmp_path_factory.mktemp("gates"), worker_memory=LIMIT) as bench:
        yield bench


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Bench]:
    """A pool of one worker, who therefore holds every second task as well."""
    with opened_pool(tmp_path, workers=1, worker_memory=LIMIT) as bench:
        yield bench


@pytest.mark.parametrize("taker", TAKERS)
def test_a_task_beyond_the_limit_fails_at_once_and_its_worker_is_replaced(
    bench: Bench, taker: str
) -> None:
    before = bench.wait_until_whole()
    outcome = bench.run(taker, 4 * LIMIT)
    assert (outcome.data, outcome.reason, outcome.attempts) == (None, REASON, ())
    assert len([task for task in bench.heard.started if task.job == outcome.task.job]) == 1
    wait_until(lambda: len(bench.pids() - before) == 1)
    assert len(bench.wait_until_whole() & before) == 1
    assert bench.answer("echo", "well") == "well"


@pytest.mark.parametrize("taker", TAKERS)
def test_a_task_within_the_limit_ends_well_again_and_again(bench: Bench, taker: str) -> None:
    before = bench.wait_until_whole()
    for _ in range(6):
        assert bench.answer(taker, LIMIT // 8) > 0
    assert bench.pids() == before


def test_a_statistic_may_deal_with_the_failure_itself(bench: Bench) -> None:
    before = bench.wait_until_whole()
    assert bench.answer("catch_memory_error", 4 * LIMIT) == "content"
    assert bench.pids() == before


def test_the_copies_of_an_answer_on_its_way_to_the_server_do_not_count(single: Bench) -> None:
    assert single.answer("huge", 50 * MIB) == "x" * 50 * MIB


def test_an_answer_beyond_all_bounds_fails_its_task_however_small_its_value(bench: Bench) -> None:
    assert bench.run("repeat_text", 10_000, max_attempts=1).reason
    bench.wait_until_whole()


def test_what_the_worker_had_not_begun_costs_no_attempt(single: Bench) -> None:
    gate = single.gate()
    single.submit("wait_for_file", path=gate.path)
    doomed = [single.submit(taker, 4 * LIMIT, max_attempts=1) for taker in TAKERS]
    following = [single.submit("echo", n, max_attempts=1) for n in range(20)]
    gate.begun()
    gate.open()
    for job in doomed:
        outcome = single.heard.wait_for(job)
        assert (outcome.reason, outcome.attempts) == (REASON, ())
    for number, job in enumerate(following):
        outcome = single.heard.wait_for(job)
        assert (decoded(outcome), outcome.attempts) == (number, ())
    begun = [task.job for task in single.heard.started]
    assert len(begun) == len(set(begun))


def test_a_worker_that_has_answered_so_is_gone_soon(single: Bench) -> None:
    (victim,) = single.pids()
    assert single.run("fill_array", 4 * LIMIT).reason == REASON
    wait_until(lambda: not alive(victim))
    assert victim not in single.wait_until_whole(1)


def test_a_table_larger_than_the_limit_is_no_problem(tmp_path: Path) -> None:
    table = small_table(10_000)
    assert sum(array.nbytes for array in table.arrays().values()) > 16 * MIB
    with opened_pool(tmp_path, table=table, worker_memory=16 * MIB) as bench:
        rows = table.rows
        assert bench.answer("value_sum") == rows * (rows + 1) / 2
        assert bench.run("fill_bytes", 32 * MIB).reason == "memory limit of 16 MiB"


def test_without_a_limit_a_task_takes_what_there_is(tmp_path: Path) -> None:
    with opened_pool(tmp_path) as bench:
        assert bench.answer("fill_bytes", 4 * LIMIT) == 4 * LIMIT
