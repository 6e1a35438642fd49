"""The Theil-Sen slope: the median of the slopes between all pairs of points.

n points have about n^2 / 2 slopes, too many to be made where n is large. But a slope of any
rank can be found without: the points of a year in the order of their values make slopes in
that order with any earlier point, so how many slopes lie below a given one is told by one
search for each point and later year. A sample of slopes gives two that the one sought most
likely lies between, and counting tells whether it does; so it goes on, until what is left is
few enough to be made. Slopes are only ever compared as computed, by one subtraction and one
division, so the outcome is that of sorting them all, to the last digit.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from server.table import Floats, Offsets

FEW = 2**19
"""As many slopes are made at once, in about 10 ms."""

_SAMPLE = 2**14
_MARGIN = 1 / math.sqrt(_SAMPLE)  # two standard errors of a share that a sample tells
_BLOCK = 2**17
_SPREAD = (0.7548776662466927, 0.5698402909980532)
"""The multiples of these two, less their whole parts, fill a square evenly (Roberts 2018)."""

Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


class TheilSen(NamedTuple):
    """The median of the slopes, and the limits of its confidence interval, if it has any."""

    slope: float
    low: float | None
    high: float | None


def theil_sen(years: Floats, values: Floats, confidence: float) -> TheilSen | None:
    """Theil's slope with Sen's interval, as `scipy.stats.theilslopes` gives them.

    None where all points are of one year, and where a slope might be too large for a float.
    There is no interval where ties, of which Sen counts those of years and those of values but
    not those of both, leave no variance: as where all values are equal.
    """
    in_year = np.unique(years, return_counts=True)[1].tolist()
    n = len(years)
    pairs = (n * n - sum(count * count for count in in_year)) // 2
    if not pairs or not math.isfinite(4 * float(np.abs(values).max()) * float(np.ptp(years))):
        return None
    of_value = np.unique(values, return_counts=True)[1].tolist()
    middle = ((pairs - 1) // 2, pairs // 2)
    limits = _limits(pairs, _weigh(n) - sum(map(_weigh, [*in_year, *of_value])), confidence)
    lower, upper, *ends = slopes_at(years, values, (*middle, *limits))
    low, high = ends or (None, None)
    return TheilSen((lower + upper) / 2, low, high)


def _limits(pairs: int, weight: int, confidence: float) -> tuple[int, ...]:
    """The ranks of the interval's ends among the slopes: equation 2.6 of Sen 1968."""
    from scipy.special import ndtri

    if weight < 0:
        return ()
    reach = -float(ndtri((1 - confidence) / 2)) * math.sqrt(weight / 18)
    return max(round((pairs - reach) / 2) - 1, 0), min(round((pairs + reach) / 2), pairs - 1)


def _weigh(n: int) -> int:
    return n * (n - 1) * (2 * n + 5)


