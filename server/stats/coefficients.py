"""Pearson's and Spearman's correlation coefficients of cells, and of resamples of them."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from server.stats.resampling import BLOCK, RESOLUTION, Grid, decimal_grid, draw
from server.table import Floats, Offsets

LEAST_CELLS = 3
"""Two points always lie on a line, so fewer cells say nothing."""

LEAST_STEP = 1e-6
"""The resampled coefficients are told apart by no less than this."""


class Cells(NamedTuple):
    """The figures of two questions in the same cells: two arrays of equal length."""

    first: Floats
    second: Floats


class Pairs:
    """The coefficients of resamples of some cells, at least three; `resamples` are expected.

    A block of resamples is an array of so many rows, with one column for each cell: how often
    the resample has it. The cells are in the order of their first figure.
    """

    def __init__(self, cells: Cells, resamples: int) -> None:
        order = np.argsort(cells.first, kind="stable")
        first, second = cells.first[order], cells.second[order]
        self.n = n = len(order)
        self.block = min(max(1, BLOCK // n), resamples)
        self._moments = _moments(_standardised(first), _standardised(second))
        self._first, self._second = (_Ranks(each, self.block) for each in (first, second))

    def estimate(self) -> tuple[float, float] | None:
        """Both coefficients of the cells themselves; None where one figure is constant."""
        pearson, spearman = self.coefficients(np.ones((1, self.n), dtype=np.int64))
        return (float(pearson[0]), float(spearman[0])) if len(pearson) else None

    def resampled(self, source: np.random.Generator, resamples: int) -> tuple[Floats, Floats]:
        """Both coefficients of each of so many resamples, without those that have none."""
        found = [self.coefficients(counts) for counts in self._counts(source, resamples)]
        pearson, spearman = (np.concatenate(each) for each in zip(*found, strict=True))
        return pearson, spearman

    def _counts(self, source: np.random.Generator, resamples: int) -> Iterator[Offsets]:
        for first in range(0, resamples, self.block):
            here = min(self.block, resamples - first)
            drawn = draw(source, self.n, here * self.n).reshape(here, self.n)
            drawn += np.arange(0, here * self.n, self.n)[:, np.newaxis]
            counts = np.bincount(drawn.reshape(-1), minlength=drawn.size)
            yield counts.reshape(here, self.n)

    def coefficients(self, counts: Offsets) -> tuple[Floats, Floats]:
        """Pearson's and Spearman's of each resample where both figures vary."""
        first, second = self._first.of(counts), self._second.of(counts)
        weights = counts.astype(np.float64)
        x, y, xx, yy, xy = (weights @ self._moments / self.n).T
        x_spread, y_spread = xx - x * x, yy - y * y
        weighted = weights * first
        together, first_spread = np.vecdot(weighted, second), np.vecdot(weighted, first)
        second_spread = np.vecdot(weights * second, second)
        known = (first_spread > 0) & (second_spread > 0) & (x_spread > 0) & (y_spread > 0)
        pearson = (xy - x * y)[known] / np.sqrt(x_spread[known] * y_spread[known])
        spearman = together[known] / np.sqrt(first_spread[known] * second_spread[known])
        return np.clip(pearson, -1, 1), np.clip(spearman, -1, 1)


def _standardised(values: Floats) -> Floats:
    """The values about their median, so that those close to each other keep their digits."""
    centred = values - np.median(values)
    return np.asarray(centred / (np.abs(centred).max() or 1))


def _moments(x: Floats, y: Floats) -> Floats:
    return np.stack([x, y, x * x, y * y, x * y]).T


class _Ranks:
    """The ranks of figures within each resample, equal ones having the mean of theirs.

    How many figures of a resample are up to each of the distinct ones says what the ranks
    are, so nothing is sorted but the figures themselves, once.
    """

    def __init__(self, values: Floats, block: int) -> None:
        self._n = n = len(values)
        distinct, codes = np.unique(values, return_inverse=True)
        ends = np.cumsum(np.bincount(codes)) - 1
        rows = np.arange(block)[:, np.newaxis]
        ascending = np.argsort(codes, kind="stable")
        sorted_already = bool((ascending[1:] > ascending[:-1]).all())
        self._before = rows * n
        self._order = None if sorted_already else self._before + ascending
        self._ends = self._before + ends
        self._places = rows * len(distinct) + codes

    def of(self, counts: Offsets) -> Floats:
        """Twice the rank of every cell in each resample of a block, about the mean rank.

        Of a resample whose figures are all equal, exactly 0 where it has a cell at all.
        """
        here = len(counts)
        ordered = counts if self._order is None else counts.take(self._order[:here])
        up_to = np.cumsum(ordered).take(self._ends[:here])
        up_to -= self._before[:here]
        ranks = up_to - self._n
        ranks[:, 1:] += up_to[:, :-1]
        return ranks.astype(np.float64).take(self._places[:here])


def estimates(cells: Cells) -> tuple[float, float] | None:
    """Both coefficients of the cells; None for fewer than three or where one figure is constant."""
    return Pairs(cells, 1).estimate() if len(cells.first) >= LEAST_CELLS else None


def grid(estimate: float, n: int) -> Grid:
    """The grid of a resampled coefficient: 1,024 points or more in its standard error."""
    error = (1 - estimate**2) / math.sqrt(n - 1)
    return decimal_grid(max(error / RESOLUTION, LEAST_STEP))
