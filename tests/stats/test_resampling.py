"""Parts cover every resample once, draws are uniform, and tallies lose nothing."""

import json
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from server.stats import resampling
from server.stats.resampling import Bundle, Distribution, Drawn, Share, Tally
from server.stats.statistic import MOST_PARTS, Unanswerable

FAST = settings(max_examples=60, deadline=None)

# -- the parts ------------------------------------------------------------------------

COSTS = st.lists(st.integers(0, 500), max_size=30)
RESAMPLES = st.integers(1, 400)
MOST = st.integers(50, 20_000)


@given(COSTS, RESAMPLES, MOST)
@FAST
def test_every_resample_of_every_group_is_drawn_in_exactly_one_part(
    costs: list[int], resamples: int, most: int
) -> None:
    plan = resampling.bundles(costs, resamples, most)
    drawn: Counter[int] = Counter()
    places = []
    for part in resampling.parts_of(plan, resamples):
        for group, chunk, here, whole in resampling.shares(plan, resamples, part):
            drawn[group] += here
            places.append((group, chunk))
            assert whole == (here == resamples)
    assert [drawn[group] for group in range(len(costs))] == [resamples] * len(costs)
    assert len(set(places)) == len(places)


@given(COSTS, RESAMPLES, MOST)
@FAST
def test_a_part_costs_no_more_than_it_may_or_than_one_resample(
    costs: list[int], resamples: int, most: int
) -> None:
    plan = resampling.bundles(costs, resamples, most)
    for part in resampling.parts_of(plan, resamples):
        shares = resampling.shares(plan, resamples, part)
        cost = sum(costs[share.group] * share.resamples for share in shares)
        spare = max((costs[share.group] for share in shares), default=0)
        assert cost <= most + spare


def test_small_neighbours_share_a_part_and_a_large_group_is_cut() -> None:
    plan = resampling.bundles([10, 10, 10, 500, 1, 0], resamples=10, most=300)
    assert plan == [Bundle(0, 3, 1), Bundle(3, 4, 10), Bundle(4, 6, 1)]


def test_no_groups_have_a_part_too() -> None:
    plan = resampling.bundles([], 100, 10)
    assert list(resampling.parts_of(plan, 100)) == [0]
    assert resampling.shares(plan, 100, 0) == []


def test_too_many_parts_are_refused_with_a_number_that_is_allowed() -> None:
    def plan(resamples: int) -> list[Bundle]:
        return resampling.bundles([1000] * 7, resamples, most=2000)

    with pytest.raises(Unanswerable, match="n_resamples may be about") as refused:
        resampling.parts_of(plan(1_000_000), 1_000_000)
    allowed = int(str(refused.value).rpartition(" ")[2])
    assert len(resampling.parts_of(plan(allowed), allowed)) >= MOST_PARTS * 0.9


# -- random numbers -------------------------------------------------------------------


def source(seed: int = 1) -> np.random.Generator:
    return resampling.stream(seed, Share(0, 0, 1))


@pytest.mark.parametrize("n", [2, 3, 10, 23])
def test_indices_are_uniform_and_independent_of_their_neighbours(n: int) -> None:
    many = 200_000
    drawn = resampling.draw(source(), n, many)
    quarter = many // 4
    for first, second in (
        (drawn[:-1], drawn[1:]),
        (drawn[:quarter], drawn[quarter : 2 * quarter]),
        (drawn[quarter : 2 * quarter], drawn[3 * quarter :]),
    ):
        pairs = np.bincount(first * n + second, minlength=n * n)
        assert stats.chisquare(pairs).pvalue > 1e-4


@pytest.mark.parametrize("n", [1000, 2**16 - 1, 2**16, 2**16 + 1])
def test_indices_of_many_rows_are_uniform_over_all(n: int) -> None:
    drawn = resampling.draw(source(), n, 400_000)
    assert 0 <= drawn.min() < drawn.max() < n
    assert stats.kstest((drawn + 0.5) / n, "uniform").pvalue > 1e-4
    digits = np.bincount(drawn % 10, minlength=10)
    expected = np.bincount(np.arange(n) % 10) * (len(drawn) / n)
    assert stats.chisquare(digits, expected).pvalue > 1e-4


@given(st.integers(1, 2**17), st.integers(0, 50), st.integers(0, 2**53 - 1))
@FAST
def test_as_many_indices_are_drawn_as_were_asked_for(n: int, many: int, seed: int) -> None:
    drawn = resampling.draw(source(seed), n, many)
    assert drawn.dtype == np.int64
    assert len(drawn) == many
    assert ((drawn >= 0) & (drawn < n)).all()


def test_every_chunk_of_every_group_has_a_stream_of_its_own() -> None:
    shares = [Share(group, chunk, 1) for group in range(20) for chunk in range(20)]
    first = {int(resampling.stream(7, share).integers(2**62)) for share in shares}
    assert len(first) == len(shares)
    assert resampling.stream(7, shares[0]).random() == resampling.stream(7, shares[0]).random()
    assert resampling.stream(7, shares[0]).random() != resampling.stream(8, shares[0]).random()


