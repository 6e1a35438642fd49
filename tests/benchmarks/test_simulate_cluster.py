"""The simulation of a cluster agrees with what is known without it."""

import re
from itertools import pairwise

import pytest

from benchmarks.simulate_cluster import SCHEDULER, simulate, table
from tests.support.servers import ROOT

FREE = {"front": 0.0, "scheduler": 0.0, "latency": 0.0}


def test_where_nothing_costs_anything_workers_only_wait_at_the_end() -> None:
    assert simulate(10, 0.1, **FREE, parts=20_000) > 0.98


def test_one_worker_computes_all_the_time() -> None:
    assert simulate(1, 1.0, **FREE) == pytest.approx(1.0)


@pytest.mark.parametrize("workers", [100, 1000])
def test_more_tasks_a_second_than_the_scheduler_takes_there_are_not(workers: int) -> None:
    share = simulate(workers, 0.01)
    tasks_a_second = share * workers / 0.01
    assert 0.8 / SCHEDULER < tasks_a_second < 1.1 / SCHEDULER


def test_longer_parts_are_never_worse_and_more_workers_never_better() -> None:
    shares = [
        [simulate(workers, mean, parts=400 * workers) for workers in (10, 100)]  # few are the last
        for mean in (0.01, 0.1, 1.0)
    ]
    little = 0.02  # what chance does, and that fewer of the longer parts are with a worker
    for shorter, longer in pairwise(shares):
        assert all(more > less - little for less, more in zip(shorter, longer, strict=True))
    assert all(ten > hundred - little for ten, hundred in shares)


def test_the_page_about_scaling_shows_what_the_simulation_gives() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"(?:^\|[^\n]* workers \|\n)(?:^\|[^\n]*\n)+", page, re.MULTILINE)
    assert shown.splitlines() == list(table())
