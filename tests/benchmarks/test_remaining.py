"""The benchmarks that have no file of their own here, run for real and briefly."""

from collections.abc import Iterator
from importlib import import_module

import pytest

from benchmarks import ended_jobs
from benchmarks.__main__ import BENCHMARKS, LEFT_OUT
from benchmarks.measure import Comparison, Effort
from tests.benchmarks.sound import assert_sound
from tests.support import pools

nothing_left_behind = pools.nothing_left_behind

BRIEF = Effort(runs=1, seconds=0.05, quick=True)


def measured(name: str) -> Iterator[Comparison]:
    yield from import_module(f"benchmarks.{name}").measure(BRIEF)


def test_every_benchmark_can_be_run() -> None:
    assert all(callable(import_module(f"benchmarks.{name}").measure) for name in BENCHMARKS)
    assert set(BENCHMARKS) >= LEFT_OUT


@pytest.mark.parametrize("name", ["replacement", "spread_job", "http_posts", "cluster"])
def test_it_gives_figures_and_says_how_they_relate_to_its_goals(name: str) -> None:
    comparisons = list(measured(name))
    assert_sound(comparisons)
    assert all(goal.is_bound for comparison in comparisons for goal in comparison.goals)


def test_a_past_of_jobs_is_compared_with_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_jobs, "MANY", 1000)
    comparisons = list(ended_jobs.measure(BRIEF))
    assert_sound(comparisons)
    assert [len(comparison.figures) for comparison in comparisons] == [2] * len(ended_jobs.WHAT)