# -- tallies --------------------------------------------------------------------------

NUMBERS = st.lists(st.integers(-20, 20) | st.integers(-(2**52), 2**52), max_size=60)


def as_dict(tally: Tally) -> dict[int, int]:
    return dict(zip(tally.numbers.tolist(), tally.counts.tolist(), strict=True))


def tally(numbers: Sequence[int]) -> Tally:
    return resampling.tally(np.array(numbers, dtype=np.int64))


@given(NUMBERS)
@FAST
def test_a_tally_counts_each_number(numbers: list[int]) -> None:
    counted = tally(numbers)
    assert as_dict(counted) == Counter(numbers)
    assert all(one < other for one, other in pairwise(counted.numbers.tolist()))


@given(st.lists(st.dictionaries(st.integers(0, 3), NUMBERS, max_size=3), max_size=6), st.data())
@FAST
def test_merging_in_any_runs_counts_the_same_and_keeps_all_records(
    parts: list[dict[int, list[int]]], data: st.DataObject
) -> None:
    partials = [
        Drawn({place: str(place)}, {key: tally(part[key]) for key in part}).partial()
        for place, part in enumerate(parts)
    ]
    expected: dict[int, Counter[int]] = {}
    for part in parts:
        for key, numbers in part.items():
            expected.setdefault(key, Counter()).update(numbers)
    runs: list[Any] = []
    left = json.loads(json.dumps(partials))
    while left:
        size = data.draw(st.integers(1, len(left)))
        runs.append(json.loads(json.dumps(resampling.merge(None, left[:size]))))
        left = left[size:]
    found = Drawn.joined(runs)
    assert {key: as_dict(counted) for key, counted in found.tallies.items()} == expected
    assert list(found.tallies) == sorted(expected)
    assert found.records == {place: str(place) for place in range(len(parts))}


# -- what is read off a tally ---------------------------------------------------------


@given(st.floats(1e-280, 1e280))
@FAST
def test_the_step_is_the_largest_nice_one_that_is_allowed(largest: float) -> None:
    step = Fraction(*map(Fraction, resampling.decimal_grid(largest)))
    exact = Fraction(largest)
    slack = 1 + Fraction(1, 10**12)
    assert step <= exact * slack
    assert step * Fraction(5, 2) * slack >= exact


@given(st.integers(-(10**7), 10**7), st.integers(0, 4), st.sampled_from([1e-4, 2e-5, 0.005, 3e-7]))
@FAST
def test_a_decimal_fraction_is_a_point_of_a_finer_grid(
    digits: int, places: int, largest: float
) -> None:
    value = float(f"{digits}e-{places}")
    grid = resampling.decimal_grid(min(largest, 0.1**places))
    assert grid.points(grid.numbers([value])).tolist() == [value]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e3))
@FAST
def test_a_point_is_no_further_than_half_a_step(value: float, largest: float) -> None:
    grid = resampling.decimal_grid(largest)
    (point,) = grid.points(grid.numbers([value]))
    assert abs(point - value) <= largest * 0.5000001 + 1e-9


SOME = st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=1, max_size=20)


def spelt_out(pairs: list[tuple[int, int]]) -> tuple[Distribution, np.ndarray[Any, Any]]:
    values = np.array([value / 8 for value, _ in pairs])
    counts = np.array([count for _, count in pairs])
    return Distribution.of(values, counts), np.repeat(values, counts)


@given(SOME, st.floats(0, 1))
@FAST
def test_quantiles_are_of_type_7_over_all_that_was_counted(
    pairs: list[tuple[int, int]], share: float
) -> None:
    distribution, values = spelt_out(pairs)
    assert distribution.quantile(share) == pytest.approx(np.quantile(values, share), abs=1e-12)


@given(SOME)
@FAST
def test_the_deviation_is_that_of_all_that_was_counted(pairs: list[tuple[int, int]]) -> None:
    distribution, values = spelt_out(pairs)
    if len(values) < 2:
        assert distribution.deviation() is None
    else:
        assert distribution.deviation() == pytest.approx(values.std(ddof=1), abs=1e-12)


@given(SOME, st.integers(-50, 50))
@FAST
def test_equal_figures_are_below_by_half(pairs: list[tuple[int, int]], at: int) -> None:
    distribution, values = spelt_out(pairs)
    expected = stats.percentileofscore(values, at / 8, kind="mean") / 100
    assert distribution.share_below(at / 8) == pytest.approx(expected)


def test_an_interval_leaves_as_much_on_either_side() -> None:
    distribution = Distribution(np.arange(101.0), np.ones(101, dtype=np.int64))
    assert distribution.interval(0.9) == pytest.approx((5, 95))
