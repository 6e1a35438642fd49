"""The order of a table's rows, which does not depend on the order of the file's.

A row in one integer sorts ten times faster than its cells one by one, so as many columns as
fit are packed into one sort key; the last columns of a key count least, as in a number.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from server.table import KEYS

NO_WEIGHT = -1.0
"""What stands for a missing weight in the rows to be sorted; no weight is negative."""

_COLUMNS = (*KEYS, "value", "weight")
_SPAN = 1 << 14  # rows
_BITS = 63  # of a sort key

_Array = npt.NDArray[Any]


class _Digit(NamedTuple):
    """What a column is in a packed sort key: whole numbers of `bits` bits, counted from `low`.

    A cell is such a number divided by `scale`, which is 0 where the column is a sort key of
    its own.
    """

    role: str
    bits: int
    low: int = 0
    scale: int = 0


def sorted_columns(rows: pl.DataFrame) -> dict[str, _Array]:
    """The columns in the order of a table; value and weight break the ties.

    A row in one integer sorts ten times faster than its cells one by one. A column that does
    not fit into it any more, or is no short decimal, begins a further sort key.
    """
    columns: dict[str, _Array] = {role: rows[role].to_numpy() for role in _COLUMNS}
    packs: list[list[_Digit]] = []
    room = -1
    with ThreadPoolExecutor() as together:
        for digit in together.map(_digit, columns, columns.values()):
            if digit.bits > room:
                packs.append([])
                room = _BITS
            packs[-1].append(digit)
            room -= digit.bits
        keys = [_packed(columns, pack, together) for pack in packs]
        sort_keys = pl.DataFrame({str(n): key for n, key in enumerate(keys)})
        for pack, key in zip(packs, sort_keys.sort(pl.all()), strict=True):
            columns |= _unpacked(pack, key.to_numpy(), together)
    columns["weight"][columns["weight"] == NO_WEIGHT] = math.nan
    return columns


def _digit(role: str, column: _Array) -> _Digit:
    low, high = column.min(), column.max()
    for scale in (1, 10, 100, 1000):
        if role in KEYS or all(_is_whole(column[span], scale) for span in spans(len(column))):
            first, last = round(low * scale), round(high * scale)
            return _Digit(role, (last - first).bit_length(), first, scale)
    return _Digit(role, _BITS + 1)


def _is_whole(numbers: _Array, scale: int) -> bool:
    """Whether each is the nearest to some integer divided by `scale`."""
    with np.errstate(over="ignore"):
        scaled = np.rint(numbers * float(scale))
    return bool(np.array_equal(scaled / scale, numbers) and np.abs(scaled).max() < 2**53)


def _packed(columns: Mapping[str, _Array], pack: list[_Digit], together: Executor) -> _Array:
    if not pack[0].scale:
        return columns[pack[0].role] + 0.0  # -0.0 becomes 0.0, as it does in an integer
    key = np.zeros(len(columns["value"]), np.int64)

    def fill(span: slice) -> None:
        for role, bits, low, scale in pack:
            cells = columns[role][span]
            key[span] <<= bits
            key[span] += (cells if role in KEYS else np.rint(cells * float(scale))).astype(np.int64)
            key[span] -= low

    _each_span(fill, len(key), together)
    return key


def _unpacked(pack: list[_Digit], key: _Array, together: Executor) -> dict[str, _Array]:
    if not pack[0].scale:
        return {pack[0].role: key.copy()}
    columns = {}
    for role, *_ in pack:
        columns[role] = np.empty(len(key), np.int32 if role in KEYS else np.float64)

    def fill(span: slice) -> None:
        rest = key[span]
        for role, bits, low, scale in reversed(pack):
            numbers = (rest & ((1 << bits) - 1)) + low
            columns[role][span] = numbers if role in KEYS else numbers / scale
            rest = rest >> bits

    _each_span(fill, len(key), together)
    return columns


def _each_span(fill: Callable[[slice], None], length: int, together: Executor) -> None:
    for _ in together.map(fill, spans(length)):
        pass


def spans(length: int) -> Iterator[slice]:
    """What to take at a time, so that what is computed on the way stays in a core's cache."""
    return (slice(at, at + _SPAN) for at in range(0, length, _SPAN))
