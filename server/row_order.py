"""The order of a table's rows, which does not depend on the order of the file's.

A row in one integer sorts ten times faster than its cells one by one, so as many columns as
fit are packed into one sort key; the last columns of a key count least, as in a number.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from server.table import KEYS

NO_WEIGHT = -1.0
"""What stands for a missing weight in the rows to be sorted; no weight is negative."""

_COLUMNS = (*KEYS, "value", "weight")
_SPAN = 1 << 14  # rows
_WHOLE = 2**63 - 1

_Array = npt.NDArray[Any]


class _Digit(NamedTuple):
    """What a column is in a packed sort key: `size` numbers from `low` on, in parts of `scale`.

    `scale` is 0 where the column is a sort key of its own.
    """

    role: str
    size: int
    low: int = 0
    scale: int = 0


def sorted_columns(rows: pl.DataFrame) -> dict[str, _Array]:
    """The columns in the order of a table; value and weight break the ties.

    A row in one integer sorts ten times faster than its cells one by one. A column that does
    not fit into it any more, or is no short decimal, begins a further sort key.
    """
    columns: dict[str, _Array] = {role: rows[role].to_numpy() for role in _COLUMNS}
    packs: list[list[_Digit]] = []
    room = 0
    for role, column in columns.items():
        digit = _digit(role, column)
        if digit.size > room:
            packs.append([])
            room = _WHOLE
        packs[-1].append(digit)
        room //= digit.size
    keys = pl.DataFrame({str(n): _packed(columns, pack) for n, pack in enumerate(packs)})
    for pack, key in zip(packs, keys.sort(pl.all()), strict=True):
        columns |= _unpacked(pack, key.to_numpy())
    columns["weight"][columns["weight"] == NO_WEIGHT] = math.nan
    return columns


def _digit(role: str, column: _Array) -> _Digit:
    for scale in (1, 10, 100, 1000):
        if all(_is_whole(column[span], scale) for span in _spans(len(column))):
            low, high = round(column.min() * scale), round(column.max() * scale)
            return _Digit(role, high - low + 1, low, scale)
    return _Digit(role, _WHOLE + 1)


def _is_whole(numbers: _Array, scale: int) -> bool:
    """Whether each is the nearest to some integer divided by `scale`."""
    with np.errstate(over="ignore"):
        scaled = np.rint(numbers * float(scale))
    return bool(np.array_equal(scaled / scale, numbers) and np.abs(scaled).max() < 2**53)


def _packed(columns: Mapping[str, _Array], pack: list[_Digit]) -> _Array:
    if not pack[0].scale:
        return columns[pack[0].role] + 0.0  # -0.0 becomes 0.0, as it does in an integer
    key = np.zeros(len(columns["value"]), np.int64)
    for span in _spans(len(key)):
        for role, size, low, scale in pack:
            scaled = np.rint(columns[role][span] * float(scale))
            key[span] = key[span] * size + (scaled.astype(np.int64) - low)
    return key


def _unpacked(pack: list[_Digit], key: _Array) -> dict[str, _Array]:
    if not pack[0].scale:
        return {pack[0].role: key.copy()}
    columns = {}
    for role, *_ in pack:
        columns[role] = np.empty(len(key), np.int32 if role in KEYS else np.float64)
    for span in _spans(len(key)):
        rest = key[span]
        for role, size, low, scale in reversed(pack):
            rest, numbers = np.divmod(rest, size)
            columns[role][span] = (numbers + low) / scale
    return columns


def _spans(length: int) -> Iterator[slice]:
    """What to take at a time, so that what is computed on the way stays in a core's cache."""
    return (slice(at, at + _SPAN) for at in range(0, length, _SPAN))
