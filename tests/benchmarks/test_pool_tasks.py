"""The benchmark of tiny tasks, run for real and briefly."""

import math

from benchmarks import pool_tasks
from benchmarks.contenders import is_installed
from benchmarks.measure import Effort
from tests.support import pools

nothing_left_behind = pools.nothing_left_behind


def test_rates_and_round_trips_of_all_pools_are_compared() -> None:
    """That all sides give equal answers, `measure` asserts itself."""
    effort = Effort(runs=1, seconds=0.05, quick=True)
    rates, medians, highest = pool_tasks.measure(effort)
    pools_there = [name for name in pool_tasks.SIDES if is_installed(name)]
    for comparison, names in (
        (rates, pools_there),
        (medians, [*pools_there, pool_tasks.BARE]),
        (highest, [*pools_there, pool_tasks.BARE]),
    ):
        assert [figure.name for figure in comparison.figures] == names
        values = [value for figure in comparison.figures for value in figure.values]
        assert len(values) == len(comparison.figures)
        assert all(math.isfinite(value) and value > 0 for value in values)
    for median, high in zip(medians.figures, highest.figures, strict=True):
        assert median.values[0] <= high.values[0]
    assert [goal.at_least for goal in rates.goals] == [4.0] * (len(rates.figures) - 1)
    assert [goal.at_most for goal in medians.goals] == [1.0, 1 / 3]
