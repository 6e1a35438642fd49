"""Resampled means and medians are distributed as they must be, and BCa levels are sound."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from server.stats import estimators
from server.stats.resampling import Share, stream, tally


def source(seed: int = 5) -> np.random.Generator:
    return stream(seed, Share(0, 0, 1))


@pytest.mark.parametrize("n", [2, 3, 63, 64, 1000, 65_536, 70_000])
def test_a_resampled_mean_is_that_of_as_many_drawn_rows(n: int) -> None:
    values = np.random.default_rng(1).normal(10, 3, n)
    many = 40 if n > 10_000 else 4000
    means = estimators.resampled_means(source(), values, many)
    assert len(means) == many
    z = (means.mean() - values.mean()) / (values.std() / math.sqrt(n * many))
    assert abs(z) < 4.5
    spread = means.var(ddof=1) / (values.var() / n)
    assert abs(spread - 1) < 5 * math.sqrt(2 / many)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_resampled_means_of_a_few_rows_have_the_exact_distribution(n: int) -> None:
    values = np.array([1.0, 10.0, 100.0, 1000.0, 10_000.0])[:n]
    exact = Counter(sum(drawn) for drawn in itertools.product(values.tolist(), repeat=n))
    many = 50_000
    drawn = Counter(np.rint(estimators.resampled_means(source(), values, many) * n).tolist())
    assert drawn.keys() <= exact.keys()
    totals = sorted(exact)
    expected = np.array([exact[each] for each in totals]) * (many / n**n)
    assert stats.chisquare([drawn[each] for each in totals], expected).pvalue > 1e-4


@pytest.mark.parametrize(
    "tenths", [(179, 266, 306, 442), (238, 246, 314, 339), (307, 308, 316, 317), (1, 2, 3, 4)]
)
@pytest.mark.parametrize("name", ["mean", "median"])
def test_resamples_that_equal_the_estimate_count_half_whatever_rounding_does(
    name: str, tenths: tuple[int, ...]
) -> None:
    estimator = estimators.ESTIMATORS[name](np.array(tenths) / 10)
    many = 200_000
    distribution = estimator.distribution(tally(estimator.resampled(source(), many)))
    share = distribution.share_below(estimator.estimate())

    def figure(drawn: Sequence[int]) -> int:
        return sum(drawn) if name == "mean" else sum(sorted(drawn)[1:3])

    sums = [figure(drawn) for drawn in itertools.product(tenths, repeat=4)]
    exact = sum((each < figure(tenths)) + (each <= figure(tenths)) for each in sums) / 2 / 4**4
    assert share == pytest.approx(exact, abs=5 * 0.5 / math.sqrt(many))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7])
def test_the_middles_of_resamples_have_the_exact_joint_distribution(n: int) -> None:
    exact: Counter[tuple[int, int]] = Counter()
    for drawn in itertools.product(range(n), repeat=n):
        ranks = sorted(drawn)
        exact[ranks[(n - 1) // 2], ranks[n // 2]] += 1
    many = 100_000
    low, high = estimators.resampled_middles(source(), n, many)
    found = Counter(zip(low.tolist(), high.tolist(), strict=True))
    assert found.keys() <= exact.keys()
    frequent = [pair for pair in exact if exact[pair] * many / n**n > 5]
    observed = [found[pair] for pair in frequent]
    expected = [exact[pair] * many / n**n for pair in frequent]
    observed.append(many - sum(observed))
    expected.append(many - sum(expected))
    assert stats.chisquare(observed, np.array(expected) + 1e-9).pvalue > 1e-4


@pytest.mark.parametrize("n", [40, 41, 1000, 17_694])
def test_the_middle_of_many_rows_is_distributed_as_an_order_statistic(n: int) -> None:
    many = 50_000
    low, high = estimators.resampled_middles(source(), n, many)
    for ranks, k in ((low, (n + 1) // 2), (high, n // 2 + 1)):
        at = np.unique(np.quantile(ranks, [0.05, 0.25, 0.5, 0.75, 0.95], method="lower"))
        exact = stats.binom.sf(k - 1, n, (at + 1) / n)
        found = (ranks[:, np.newaxis] <= at).mean(axis=0)
        assert found == pytest.approx(exact, abs=4.5 * 0.5 / math.sqrt(many))


def test_the_two_middles_agree_with_sorted_resamples() -> None:
    n, many = 30, 20_000
    low, high = estimators.resampled_middles(source(), n, many)
    drawn = np.sort(np.random.default_rng(3).integers(0, n, (many, n)), axis=1)
    ours, theirs = high - low, drawn[:, n // 2] - drawn[:, n // 2 - 1]
    table = [np.bincount(np.minimum(each, 4), minlength=5) for each in (ours, theirs)]
    assert stats.chi2_contingency(table).pvalue > 1e-4


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=25))
@settings(max_examples=80, deadline=None)
def test_medians_without_one_are_those_of_the_others(values: list[float]) -> None:
    ascending = np.sort(values)
    expected = [np.median(np.delete(ascending, place)) for place in range(len(ascending))]
    assert estimators.medians_without_one(ascending).tolist() == pytest.approx(expected)


def test_the_bca_interval_is_undefined_where_all_resamples_lie_on_one_side() -> None:
    influence = np.array([-1.0, 0.5, 0.5])
    assert estimators.bca_levels(0.0, influence, 0.95) is None
    assert estimators.bca_levels(1.0, influence, 0.95) is None
    assert estimators.bca_levels(0.5, np.zeros(3), 0.95) is None
    assert estimators.bca_levels(0.5, np.array([1.0, -1.0]), 0.9) == pytest.approx((0.05, 0.95))


def test_the_bca_interval_is_undefined_beyond_the_pole() -> None:
    influence = np.append(np.full(200, -1 / 200), 1.0)
    assert estimators.bca_levels(0.999999, influence, 0.999999999) is None


@pytest.mark.parametrize("confidence", [5e-324, 1e-16, math.nextafter(1, 0)])
def test_any_confidence_between_0_and_1_has_a_bca_interval(confidence: float) -> None:
    levels = estimators.bca_levels(0.5, np.array([1.0, -1.0]), confidence)
    assert levels == pytest.approx(((1 - confidence) / 2, (1 + confidence) / 2))
