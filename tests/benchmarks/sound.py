"""What any benchmark's comparisons must be."""

import math
from collections.abc import Sequence

from benchmarks.measure import Comparison


def assert_sound(comparisons: Sequence[Comparison]) -> None:
    """Names that differ, figures that are numbers, goals that can be told."""
    names = [comparison.name for comparison in comparisons]
    assert names
    assert len(set(names)) == len(names)
    for comparison in comparisons:
        assert comparison.figures
        for figure in comparison.figures:
            assert all(math.isfinite(value) and value >= 0 for value in figure.values)
        for goal in comparison.goals:
            assert math.isfinite(goal.ratio)
