"""Permutation tests of pairs of groups: how their work is cut into parts, and done.

The work is a row of chunks, each some splits of one pair. How many splits a chunk has, and
which chunks a part has, follows from the sizes of the groups and the number of permutations
alone; a chunk draws from a stream of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from server.stats.splits import all_sums, random_sums
from server.stats.statistic import Json, unit_of
from server.table import Floats, Offsets

MOST_SPLITS = 1_000_000
"""Up to so many splits a test may be exact; their sums take about 24 MB."""

_TOLERANCE = 1e-9
_PART_NS, _CHUNK_NS, _SPLIT_NS, _EXACT_NS = 30_000_000, 150_000, 150, 15
"""The aim for a part; what a chunk takes, a random split beside its values, one of all splits."""


class Pairs(NamedTuple):
    """Pairs of groups, one entry for each: the numbers of both groups, and the work.

    `random` is how many random splits are looked at, and 0 where all are few enough: then
    `exact` is their number, else 0. Both are 0 where a group is empty. `cost` is what a
    random split takes, and `length` how many of them are a chunk.
    """

    first: Offsets
    second: Offsets
    random: Offsets
    exact: Offsets
    cost: Offsets
    length: Offsets

    @classmethod
    def of(cls, sizes: Sequence[int], most: int) -> "Pairs":
        """All pairs of groups of these sizes, `most` random splits for each."""
        n = np.array(sizes, dtype=np.int64)
        first, second = np.triu_indices(len(n), 1)
        total, smaller = n[first] + n[second], np.minimum(n[first], n[second])
        number = _number_of_splits(total, smaller)
        is_exact = number <= min(most, MOST_SPLITS)
        cost = _SPLIT_NS + total + total // 4
        return cls(
            first,
            second,
            random=np.where((smaller > 0) & ~is_exact, most, 0),
            exact=np.where((smaller > 0) & is_exact, number, 0),
            cost=cost,
            length=np.maximum(1, (_PART_NS - _CHUNK_NS) // cost),
        )

    def p_value(self, pair: int, extremes: int) -> float | None:
        """The share of extreme splits, the one that was seen among them; None without a test."""
        if exact := int(self.exact[pair]):
            return extremes / exact
        random = int(self.random[pair])
        return (extremes + 1) / (random + 1) if random else None


def _number_of_splits(total: Offsets, smaller: Offsets) -> Offsets:
    """In how many ways each total splits so; MOST_SPLITS + 1 where there are more."""
    number = np.ones_like(total)
    for taken in range(min(int(smaller.max(initial=0)), MOST_SPLITS.bit_length())):
        more = np.minimum(number * (total - taken) // (taken + 1), MOST_SPLITS + 1)
        number = np.where(taken < smaller, more, number)
    return number


# -- the work -------------------------------------------------------------------------


class Chunk(NamedTuple):
    """Some splits of one pair; of a pair whose splits are all looked at there is one."""

    pair: int
    number: int


class Schedule(NamedTuple):
    """The chunks of all pairs in a row, by what they cost, and cut into parts of equal cost.

    A chunk belongs to the part in which it begins, and none is longer than a part: so every
    part has one at least, and twice the aim at most. The first chunk of pair i begins at
    `begins[i]`, and the others of its `chunks[i]` after `steps[i]` each.
    """

    begins: Offsets
    steps: Offsets
    chunks: Offsets

    @classmethod
    def of(cls, pairs: Pairs) -> "Schedule":
        """The schedule of these pairs."""
        chunks = np.maximum(-(-pairs.random // pairs.length), pairs.exact > 0)
        work = np.minimum(pairs.random, pairs.length) * pairs.cost + pairs.exact * _EXACT_NS
        steps = np.minimum(work + _CHUNK_NS, _PART_NS)
        return cls(np.cumsum(chunks * steps) - chunks * steps, steps, chunks)

    @property
    def parts(self) -> int:
        """How many parts there are, at least one."""
        if not self.chunks.any():
            return 1
        last = np.flatnonzero(self.chunks)[-1]
        return int(self.begins[last] + (self.chunks[last] - 1) * self.steps[last]) // _PART_NS + 1

    def part(self, number: int) -> Iterator[Chunk]:
        """The chunks of one part, in order."""
        low, high = number * _PART_NS, (number + 1) * _PART_NS
        firsts = np.maximum(-((self.begins - low) // self.steps), 0)
        ends = np.minimum(-((self.begins - high) // self.steps), self.chunks)
        for pair in np.flatnonzero(firsts < ends).tolist():
            for chunk in range(int(firsts[pair]), int(ends[pair])):
                yield Chunk(pair, chunk)


def extremes_of(part: int, pairs: Pairs, values: Callable[[int], Floats], seed: int | None) -> Json:
    """`[[pair, extremes], ...]`: how many extreme splits a part finds, for each of its pairs.

    `values(number)` are those of a group.
    """
    found: list[list[int]] = []
    for pair, chunks in groupby(Schedule.of(pairs).part(part), key=lambda chunk: chunk.pair):
        pooled = _Pooled.of(values(pairs.first[pair]), values(pairs.second[pair]))
        found.append([pair, sum(_extremes(pooled, pairs, chunk, seed) for chunk in chunks)])
    return found


def merge_extremes(request: Json, partials: Sequence[Json]) -> Json:
    """Partials as one: how many extreme splits all of them found, for each pair."""
    found: dict[int, int] = {}
    for partial in partials:
        for pair, extremes in partial:
            found[pair] = found.get(pair, 0) + extremes
    return [[pair, extremes] for pair, extremes in sorted(found.items())]


# -- one pair -------------------------------------------------------------------------


class _Pooled(NamedTuple):
    """The values of two groups as deviations, the smaller size, and what counts as extreme.

    A split is as extreme as the one that was seen where the sum of its smaller group is at
    least `bar` away from 0: this orders splits as the difference of their means does.
    """

    deviations: Floats
    size: int
    bar: float

    @classmethod
    def of(cls, first: Floats, second: Floats) -> "_Pooled":
        """Two groups, neither empty."""
        deviations = np.concatenate([first, second])
        deviations /= unit_of(deviations)
        deviations -= deviations[0]  # equal values become 0, and stay so
        deviations -= deviations.mean()
        size = min(len(first), len(second))
        smaller = deviations[:size] if size == len(first) else deviations[-size:]
        slack = _TOLERANCE * float(np.abs(deviations).max())
        return cls(deviations, size, abs(float(smaller.sum())) - slack)

    def extremes(self, sums: Floats) -> int:
        """How many of the sums are extreme."""
        return int(np.count_nonzero(np.abs(sums) >= self.bar))


def _extremes(pooled: _Pooled, pairs: Pairs, chunk: Chunk, seed: int | None) -> int:
    """How many splits of a chunk are extreme."""
    if pairs.exact[chunk.pair]:
        return pooled.extremes(all_sums(pooled.deviations, pooled.size))
    length = int(pairs.length[chunk.pair])
    count = min(length, int(pairs.random[chunk.pair]) - chunk.number * length)
    stream = np.random.SeedSequence(seed, spawn_key=chunk)
    random = np.random.Generator(np.random.PCG64DXSM(stream))
    sums = random_sums(pooled.deviations, pooled.size, count, random)
    return sum(map(pooled.extremes, sums))
