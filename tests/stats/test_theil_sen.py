"""A slope found by counting is that of sorting all slopes, to the last digit."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from server.stats.selection import select
from server.stats.statistic import QuestionRequest
from server.stats.theil_sen import FEW, slopes_at, theil_sen
from server.table import Floats
from tests.support.real_tables import REAL, real_table

VALUES = (
    st.sampled_from([0.0, 0.1, 0.2, 0.3, 33.3])
    | st.floats(-1e3, 1e3)
    | st.sampled_from([1e16, -1e16, 5e-324, 1e-300, 1e300])
)
POINTS = st.lists(st.tuples(st.integers(-3, 4) | st.integers(-3000, 3000), VALUES), max_size=30)


def columns(points: Sequence[tuple[int, float]]) -> tuple[Floats, Floats]:
    years = np.array([year for year, _ in points], dtype=np.float64)
    return years, np.array([value for _, value in points], dtype=np.float64)


def all_slopes(years: Floats, values: Floats) -> list[float]:
    """The slopes of all pairs of points of two years, sorted."""
    run, rise = years[:, None] - years, values[:, None] - values
    return np.sort(rise[run > 0] / run[run > 0]).tolist()


@pytest.mark.parametrize("few", [0, 40, FEW])
@settings(max_examples=60)
@given(points=POINTS)
def test_the_slope_of_every_rank_is_that_of_sorting_them_all(
    few: int, points: list[tuple[int, float]]
) -> None:
    years, values = columns(points)
    expected = all_slopes(years, values)
    ranks = sorted({0, len(expected) // 3, len(expected) // 2, len(expected) - 1}) * 2
    if expected:
        assert slopes_at(years, values, ranks, few=few) == [expected[rank] for rank in ranks]


def samples() -> dict[str, tuple[Floats, Floats]]:
    """Points that make counting hard, by what is hard about them."""
    source = np.random.default_rng(20260213)
    n = 1500
    year = source.integers(2011, 2023, n).astype(np.float64)
    noise = source.normal(0, 8, n)
    return {
        "tenths, with ties": (year, (30 + 0.2 * (year - 2016) + noise).round(1)),
        "no ties": (year, noise),
        "two values": (year, source.integers(0, 2, n).astype(np.float64)),
        "all equal": (year, np.full(n, 33.3)),
        "two years": (source.integers(0, 2, n).astype(np.float64), noise),
        "every row a year": (source.permutation(200).astype(np.float64), noise[:200]),
        "a perfect line": (year, 0.1 * year),
        "heavy tails": (year, source.standard_cauchy(n) ** 3),
        "values that a difference swallows": (year, np.where(year < 2016, 1e16, noise)),
        "the least numbers there are": (year, source.integers(0, 50, n) * 5e-324),
        "most rows in one year": (np.where(noise < 12, 2011.0, year), noise),
    }


@pytest.mark.parametrize("few", [100, 2**16, FEW])
@pytest.mark.parametrize("name", samples())
def test_counting_finds_the_slopes_of_many_points(name: str, few: int) -> None:
    years, values = samples()[name]
    expected = all_slopes(years, values)
    n = len(expected)
    ranks = [n // 2, 0, n - 1, n // 40, n - n // 40]
    assert slopes_at(years, values, ranks, few=few) == [expected[rank] for rank in ranks]


@pytest.mark.parametrize("name", samples())
def test_scipy_says_the_same_of_many_points(name: str) -> None:
    years, values = samples()[name]
    assert theil_sen(years, values, 0.9) == by_scipy(years, values, 0.9)


def by_scipy(years: Floats, values: Floats, confidence: float) -> tuple[float | None, ...]:
    with np.errstate(invalid="ignore"):
        found = stats.theilslopes(values, years, confidence)
    figures = (found.slope, found.low_slope, found.high_slope)
    return tuple(None if math.isnan(figure) else float(figure) for figure in figures)


@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.9999])
@settings(max_examples=50)
@given(points=POINTS)
def test_scipy_says_the_same_of_few_points(
    confidence: float, points: list[tuple[int, float]]
) -> None:
    years, values = columns(points)
    if len(set(years)) < 2:
        assert theil_sen(years, values, confidence) is None
        return
    assert theil_sen(years, values, confidence) == by_scipy(years, values, confidence)


@pytest.mark.parametrize(("data", "number"), [(REAL[0], 2), (REAL[1], 7)])
def test_slopes_of_a_whole_real_question_have_the_ranks_they_should(data: str, number: int) -> None:
    table = real_table(data)
    question = table.names.question[number]
    rows = select(table, QuestionRequest(question), question).rows()
    years, values = rows.year.astype(np.float64), rows.value
    below = np.zeros(4, dtype=np.int64)
    upto = np.zeros(4, dtype=np.int64)
    pairs = 0
    ranks = ranks_of(years)
    found = slopes_at(years, values, ranks)
    for first in range(0, len(years), 256):
        run = years[:, None] - years[first : first + 256]
        slopes = (values[:, None] - values[first : first + 256])[run > 0] / run[run > 0]
        pairs += len(slopes)
        below += [np.count_nonzero(slopes < slope) for slope in found]
        upto += [np.count_nonzero(slopes <= slope) for slope in found]
    assert pairs > 10 * FEW
    assert all(low <= rank < high for low, rank, high in zip(below, ranks, upto, strict=True))


def ranks_of(years: Floats) -> list[int]:
    """The middle ranks and two near the limits of an interval."""
    n = len(years)
    pairs = (n * n - int((np.unique(years, return_counts=True)[1] ** 2).sum())) // 2
    return [(pairs - 1) // 2, pairs // 2, pairs * 47 // 100, pairs * 53 // 100]


def test_the_order_of_the_rows_does_not_matter() -> None:
    years, values = samples()["tenths, with ties"]
    order = np.random.default_rng(1).permutation(len(years))
    assert theil_sen(years, values, 0.95) == theil_sen(years[order], values[order], 0.95)


def test_a_slope_that_might_be_beyond_a_float_is_none() -> None:
    years = np.array([2011.0, 2012.0])
    assert theil_sen(years, np.array([-1.7e308, 1.7e308]), 0.95) is None


def test_a_few_wild_values_hardly_move_the_slope() -> None:
    years = np.repeat(np.arange(2011.0, 2023.0), 10)
    values = 0.5 * years
    values[::7] += 1e6
    found = theil_sen(years, values, 0.95)
    assert found is not None
    assert found.slope == pytest.approx(0.5)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.1
