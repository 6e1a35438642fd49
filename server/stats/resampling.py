"""Resampling in parts: who draws which resamples, from which stream, and what is kept of them.

Of a resample only its figure counts, and of that only which whole number it is: the number of
the nearest point of a grid, or whatever else a method makes of it. So millions of resamples
become a tally, how often each number occurred, whose size does not follow theirs, and tallies
add up in any grouping. Quantiles and deviations are taken from it at the end: by the part that
has drawn all resamples of a group, or else when all parts are done.

A job's parts follow from its groups' sizes and the number of resamples alone. Large groups
are cut into chunks of equal size, a part each; small neighbours share a part. Every chunk of
every group has a stream of random numbers of its own.
"""

import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from server.stats.statistic import MOST_PARTS, Json, check_parts
from server.table import Floats, Offsets

MOST_RESAMPLES = 10_000_000

Resamples = Annotated[
    int, Meta(ge=1, le=MOST_RESAMPLES, description="How many resamples are drawn.")
]

BLOCK = 65_536
"""How many indices are drawn at once, about, so that what is made of them stays in the cache."""

RESOLUTION = 1024
"""How many grid points a standard error spans at least.

Ten million resamples leave a quantile of 95 % confidence uncertain by some 0.0009 standard
errors; half a step of the grid is at most 0.0005.
"""

_BESIDE_MIDDLE = 2.0**-26
"""By how much of a step the border between two points is beside the middle: more than rounding
has values off, and too little for any other that data in decimals have."""

_ROUNDING = 2.0**-50
"""What part of a figure rounding may change, when it is computed from a few others."""

_DIGITS = 4
_LARGEST_DIGIT_BASE = 2**16
"""Four indices below this many are drawn as the digits of one number of 64 bits."""


# -- the parts ------------------------------------------------------------------------


class Bundle(NamedTuple):
    """The groups `first` to `end` (excluded), resampled together in each of `chunks` parts."""

    first: int
    end: int
    chunks: int


class Share(NamedTuple):
    """The resamples that one part draws of one group, perhaps all of them: the `whole`."""

    group: int
    chunk: int
    resamples: int
    whole: bool = False


