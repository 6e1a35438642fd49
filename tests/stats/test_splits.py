"""Random subsets are uniform, and sums of subsets are those of their members."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.stats import splits
from server.stats.splits import all_sums, random_sums


def generator(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))


def sums(values: np.ndarray, size: int, count: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(random_sums(values, size, count, generator(seed))))


def members(subsets: np.ndarray, n: int) -> np.ndarray:
    """Which of `n` numbers are in, one row for each subset; no bit stands beyond them."""
    octets = subsets.astype("<u8").view(np.uint8)
    bits = np.unpackbits(octets, axis=1, bitorder="little").astype(bool)
    assert not bits[:, n:].any()
    return bits[:, :n]


def many_subsets(n: int, size: int, count: int, seed: int = 0) -> np.ndarray:
    random, found = generator(seed), []
    while count > 0:
        found.append(members(splits._random_subsets(n, size, count, random), n))
        count -= len(found[-1])
    return np.concatenate(found)


SIZES = st.integers(2, 700).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n // 2)))


# -- random subsets -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "size"), [(2, 1), (3, 1), (7, 3), (8, 4), (10, 1), (10, 5), (64, 1), (65, 2), (130, 2)]
)
def test_every_subset_is_equally_likely(n: int, size: int) -> None:
    from scipy.stats import chisquare

    numbers = {subset: at for at, subset in enumerate(combinations(range(n), size))}
    drawn = many_subsets(n, size, 30 * len(numbers) + 1000)
    where = np.nonzero(drawn)[1].reshape(-1, size)
    counts = np.zeros(len(numbers))
    for subset in where.tolist():
        counts[numbers[tuple(subset)]] += 1
    assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize(("n", "size"), [(100, 50), (130, 61), (200, 31), (2100, 900), (300, 4)])
def test_every_number_and_every_two_are_equally_often_in(n: int, size: int) -> None:
    count = 4000 if n > 1000 else 20_000
    drawn = many_subsets(n, size, count).astype(np.float32)
    once, twice = size / n, size * (size - 1) / (n * (n - 1))
    alone = (drawn.sum(axis=0) - count * once) / math.sqrt(count * once * (1 - once))
    together = (drawn.T @ drawn)[np.triu_indices(n, 1)]
    pairs = (together - count * twice) / math.sqrt(count * twice * (1 - twice))
    # Of two million normal deviates the largest is below 5.5; these hang together in groups.
    assert np.abs(alone).max() < 4.5
    assert np.abs(pairs).max() < (8 if count * twice < 10 else 5.5)
    assert pairs.std() == pytest.approx(1, abs=0.15)


@settings(max_examples=60)
@given(sizes=SIZES, count=st.integers(1, 300), seed=st.integers(0, 2**53 - 1))
def test_every_subset_has_the_size_that_was_asked_for(
    sizes: tuple[int, int], count: int, seed: int
) -> None:
    n, size = sizes
    drawn = members(splits._random_subsets(n, size, count, generator(seed)), n)
    assert len(drawn) <= count
    assert (drawn.sum(axis=1) == size).all()


@given(n=st.integers(2, 10**8), share=st.floats(0, 1))
def test_a_chance_is_short_and_makes_subsets_a_little_too_small(n: int, share: float) -> None:
    size = max(1, round(share * (n // 2)))
    digits, slack = splits._chance(n, size)
    assert len(digits) <= 3 + math.log2(n) / 2 + 3
    if digits:
        chance = sum(digit << place for place, digit in enumerate(digits)) / 2 ** len(digits)
        spread = math.sqrt(size * (n - size) / n)
        assert size - 2.5 * spread - 1 <= n * chance <= size + 0.5 * spread + 1
        assert slack >= spread
        assert digits[0] == 1
    else:
        assert slack == size


# -- sums -----------------------------------------------------------------------------


@settings(max_examples=40)
@given(sizes=SIZES, count=st.integers(0, 200), seed=st.integers(0, 1000))
def test_there_are_as_many_sums_as_asked_for_and_the_same_each_time(
    sizes: tuple[int, int], count: int, seed: int
) -> None:
    values = generator(seed, 1).normal(size=sizes[0])
    first = [*random_sums(values, sizes[1], count, generator(seed))]
    again = [*random_sums(values, sizes[1], count, generator(seed))]
    assert sum(map(len, first)) == count
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n", [2, 63, 64, 65, 600, 2048, 2049, 7001])
def test_a_looked_up_sum_is_that_of_the_members(n: int) -> None:
    values = generator(n).normal(size=n)
    subsets = splits._random_subsets(n, max(1, n // 3), 50, generator(n, 1))
    found = splits._Lookup(values).sums(subsets)
    expected = members(subsets, n) @ values
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("n", "size"), [(600, 300), (600, 297), (650, 13), (3000, 1300)])
def test_sums_have_the_mean_and_the_spread_of_sampling_without_replacement(
    n: int, size: int
) -> None:
    values = generator(3).gamma(2, size=n)
    found = sums(values, size, 20_000)
    spread = math.sqrt(size * (n - size) / (n - 1) * values.var())
    assert abs(found.mean() - size * values.mean()) < 4 * spread / math.sqrt(len(found))
    assert found.std() == pytest.approx(spread, rel=0.02)


@given(
    values=st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=11),
    share=st.floats(0, 1),
)
def test_all_sums_are_those_of_all_combinations(values: list[int], share: float) -> None:
    size = round(share * len(values))
    found = all_sums(np.array(values, dtype=np.float64), size)
    expected = [float(sum(subset)) for subset in combinations(values, size)]
    assert sorted(found.tolist()) == sorted(expected)


def test_all_sums_of_one_do_not_share_memory_with_the_values() -> None:
    values = np.array([1.0, 2.0])
    all_sums(values, 1)[0] = 7.0
    assert values.tolist() == [1.0, 2.0]