def slopes_at(
    years: Floats, values: Floats, ranks: Sequence[int], *, few: int = FEW
) -> list[float]:
    """The slopes of these ranks, counted from 0, among those of all pairs of two years.

    They are all made where there are no more than `few`, and else at most as many at once.
    """
    order = np.lexsort((values, years))
    points = _Points.of(years[order], values[order])
    if points.slopes <= few:
        slopes = _all_slopes(years[order], values[order])
        slopes.partition(sorted(set(ranks)))
        return [float(slopes[rank]) for rank in ranks]
    # Slopes that are sorted with their weights take several times as long as bare ones.
    found = {rank: _slope_at(points, rank, few // 8) for rank in set(ranks)}
    return [found[rank] for rank in ranks]


def _all_slopes(years: Floats, values: Floats) -> Floats:
    """The slopes of all pairs of points, which are in the order of their years."""
    starts = [*np.flatnonzero(np.diff(years)) + 1, len(years)]
    return np.concatenate(
        [
            ((values[first:end, None] - values[:first]) / (years[first] - years[:first])).ravel()
            for first, end in pairwise(starts)
        ]
    )


# -- counting -------------------------------------------------------------------------


class _Block(NamedTuple):
    """Some points and all those of one later year: the slopes between them.

    `run` are the years from each of the `early` values to the `later` ones, which have an
    infinite one at either end. `rows` are how many rows each early point stands for, and
    `before[k]` those of the first k later points.
    """

    run: Floats
    early: Floats
    later: Floats
    rows: Offsets
    before: Offsets

    def below(self, slope: float) -> Indices:
        """How many of the later points make a slope below this one with each early point."""
        if math.isinf(slope):
            return np.full(len(self.early), 0 if slope < 0 else len(self.later) - 2)
        found = np.searchsorted(self.later, self.early + slope * self.run)
        # The multiplication rounds otherwise than the division: most often by one place.
        found += self._is_below(found, slope)
        found -= ~self._is_below(found - 1, slope)
        wrong = self._is_below(found, slope) | ~self._is_below(found - 1, slope)
        if wrong.any():
            some = self._replace(run=self.run[wrong], early=self.early[wrong])
            found[wrong] = some._searched(slope)
        return found - 1

    def _searched(self, slope: float) -> Indices:
        """The place of the first later value whose slope is not below; the -inf is at 0."""
        low = np.zeros(len(self.early), dtype=np.intp)
        high = np.full_like(low, len(self.later) - 1)
        while (high - low).max() > 1:
            middle = (low + high) // 2
            is_below = self._is_below(middle, slope)
            low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        return high

    def _is_below(self, places: Indices, slope: float) -> Mask:
        is_below: Mask = (self.later[places] - self.early) / self.run < slope
        return is_below

    def slopes(self, early: Indices, later: Indices) -> Floats:
        """The slopes between these early and later points."""
        return (self.later[later + 1] - self.early[early]) / self.run[early]


class _Points(NamedTuple):
    """The distinct points in the order of year and value.

    `before` has one entry more: how many rows are at the points before. `starts` are where
    each year begins, and where the last one ends.
    """

    years: Floats
    values: Floats
    before: Offsets
    starts: list[int]

    @classmethod
    def of(cls, years: Floats, values: Floats) -> Self:
        """The points of rows in the order of year and value."""
        begins = np.diff(years, prepend=-np.inf) > 0
        differs = begins | (np.diff(values, prepend=-np.inf) > 0)
        firsts = np.flatnonzero(differs)
        starts = np.flatnonzero(begins[firsts])
        before = np.append(firsts, len(years)).astype(np.int64)
        return cls(years[firsts], values[firsts], before, [*starts.tolist(), len(firsts)])

    @property
    def slopes(self) -> int:
        """How many slopes all rows make."""
        rows: list[int] = np.diff(self.before[self.starts]).tolist()
        return (sum(rows) ** 2 - sum(each * each for each in rows)) // 2

    def blocks(self) -> Iterator[_Block]:
        """All pairs of points of two years, each in one block."""
        for first, end in pairwise(self.starts[1:]):
            later = np.concatenate([[-np.inf], self.values[first:end], [np.inf]])
            before = self.before[first : end + 1] - self.before[first]
            for at in range(0, first, _BLOCK):
                early = slice(at, min(at + _BLOCK, first))
                rows = np.diff(self.before[early.start : early.stop + 1])
                run = self.years[first] - self.years[early]
                yield _Block(run, self.values[early], later, rows, before)


class _Count(NamedTuple):
    """How many slopes there are, and how many of different pairs of points."""

    slopes: int
    distinct: int


def _count_below(points: _Points, slope: float) -> _Count:
    """How many slopes lie below this one."""
    slopes = distinct = 0
    for block in points.blocks():
        ends = block.below(slope)
        slopes += int((block.rows * block.before[ends]).sum())
        distinct += int(ends.sum())
    return _Count(slopes, distinct)


class _Weighed(NamedTuple):
    """Slopes in ascending order, and the sums of their weights up to each and with it."""

    slopes: Floats
    sums: npt.NDArray[Any]

    @classmethod
    def of(cls, slopes: list[Floats], weights: list[npt.NDArray[Any]]) -> Self:
        """Those of several blocks."""
        joined = np.concatenate(slopes)
        order = np.argsort(joined)
        return cls(joined[order], np.cumsum(np.concatenate(weights)[order]))

    def at(self, sum_of_weights: float) -> float:
        """The first slope that has a larger sum, else the last."""
        place = np.searchsorted(self.sums, sum_of_weights, side="right")
        return float(self.slopes[min(int(place), len(self.slopes) - 1)])


class _Bounds(NamedTuple):
    """Where a slope must be: in [low, high). `under` and `upto` count those below these two."""

    low: float
    high: float
    under: _Count
    upto: _Count

    @property
    def distinct(self) -> int:
        """How many slopes of different pairs of points are within."""
        return self.upto.distinct - self.under.distinct

    @property
    def are_one(self) -> bool:
        """Whether no other number than `low` is within."""
        return math.nextafter(self.low, math.inf) == self.high


def _slope_at(points: _Points, rank: int, few: int) -> float:
    """The slope of this rank; at most `few` slopes of different pairs are made at once."""
    bounds = _Bounds(-math.inf, math.inf, _Count(0, 0), _count_below(points, math.inf))
    margin = _MARGIN
    while bounds.distinct > few and not bounds.are_one:
        narrower = _narrowed(points, bounds, rank, margin)
        # Between two slopes that most pairs have, only a single pivot gets any further.
        margin = _MARGIN if narrower.distinct < bounds.distinct else 0.0
        bounds = narrower
    if bounds.are_one:
        return bounds.low
    return _between(points, bounds.low, bounds.high).at(rank - bounds.under.slopes)


def _narrowed(points: _Points, bounds: _Bounds, rank: int, margin: float) -> _Bounds:
    """The bounds drawn in to two slopes of a sample, the rank's place in it less and plus margin.

    One of the two stays as it was where the slope of this rank is not between these.
    """
    low, high, under, upto = bounds
    sample = _sample(points, low, high)
    place = (rank - under.slopes) / (upto.slopes - under.slopes)
    least, most = (sample.at((place + way) * float(sample.sums[-1])) for way in (-margin, margin))
    for pivot in (least, math.nextafter(most, math.inf)):
        count = _count_below(points, pivot)
        if rank < count.slopes:
            return _Bounds(low, pivot, under, count)
        low, under = pivot, count
    return _Bounds(low, high, under, upto)


def _sample(points: _Points, low: float, high: float) -> _Weighed:
    """Some slopes in [low, high), each weighed by how many it stands for."""
    slopes, weights = [], []
    share = _SAMPLE / _count_below(points, math.inf).distinct
    for block in points.blocks():
        first, end = block.below(low), block.below(high)
        sums = np.cumsum(block.rows * (block.before[end] - block.before[first]))
        if not sums[-1]:
            continue
        size = math.ceil(share * len(block.early) * (len(block.later) - 2))
        across, down = (np.arange(1, size + 1) * step % 1 for step in _SPREAD)
        early = np.searchsorted(sums, across * sums[-1], side="right")
        start, stop = block.before[first[early]], block.before[end[early]]
        later = np.searchsorted(block.before, start + down * (stop - start), side="right") - 1
        slopes.append(block.slopes(early, later))
        weights.append(np.full(size, sums[-1] / size))
    return _Weighed.of(slopes, weights)


def _between(points: _Points, low: float, high: float) -> _Weighed:
    """All slopes in [low, high), each weighed by how many are the same pair of points."""
    slopes, weights = [], []
    for block in points.blocks():
        first, end = block.below(low), block.below(high)
        lengths = end - first
        early = np.repeat(np.arange(len(lengths)), lengths)
        later = np.arange(len(early)) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
        slopes.append(block.slopes(early, later))
        weights.append(block.rows[early] * np.diff(block.before)[later])
    return _Weighed.of(slopes, weights)
