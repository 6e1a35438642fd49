"""The benchmark of tiny jobs without HTTP, run for real and briefly."""

import math
import shutil
from importlib.util import find_spec

import pytest

from benchmarks import queue_rivals
from benchmarks.flight import flight
from benchmarks.measure import Effort, Skipped
from benchmarks.rivals.queues import QUEUES
from tests.support import pools

nothing_left_behind = pools.nothing_left_behind

BRIEF = Effort(runs=1, seconds=0.1, quick=True)


@pytest.mark.skipif(
    shutil.which("redis-server") is None or find_spec("redis") is None,
    reason="redis-server is not on the PATH, or the package redis not installed",
)
def test_ours_and_the_queues_that_are_installed_have_their_rates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of those on Redis one is enough here: that each takes jobs, `test_rivals` shows."""
    monkeypatch.setattr(queue_rivals, "QUICK_QUEUES", ("Huey", "Dask"))
    (comparison,) = queue_rivals.measure(BRIEF)
    others = [name for name in queue_rivals.QUICK_QUEUES if QUEUES[name].is_installed]
    names = [figure.name for figure in comparison.figures]
    assert names == [queue_rivals.POOL, queue_rivals.JOBS, *others]
    for figure in comparison.figures:
        assert len(figure.values) == BRIEF.runs
        assert all(math.isfinite(value) and value > 0 for value in figure.values)
    best = max(figure.median for figure in comparison.figures[2:])
    ratios = [goal.ratio for goal in comparison.goals]
    assert ratios == [figure.median / best for figure in comparison.figures[:2]]


def test_a_process_that_has_ended_is_named() -> None:
    with (
        flight("no.such.module", {}) as rate,
        pytest.raises((RuntimeError, BrokenPipeError)),
    ):
        rate(0.05)


def test_without_a_redis_it_is_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Skipped, match="redis-server"):
        next(queue_rivals.measure(BRIEF))
