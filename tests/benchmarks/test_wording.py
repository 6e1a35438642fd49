"""How figures are written."""

import pytest

from benchmarks import wording
from benchmarks.measure import Figure, Goal
from tests.support.reports import BARS, LINES


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (0.5, "0.500"), (7, "7.00"), (42.25, "42.2"), (123.4, "123"), (999.6, "1,000")),
        *((28937.2, "28,937"), (1.25e13, "1.25e+13"), (4.2e-9, "4.20e-09"), (-12.5, "-12.5")),
    ],
)
def test_a_number_has_three_digits_that_count_or_is_whole(value: float, text: str) -> None:
    assert wording.short(value) == text


def test_a_figure_is_named_with_its_place_if_it_has_one() -> None:
    assert wording.label(Figure("ours", (1.0,), 2), LINES) == "ours, 2 workers"
    assert wording.label(Figure("ours", (1.0,), 1e7), LINES) == "ours, 10,000,000 workers"
    assert wording.label(Figure("ours", (1.0,)), BARS) == "ours"


def test_a_goal_is_told_with_both_of_its_bounds() -> None:
    goal = Goal("what", 1.3, at_least=0.95, at_most=1.2)
    assert wording.bounds(goal) == "at least 0.95 and at most 1.2"
    assert wording.verdict(goal) == "missed"
    assert wording.bounds(Goal("what", 1.3)) == wording.verdict(Goal("what", 1.3)) == ""
