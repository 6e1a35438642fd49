"""The columns that a statistic sees, and the tree of group sums over them.

A table's rows are sorted by question, location, category, stratum and year. Each of these
sort keys is one level of a tree: a node of a level is one distinct prefix of the key, its
children are the nodes of the next level that continue the prefix, and the children of the
last level are rows. Every node carries the sum and the count of the values below it, so a
mean over any prefix is one division, whatever the number of rows.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

KEYS = ("question", "location", "category", "stratum", "year")
"""The sort keys of a table's rows, outermost first; each one is a level of the tree."""

MISSING = -1
"""The code of a category or stratum that a row does not have."""

NO_YEAR = np.iinfo(np.int32).min
"""What stands in the year column of a row without a year."""

Codes = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the tree: n nodes in the order of the sorted rows.

    `codes` (n) is each node's own key: a code of the vocabulary, or the year itself.
    `starts` (n + 1) delimits the children: those of node i are `starts[i]:starts[i + 1]`
    of the next level, or of the rows below the last one. `sums` and `counts` (n) are over
    all values below the node.
    """

    codes: Codes
    starts: Offsets
    sums: Floats
    counts: Offsets

    def children(self, node: int) -> slice:
        """The range of nodes (or rows) below `node`, in the next level (or the rows)."""
        return slice(int(self.starts[node]), int(self.starts[node + 1]))


@dataclass(frozen=True, slots=True)
class Names:
    """The vocabularies: `names.question[code]` is the text of a question's code.

    Each is sorted, so that codes compare as their texts do, and holds every name of the
    file, also those whose rows all lack a value. `better_low` are the questions for which
    less is better.
    """

    question: tuple[str, ...]
    location: tuple[str, ...]
    category: tuple[str, ...]
    stratum: tuple[str, ...]
    better_low: frozenset[str] = frozenset()

    def code(self, key: str, name: str) -> int | None:
        """The code of `name` in the vocabulary of `key`; None where it is not in it."""
        vocabulary: tuple[str, ...] = getattr(self, key)
        place = bisect_left(vocabulary, name)
        return place if vocabulary[place : place + 1] == (name,) else None


@dataclass(frozen=True, slots=True)
class Table:
    """Read-only columns of one data file, one entry per row that has a value.

    `question`, `location`, `category` and `stratum` are codes into `names` (`MISSING`
    where a row has no stratum), `year` is the year itself (`NO_YEAR` where there is
    none), `value` is finite, `weight` is NaN where a row has none. `fingerprint` identifies
    the content: equal fingerprints mean equal answers. `levels` follow `KEYS`.
    """

    fingerprint: str
    names: Names
    question: Codes
    location: Codes
    category: Codes
    stratum: Codes
    year: Codes
    value: Floats
    weight: Floats
    levels: tuple[Level, Level, Level, Level, Level]

    @property
    def rows(self) -> int:
        """How many rows have a value."""
        return len(self.value)

    def find(self, key: str, name: str, within: slice) -> int | None:
        """The node of level `key` that has this name, among the siblings `within`; None if none."""
        code = self.names.code(key, name)
        if code is None:
            return None
        codes = self.level(key).codes
        place = within.start + code  # there it is where all names before it have nodes, too
        if place >= within.stop or codes.item(place) != code:
            place = bisect_left(codes, code, within.start, within.stop)  # few: slower by NumPy
        return place if place < within.stop and codes.item(place) == code else None

    def level(self, key: str) -> Level:
        """The level of the sort key `key`, one of `KEYS`."""
        return self.levels[KEYS.index(key)]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Every array of the table under a name of its own; `from_arrays` takes them back."""
        named: dict[str, npt.NDArray[Any]] = {key: getattr(self, key) for key in KEYS}
        named |= {"value": self.value, "weight": self.weight}
        for key, level in zip(KEYS, self.levels, strict=True):
            named |= {
                f"{key}.codes": level.codes,
                f"{key}.starts": level.starts,
                f"{key}.sums": level.sums,
                f"{key}.counts": level.counts,
            }
        return named

    @classmethod
    def from_arrays(
        cls, fingerprint: str, names: Names, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> "Table":
        """The table whose `arrays()` these are; nothing is copied."""
        question, location, category, stratum, year = (
            Level(*(arrays[f"{key}.{part}"] for part in ("codes", "starts", "sums", "counts")))
            for key in KEYS
        )
        columns = {key: arrays[key] for key in (*KEYS, "value", "weight")}
        return cls(
            fingerprint, names, levels=(question, location, category, stratum, year), **columns
        )


def group_tree(keys: Sequence[Codes], values: Floats) -> tuple[Level, ...]:
    """The levels over rows that are already sorted by `keys`, outermost key first.

    `keys` and `values` have one entry per row; an empty table gives levels of no nodes.
    Sums are taken from the innermost level outwards, each over its children, so that a
    mean over many rows loses no more digits than one over few.
    """
    rows = len(values)
    firsts: list[Offsets] = []
    starts_here = np.zeros(rows, dtype=bool)
    starts_here[:1] = True
    for key in keys:
        starts_here[1:] |= key[1:] != key[:-1]
        firsts.append(np.flatnonzero(starts_here))

    levels: list[Level] = []
    below, sums = None, values
    for key, first in zip(reversed(keys), reversed(firsts), strict=True):
        starts = first if below is None else np.searchsorted(below, first)
        if len(first):
            with np.errstate(over="ignore"):  # too large for a float is infinite
                sums = np.add.reduceat(sums, starts)
        children = rows if below is None else len(below)
        counts = np.diff(first, append=rows)
        levels.append(Level(key[first], np.append(starts, children), sums, counts))
        below = first
    return tuple(reversed(levels))
