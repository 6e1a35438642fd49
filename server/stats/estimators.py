"""Estimates of values, how they are resampled, and the BCa interval's place among the resamples."""

import math
from statistics import NormalDist
from typing import Protocol

import numpy as np

from server.stats.resampling import BLOCK, RESOLUTION, Distribution, Tally, decimal_grid, draw
from server.table import Floats, Offsets

_NORMAL = NormalDist()

_FEW = 64
"""Resamples of fewer rows than this are added up side by side."""


class Estimator(Protocol):
    """An estimate of values, at least two and not all equal, and how it is resampled."""

    def resampled(self, source: np.random.Generator, resamples: int) -> Offsets:
        """A whole number for each resample, from which its estimate can be had."""

    def distribution(self, counted: Tally) -> Distribution:
        """The distribution of the resampled estimates."""

    def estimate(self) -> float:
        """The estimate itself, on the same grid as those of the resamples."""

    def influence(self) -> Floats:
        """How far the estimates without one value lie from their mean, to any scale."""


class Mean:
    """The mean. A resample's number is that of its mean's place on a decimal grid.

    The grid has at least 1,024 points in a standard error, but no more than a float can
    tell apart.
    """

    def __init__(self, values: Floats) -> None:
        self._values = values
        size = float(np.abs(values).max())
        error = float((values / size).std()) * size / math.sqrt(len(values))
        self._grid = decimal_grid(max(error / RESOLUTION, size * 2.0**-50, 1e-290))

    def resampled(self, source: np.random.Generator, resamples: int) -> Offsets:
        return self._grid.numbers(resampled_means(source, self._values, resamples))

    def distribution(self, counted: Tally) -> Distribution:
        return Distribution(self._grid.points(counted.numbers), counted.counts)

    def estimate(self) -> float:
        return float(self._grid.points(self._grid.numbers(self._values.mean())))

    def influence(self) -> Floats:
        return np.asarray(self._values - self._values.mean())


class Median:
    """The median. A resample's number says which two of the distinct values are its middle."""

    def __init__(self, values: Floats) -> None:
        self._sorted = np.sort(values)
        self._distinct, self._codes = np.unique(self._sorted, return_inverse=True)

    def resampled(self, source: np.random.Generator, resamples: int) -> Offsets:
        low, high = resampled_middles(source, len(self._sorted), resamples)
        return self._codes[low] * len(self._distinct) + self._codes[high]

    def distribution(self, counted: Tally) -> Distribution:
        low, high = np.divmod(counted.numbers, len(self._distinct))
        return Distribution.of((self._distinct[low] + self._distinct[high]) / 2, counted.counts)

    def estimate(self) -> float:
        half = len(self._sorted) // 2
        return float((self._sorted[~half] + self._sorted[half]) / 2)

    def influence(self) -> Floats:
        without = medians_without_one(self._sorted)
        return without.mean() - without if np.ptp(without) else np.zeros(len(without))


ESTIMATORS: dict[str, type[Mean] | type[Median]] = {"mean": Mean, "median": Median}
"""The estimators by the names that requests use."""


def resampled_means(source: np.random.Generator, values: Floats, resamples: int) -> Floats:
    """The mean of each of so many resamples of the values."""
    n = len(values)
    if n > BLOCK:
        return np.array([_one_mean(source, values) for _ in range(resamples)])
    means = np.empty(resamples)
    block = BLOCK // n
    for first in range(0, resamples, block):
        here = min(block, resamples - first)
        drawn = values.take(draw(source, n, n * here))
        table, axis = (drawn.reshape(n, here), 0) if n < _FEW else (drawn.reshape(here, n), 1)
        table.mean(axis=axis, out=means[first : first + here])
    return means


def _one_mean(source: np.random.Generator, values: Floats) -> float:
    """The mean of one resample of many values, which are not drawn all at once."""
    n = len(values)
    counts = [min(BLOCK, n - first) for first in range(0, n, BLOCK)]
    return math.fsum(values.take(draw(source, n, count)).sum() for count in counts) / n


def resampled_middles(
    source: np.random.Generator, n: int, resamples: int
) -> tuple[Offsets, Offsets]:
    """The ranks, from 0, of the two values (or twice the one) in the middle of each resample.

    Exact, though only those are drawn: an index into n sorted values is the whole part of n
    times a uniform number, the k-th smallest of n uniform numbers is beta distributed with
    (k, n + 1 - k), and those above it are uniform between it and 1.
    """
    k = (n + 1) // 2
    below = source.beta(k, n + 1 - k, resamples)
    low = _index(below, n)
    if n % 2:
        return low, low
    next_one = 1 - (1 - below) * source.random(resamples) ** (1 / (n - k))
    return low, _index(next_one, n)


def _index(uniform: Floats, n: int) -> Offsets:
    return np.minimum((uniform * n).astype(np.int64), n - 1)


def medians_without_one(values: Floats) -> Floats:
    """The median of the other values, for each of some that ascend, at least two."""
    half = len(values) // 2
    if len(values) % 2 == 0:
        return np.repeat(values[[half, half - 1]], half)
    below, middle, above = values[half - 1 : half + 2]
    medians = np.array([middle + above, below + above, below + middle]) / 2
    return np.repeat(medians, [half, 1, half])


def bca_levels(
    share_below: float, influence: Floats, confidence: float
) -> tuple[float, float] | None:
    """The quantiles of the bootstrap distribution that bound the BCa interval.

    `share_below` is the share of resamples whose estimate is below that of the sample, equal
    ones by half; `influence` is how far the estimates without one value lie from their mean.
    None where the interval is undefined: every resample lies on one side of the estimate, or
    leaving out any one value gives the same.
    """
    largest = float(np.abs(influence).max())
    if not 0 < share_below < 1 or largest == 0:
        return None
    influence = influence / largest
    acceleration = float((influence**3).sum() / (6 * (influence**2).sum() ** 1.5))
    bias = _NORMAL.inv_cdf(share_below)
    normal = _NORMAL.inv_cdf((1 - confidence) / 2)
    levels = []
    for shifted in (bias + normal, bias - normal):
        if acceleration * shifted >= 1:
            return None
        bound = bias + shifted / (1 - acceleration * shifted)
        levels.append(math.erfc(-bound / math.sqrt(2)) / 2)
    return levels[0], levels[1]
