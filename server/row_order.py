"""The order of a table's rows, which does not depend on the order of the file's.

A row in one integer sorts ten times faster than its cells one by one, so as many columns as
fit are packed into one sort key; the last columns of a key count least, as in a number. What
has been sorted is unpacked again: the keys are all that a table is made of.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from server.table import KEYS

NO_WEIGHT = -1.0
"""What stands for a missing weight in the rows to be sorted; no weight is negative."""

NUMBERS = ("value", "weight")
"""The columns that are no keys."""

_SPAN = 1 << 15  # rows
_BITS = 63  # of a sort key
_SCALES = (1, 10, 100, 1000)
_EXACT = 2.0**53  # up to where every whole number is a float

_Array = npt.NDArray[Any]


class Extent(NamedTuple):
    """From where to where the numbers of a column go, both included.

    Each is the nearest to some integer divided by `scale`; that is 0 where there is no such
    scale, as the numbers are no short decimals.
    """

    low: float
    high: float
    scale: int = 1

    @classmethod
    def of(cls, numbers: npt.NDArray[np.float64]) -> Self:
        """The extent of these; they are finite, and at least one."""
        scale = next((scale for scale in _SCALES if _are_whole(numbers, scale)), 0)
        return cls(float(numbers.min()), float(numbers.max()), scale)

    @classmethod
    def joined(cls, extents: list[Self]) -> Self:
        """That of the numbers of all."""
        lows, highs, scales = zip(*extents, strict=True)
        return cls(min(lows), max(highs), max(scales) if all(scales) else 0)

    @property
    def is_packable(self) -> bool:
        """Whether there is such a scale, and floats hold the integers to the last digit."""
        return 0 < max(-self.low, self.high, 1.0) * self.scale < _EXACT


def _are_whole(numbers: npt.NDArray[np.float64], scale: int) -> bool:
    """Whether each is the nearest to some integer divided by `scale`."""
    with np.errstate(over="ignore"):
        return all(
            np.array_equal(np.rint(some * float(scale)) / scale, some)
            for some in (numbers[:64], numbers)  # most that are not are told by the first ones
        )


class SortedRows(NamedTuple):
    """The columns by role, and a digest that only these have."""

    columns: dict[str, _Array]
    digest: bytes


class _Digit(NamedTuple):
    """What a column is in a packed sort key: whole numbers of `bits` bits, counted from `low`.

    A cell is such a number divided by `scale`; where that is 0, the column is no digit, but a
    sort key of its own.
    """

    role: str
    bits: int
    low: int
    scale: int

    @classmethod
    def of(cls, role: str, extent: Extent) -> Self:
        if not extent.is_packable:
            return cls(role, _BITS + 1, 0, 0)
        low, high = round(extent.low * extent.scale), round(extent.high * extent.scale)
        return cls(role, (high - low).bit_length(), low, extent.scale)

    def packed(self, cells: _Array) -> _Array:
        whole = cells if self.role in KEYS else np.rint(cells * float(self.scale))
        return whole.astype(np.int64) - self.low

    def unpacked(self, key: _Array) -> _Array:
        numbers = (key & ((1 << self.bits) - 1)) + self.low
        return numbers if self.role in KEYS else numbers / self.scale


class _SortKey(NamedTuple):
    """One column that no whole numbers can stand for, or some that fit into 63 bits."""

    digits: tuple[_Digit, ...]

    @property
    def is_packed(self) -> bool:
        return self.digits[0].scale > 0

    def pack(self, columns: Mapping[str, _Array], into: _Array) -> None:
        if not self.is_packed:
            np.add(columns[self.digits[0].role], 0.0, out=into)  # -0.0 becomes 0.0, as if packed
            return
        into.fill(0)
        for digit in self.digits:
            into <<= digit.bits
            into += digit.packed(columns[digit.role])

    def unpack(self, key: _Array) -> Iterator[tuple[str, _Array]]:
        if not self.is_packed:
            yield self.digits[0].role, key
            return
        for digit in reversed(self.digits):
            yield digit.role, digit.unpacked(key)
            key = key >> digit.bits


class RowSorter:
    """Takes rows in, part by part, and gives them back in the order of a table.

    `extents` has each column's, `rows` is how many there will be: at least one.
    """

    def __init__(self, extents: Mapping[str, Extent], rows: int) -> None:
        self._keys = list(_sort_keys(extents))
        self._rows = [np.empty(rows, np.int64 if key.is_packed else float) for key in self._keys]

    def put(self, at: int, columns: Mapping[str, _Array]) -> None:
        """Take in the rows from `at` on; threads may do so beside each other."""
        for key, rows in zip(self._keys, self._rows, strict=True):
            key.pack(columns, rows[at : at + len(columns["value"])])

    def sorted(self) -> SortedRows:
        """All rows, to be called once: value and weight break the ties, -0.0 is 0.0."""
        unsorted = pl.DataFrame({str(place): rows for place, rows in enumerate(self._rows)})
        self._rows.clear()
        in_order = unsorted.sort(pl.all())
        many = len(unsorted)
        del unsorted
        columns: dict[str, _Array] = {role: np.empty(many, np.int32) for role in KEYS}
        columns |= {role: np.empty(many) for role in NUMBERS}
        digests = [repr(self._keys).encode()]
        for key, rows in zip(self._keys, in_order, strict=True):
            digests += _unpacked(key, rows.to_numpy(), columns)
        columns["weight"][columns["weight"] == NO_WEIGHT] = math.nan
        return SortedRows(columns, hashlib.sha256(b"".join(digests)).digest())


def _sort_keys(extents: Mapping[str, Extent]) -> Iterator[_SortKey]:
    """A column that does not fit into a sort key any more begins another one."""
    digits: list[_Digit] = []
    for role in (*KEYS, *NUMBERS):
        digit = _Digit.of(role, extents[role])
        if digits and sum(each.bits for each in (*digits, digit)) > _BITS:
            yield _SortKey(tuple(digits))
            digits = []
        digits.append(digit)
    yield _SortKey(tuple(digits))


def _unpacked(key: _SortKey, rows: _Array, columns: Mapping[str, _Array]) -> list[bytes]:
    """Fill what is packed in the key into the columns; the digests of some rows each."""

    def unpack(span: slice) -> bytes:
        for role, cells in key.unpack(rows[span]):
            columns[role][span] = cells
        return hashlib.sha256(rows[span].data).digest()

    with ThreadPoolExecutor() as together:
        return list(together.map(unpack, _spans(len(rows))))


def _spans(length: int) -> Iterator[slice]:
    """What to take at a time, so that what is computed on the way stays in a core's cache."""
    return (slice(at, at + _SPAN) for at in range(0, length, _SPAN))