def bundles(costs: Sequence[int], resamples: int, most: int) -> list[Bundle]:
    """All groups in their order, where `costs` are those of one resample of each.

    A part costs at most about `most`: groups that together cost no more share one part, and
    one that costs more is cut, though not below a resample a part.
    """
    found: list[Bundle] = []
    first = total = 0
    for group, cost in enumerate([*costs, most + 1]):
        here = cost * resamples
        if group > first and total + here > most:
            found.append(Bundle(first, group, min(max(1, -(-total // most)), resamples)))
            first, total = group, 0
        total += here
    return found


def parts_of(plan: Sequence[Bundle], resamples: int) -> range:
    """The numbers of the parts, at least one. Unanswerable where they would be too many."""
    parts = sum(bundle.chunks for bundle in plan)
    allowed = f"{resamples * MOST_PARTS // max(parts, 1) * 0.98:.1e}"
    check_parts(parts, f"with as many rows, n_resamples may be about {int(float(allowed))}")
    return range(max(1, parts))


def shares(plan: Sequence[Bundle], resamples: int, part: int) -> list[Share]:
    """What the part of this number draws."""
    for bundle in plan:
        if part < bundle.chunks:
            here = resamples * (part + 1) // bundle.chunks - resamples * part // bundle.chunks
            return [
                Share(group, part, here, bundle.chunks == 1)
                for group in range(bundle.first, bundle.end)
            ]
        part -= bundle.chunks
    return []


# -- random numbers -------------------------------------------------------------------


def stream(seed: int | None, share: Share) -> np.random.Generator:
    """The random numbers of a chunk of a group, independent of those of all others."""
    key = (share.group, share.chunk)
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=key)))


def draw(source: np.random.Generator, n: int, many: int) -> Offsets:
    """`many` independent indices, each below `n` and uniform.

    Exact, and for n up to 65,536 about twice as fast as drawing them one by one: a uniform
    number below n**4 has four independent uniform digits to the base n.
    """
    if n > _LARGEST_DIGIT_BASE:
        return source.integers(0, n, many)
    columns = -(-many // _DIGITS)
    base = np.uint64(n)
    rest = source.integers(0, n**_DIGITS, columns, dtype=np.uint64)
    digits = np.empty((_DIGITS, columns), dtype=np.uint64)
    for digit in digits[:-1]:
        above = rest // base
        np.subtract(rest, above * base, out=digit)
        rest = above
    digits[-1] = rest
    return digits.reshape(-1)[:many].view(np.int64)


# -- tallies --------------------------------------------------------------------------


class Tally(NamedTuple):
    """How often each of some whole numbers occurred; the numbers ascend."""

    numbers: Offsets
    counts: Offsets


def tally(numbers: Offsets) -> Tally:
    """The tally of numbers in any order."""
    if not len(numbers):
        return Tally(numbers, numbers)
    lowest = numbers.min()
    if int(numbers.max()) - int(lowest) < 4 * len(numbers):
        counts = np.bincount(numbers - lowest)
        places = np.flatnonzero(counts)
        return Tally(places + lowest, counts[places])
    return Tally(*np.unique(numbers, return_counts=True))


def joined(tallies: Sequence[Tally]) -> Tally:
    """The tally of all that some tallies counted."""
    if len(tallies) == 1:
        return tallies[0]
    numbers = np.concatenate([each.numbers for each in tallies])
    counts = np.concatenate([each.counts for each in tallies])
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    firsts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))
    return Tally(numbers[firsts], np.add.reduceat(counts[order], firsts) if len(firsts) else counts)


class Drawn(NamedTuple):
    """What parts have made of their resamples.

    `records` has what is to be said of a group, by its number, where one part has drawn all of
    the group's resamples; `tallies` are, by whatever keys, what was counted of other groups.
    """

    records: dict[int, Json]
    tallies: dict[int, Tally]

    @classmethod
    def joined(cls, partials: Sequence[Json]) -> "Drawn":
        """All that some partials have, in the order of groups and keys."""
        records, tallies = [], []
        for partial in partials:
            records += partial["records"]
            tallies += partial["tallies"]
        return cls(dict(sorted(records, key=itemgetter(0))), _added_up(tallies))

    def partial(self) -> Json:
        """As it is sent: of a tally each number as its distance from the one before."""
        return {
            "records": list(self.records.items()),
            "tallies": [
                [key, np.diff(counted.numbers, prepend=0).tolist(), counted.counts.tolist()]
                for key, counted in self.tallies.items()
            ],
        }


def _added_up(tallies: Sequence[Json]) -> dict[int, Tally]:
    """The tally of each key over all that were sent."""
    found: dict[int, list[Tally]] = {}
    for key, steps, counts in sorted(tallies, key=itemgetter(0)):
        numbers = np.cumsum(np.array(steps, dtype=np.int64))
        found.setdefault(key, []).append(Tally(numbers, np.array(counts, dtype=np.int64)))
    return {key: joined(counted) for key, counted in found.items()}


def merge(request: object, partials: Sequence[Json]) -> Json:
    """The partial of all that some partials have."""
    return Drawn.joined(partials).partial()


# -- what is read off a tally ---------------------------------------------------------


class Grid(NamedTuple):
    """The points number * step / scale, for all whole numbers.

    One of `step` and `scale` is a power of ten, or 1; so a decimal fraction is its own point.
    """

    step: float
    scale: float

    def numbers(self, values: npt.ArrayLike) -> Offsets:
        """The number of the point nearest to each value.

        Equal values have equal numbers also where they lie in the middle between two points
        and their last digits are off by rounding.
        """
        places = np.asarray(values) * (self.scale / self.step)
        return np.rint(places + _BESIDE_MIDDLE).astype(np.int64)

    def points(self, numbers: Offsets) -> Floats:
        """The point of each number."""
        return np.asarray(numbers * self.step / self.scale)


def decimal_grid(largest: float) -> Grid:
    """The grid with the largest distance of 1, 2 or 5 times a power of ten up to `largest`."""
    exponent = math.floor(math.log10(largest))
    digit = next((each for each in (5.0, 2.0) if each * 10.0**exponent <= largest), 1.0)
    if exponent < 0:
        return Grid(digit, 10.0**-exponent)
    return Grid(digit * 10.0**exponent, 1.0)


class Distribution(NamedTuple):
    """Figures and how often each occurred, at least one; the values ascend."""

    values: Floats
    counts: Offsets

    @classmethod
    def of(cls, values: Floats, counts: Offsets) -> "Distribution":
        """The distribution of values in any order."""
        order = np.argsort(values, kind="stable")
        return cls(values[order], counts[order])

    def quantile(self, share: float) -> float:
        """The type 7 quantile (Hyndman & Fan 1996) of all that was counted."""
        ends = np.cumsum(self.counts)
        place = share * (int(ends[-1]) - 1)
        below = math.floor(place)
        at = np.searchsorted(ends, [below, min(below + 1, int(ends[-1]) - 1)], side="right")
        low, high = self.values[at].tolist()
        return float(low + (high - low) * (place - below))

    def interval(self, confidence: float) -> tuple[float, float]:
        """The quantiles that leave the same share of the rest on either side."""
        outside = (1 - confidence) / 2
        return self.quantile(outside), self.quantile(1 - outside)

    def deviation(self) -> float | None:
        """The standard deviation, with n - 1; None of a single figure."""
        n = int(self.counts.sum())
        if n < 2:
            return None
        centred = self.values - self.values[0]
        centred -= (centred * self.counts).sum() / n
        scale = float(np.abs(centred).max()) or 1.0
        squares = float((np.square(centred / scale) * self.counts).sum())
        return scale * math.sqrt(squares / (n - 1))

    def share_below(self, value: float) -> float:
        """The share of figures below a value; those that equal it, but for rounding, count half."""
        slack = _ROUNDING * float(np.abs(self.values).max())
        below = np.searchsorted(self.values, value - slack, "left")
        up_to = np.searchsorted(self.values, value + slack, "right")
        twice = int(self.counts[:below].sum()) + int(self.counts[:up_to].sum())
        return twice / (2 * int(self.counts.sum()))
