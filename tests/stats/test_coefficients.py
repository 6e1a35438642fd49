"""Both coefficients of cells, and of each resample of them, are those of SciPy."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from server.stats.coefficients import Cells, Pairs, estimates
from server.stats.resampling import Share, stream

Figures = npt.NDArray[np.float64]


def of_scipy(x: Figures, y: Figures) -> tuple[float, float]:
    return float(stats.pearsonr(x, y)[0]), float(stats.spearmanr(x, y)[0])


def related(n: int, seed: int = 3, digits: int = 6) -> tuple[Figures, Figures]:
    numbers = np.random.default_rng(seed)
    x = numbers.normal(30, 5, n)
    return np.round(x, digits), np.round(80 - x + numbers.normal(0, 6, n), digits)


FIGURE = st.integers(-40, 40).map(lambda n: n / 4)
PAIRS = st.lists(st.tuples(FIGURE, FIGURE), min_size=3, max_size=30)


@given(PAIRS)
@settings(max_examples=120, deadline=None)
def test_both_coefficients_are_those_of_scipy(pairs: list[tuple[float, float]]) -> None:
    x, y = (np.array(each) for each in zip(*pairs, strict=True))
    found = estimates(Cells(x, y))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert found is None
    else:
        assert found == pytest.approx(of_scipy(x, y), abs=1e-12)


@given(PAIRS, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_those_of_each_resample_are_those_of_scipy(
    pairs: list[tuple[float, float]], seed: int
) -> None:
    x, y = (np.array(each) for each in zip(*pairs, strict=True))
    order = np.argsort(x, kind="stable")
    kernel = Pairs(Cells(x, y), 12)
    (counts,) = kernel._counts(np.random.default_rng(seed), 12)
    assert counts.sum(axis=1).tolist() == [len(x)] * 12
    expected = []
    for times in counts:
        drawn = np.repeat(order, times)
        if np.ptp(x[drawn]) and np.ptp(y[drawn]):
            expected.append(of_scipy(x[drawn], y[drawn]))
    found = list(zip(*kernel.coefficients(counts), strict=True))
    assert np.array(found).ravel() == pytest.approx(np.array(expected).ravel(), abs=1e-9)


@pytest.mark.parametrize("n", [3, 100, 5000, 70_000])
def test_blocks_of_any_size_give_each_resample_its_own_coefficients(n: int) -> None:
    x, y = related(n)
    many = 3 if n > 10_000 else 200
    numbers, again = (stream(1, Share(0, 0, many)) for _ in range(2))
    kernel = Pairs(Cells(x, y), many)
    pearson, spearman = kernel.resampled(numbers, many)
    counts = np.concatenate(list(kernel._counts(again, many)))
    assert counts.shape == (many, n)
    order = np.argsort(x, kind="stable")
    last = np.repeat(order, counts[-1])
    assert (pearson[-1], spearman[-1]) == pytest.approx(of_scipy(x[last], y[last]), abs=1e-9)


def test_resamples_without_the_one_far_figure_keep_their_digits() -> None:
    x, y = related(30)
    x[0] = 1e9
    order = np.argsort(x, kind="stable")
    counts = np.ones((1, 30), dtype=np.int64)
    counts[0, -1], counts[0, 0] = 0, 2
    drawn = np.repeat(order, counts[0])
    ((pearson,), _) = Pairs(Cells(x, y), 1).coefficients(counts)
    assert pearson == pytest.approx(of_scipy(x[drawn], y[drawn])[0], abs=1e-6)


def test_cells_are_drawn_uniformly() -> None:
    x, y = related(10)
    kernel = Pairs(Cells(x, y), 20_000)
    counts = np.concatenate(list(kernel._counts(np.random.default_rng(1), 20_000)))
    assert stats.chisquare(counts.sum(axis=0)).pvalue > 1e-4
    exact = stats.binom.pmf(np.arange(11), 10, 0.1) * 20_000
    found = np.bincount(counts[:, 3], minlength=11)
    assert stats.chisquare([*found[:4], found[4:].sum()], [*exact[:4], exact[4:].sum()]).pvalue > (
        1e-4
    )
