"""How sure a mean or a median is: bootstrap intervals of it, for each group.

The rows of a group are resampled with replacement, as many as there are, and the estimate is
taken of each resample. The figures of all resamples are the bootstrap distribution. A part
gives the tallies of its groups' resampled estimates.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated, Literal, Protocol

import numpy as np
from msgspec import Meta

from server.stats.resampling import (
    BLOCK,
    RESOLUTION,
    Bundle,
    Distribution,
    Resamples,
    Share,
    Tally,
    bundles,
    decimal_grid,
    draw,
    merge,
    packed,
    parts_of,
    shares,
    stream,
    tally,
    unpacked,
)
from server.stats.selection import Group, groups, select
from server.stats.statistic import Confidence, GroupedRequest, Json, Seed, Statistic
from server.table import Floats, Offsets, Table

_PART = 12_000_000
"""What a part costs, in resampled rows at some 2.4 ns: about 30 ms."""

_MEAN_OVERHEAD = 16
_MEDIAN_COST = 24
"""What a resample costs, in rows: of a mean beyond its rows; of a median, whatever they are."""

_NORMAL = NormalDist()

_Interval = tuple[float | None, float | None]

_FEW = 64
"""Resamples of fewer rows than this are added up side by side."""


class BootstrapRequest(GroupedRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for intervals of an estimate."""

    estimator: Annotated[
        Literal["mean", "median"], Meta(description="What is estimated: the mean or the median.")
    ] = "mean"
    n_resamples: Resamples = 9_999
    confidence: Confidence = 0.95
    seed: Seed = None


# -- the estimators -------------------------------------------------------------------


class _Estimator(Protocol):
    """An estimate of values, at least two and not all equal, and how it is resampled."""

    def resampled(self, source: np.random.Generator, resamples: int) -> Offsets:
        """A whole number for each resample, from which its estimate can be had."""

    def distribution(self, counted: Tally) -> Distribution:
        """The distribution of the resampled estimates."""

    def estimate(self) -> float:
        """The estimate itself, on the same grid as those of the resamples."""

    def influence(self) -> Floats:
        """How far the estimates without one value lie from their mean, to any scale."""


class _Mean:
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


class _Median:
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


_ESTIMATORS: dict[str, type[_Mean] | type[_Median]] = {"mean": _Mean, "median": _Median}


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


# -- the statistic --------------------------------------------------------------------


def _groups(table: Table, request: BootstrapRequest) -> list[Group]:
    return groups(select(table, request, request.question), request.by)


def _plan(found: Sequence[Group], request: BootstrapRequest) -> list[Bundle]:
    costs = [_cost(request, group.selection.n) for group in found]
    return bundles(costs, request.n_resamples, _PART)


def _cost(request: BootstrapRequest, n: int) -> int:
    """What a resample of n rows costs, in resampled rows."""
    if n < 2:
        return 0
    return _MEDIAN_COST if request.estimator == "median" else n + _MEAN_OVERHEAD


def plan(table: Table, request: BootstrapRequest) -> Sequence[Json]:
    """The parts' numbers. Unanswerable where rows times resamples are too many."""
    return parts_of(_plan(_groups(table, request), request), request.n_resamples)


def partial(table: Table, request: BootstrapRequest, part: int) -> Json:
    """`{"estimator": ..., "n_resamples": ..., "confidence": ..., "seed": ..., "groups": [{"state":
    ..., "n": ..., "estimate": ..., "standard_error": ..., "percentile_low": ...,
    "percentile_high": ..., "bca_low": ..., "bca_high": ...}]}`: both intervals of each group.
    """
    found = _groups(table, request)
    return [
        packed(share.group, _resampled(values, request, share))
        for share in shares(_plan(found, request), request.n_resamples, part)
        if _vary(values := found[share.group].selection.values())
    ]


def _vary(values: Floats) -> bool:
    """Whether there are two different ones, so that resampling can show anything."""
    return len(values) > 1 and bool(values.min() < values.max())


def _resampled(values: Floats, request: BootstrapRequest, share: Share) -> Tally:
    estimator = _estimator(values, request)
    return tally(estimator.resampled(stream(request.seed, share), share.resamples))


def _estimator(values: Floats, request: BootstrapRequest) -> _Estimator:
    return _ESTIMATORS[request.estimator](values)


def combine(table: Table, request: BootstrapRequest, partials: Sequence[Json]) -> Json:
    """The answer: the intervals of each group, from the tallies of all its resamples."""
    counted = unpacked(partials)
    found = _groups(table, request)
    return {
        "estimator": request.estimator,
        "n_resamples": request.n_resamples,
        "confidence": request.confidence,
        "seed": request.seed,
        "groups": [
            {**group.label, **_record(group, request, counted.get(place))}
            for place, group in enumerate(found)
        ],
    }


def _record(group: Group, request: BootstrapRequest, counted: Tally | None) -> dict[str, Json]:
    values = group.selection.values()
    error: float | None = None
    percentile: _Interval = (None, None)
    bca: _Interval = (None, None)
    estimate = _estimate(group, request, values)
    if counted is not None:
        estimator = _estimator(values, request)
        distribution = estimator.distribution(counted)
        error = distribution.deviation()
        percentile = distribution.interval(request.confidence)
        share_below = distribution.share_below(estimator.estimate())
        levels = bca_levels(share_below, estimator.influence(), request.confidence)
        if levels is not None:
            bca = distribution.quantile(levels[0]), distribution.quantile(levels[1])
    elif len(values) > 1:
        error, percentile, bca = 0.0, (estimate, estimate), (estimate, estimate)
    return {
        "n": len(values),
        "estimate": estimate,
        "standard_error": error,
        "percentile_low": percentile[0],
        "percentile_high": percentile[1],
        "bca_low": bca[0],
        "bca_high": bca[1],
    }


def _estimate(group: Group, request: BootstrapRequest, values: Floats) -> float | None:
    """The estimate of all rows; of equal ones exactly their value, None of none."""
    if not len(values):
        return None
    if not _vary(values):
        return float(values[0])
    return group.selection.mean if request.estimator == "mean" else float(np.median(values))


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


ROWS = (
    Statistic(
        "bootstrap_ci",
        "Bootstrap intervals of a mean or median: percentile and BCa.",
        BootstrapRequest,
        partial,
        plan,
        combine,
        merge,
        formula=(
            "Percentile: the quantiles (type 7) (1 - c) / 2 and (1 + c) / 2 of the estimates of "
            "all resamples, c being the confidence. BCa: the quantiles "
            "Phi(z0 + (z0 + z) / (1 - a (z0 + z))), where z is the normal quantile of these two, "
            "z0 that of the share of resamples below the estimate (equal ones by half), and a the "
            "skewness of the jackknife, sum(d^3) / (6 sum(d^2)^1.5). "
            "Standard error: the standard deviation of the resampled estimates. "
            "Null where undefined: of fewer than two rows all but the estimate; BCa where leaving "
            "out any one row gives the same estimate (a median among equal values), or all "
            "resamples lie on one side of it. Of equal values the interval is that value."
        ),
        source=(
            "Efron 1979 (bootstrap); Efron 1987, Better Bootstrap Confidence Intervals (BCa); "
            "Hyndman & Fan 1996, type 7"
        ),
        example={
            "question": "Percent of adults aged 18 years and older who have obesity",
            "states": ["Ohio", "Michigan"],
            "by": "state",
            "n_resamples": 999,
            "seed": 1,
        },
    ),
)
