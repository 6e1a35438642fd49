"""Rows as they are read, by several threads and in any order, until all of them can be sorted.

What is kept of a row are seven numbers, in arrays that many rows share: large ones, which
cost the kernel less than many small ones. For a text that is the number which the CSV library
has given it, the same in all frames.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from server.coding import NOTHING, Coding
from server.csv_text import number, require
from server.row_order import NO_WEIGHT, NUMBERS, Extent, RowSorter, SortedRows
from server.table import KEYS, MISSING

TEXTS = ("question", "location", "category", "stratum")

_SHELF = 1 << 20  # rows
_SPAN = 1 << 15  # rows: divides _SHELF, and what is computed on the way stays in a core's cache
_TYPES = dict.fromkeys(KEYS, np.uint32) | dict.fromkeys(NUMBERS, np.float64)

_Columns = dict[str, npt.NDArray[Any]]


class Collected(NamedTuple):
    """The vocabularies of the texts, and the rows, in order."""

    vocabularies: dict[str, tuple[str, ...]]
    rows: SortedRows


class RowCollector:
    """Takes in frames of cells, and keeps the rows that have a value."""

    def __init__(self) -> None:
        self.rows = 0
        """How many have a value."""
        self._lock = Lock()
        self._shelves: list[_Columns] = []
        self._met: dict[str, dict[int, str]] = {key: {} for key in KEYS}
        self._extents: dict[str, list[Extent]] = {role: [] for role in NUMBERS}
        # The library forgets the numbers when the last column is gone that has some.
        self._reminder = pl.Series(dtype=pl.Categorical)

    def take(self, cells: pl.DataFrame) -> None:
        """Take in rows of any number of the roles' columns; any thread may.

        The numbers are finite, or texts. Doubt where such a text is no number, or a weight is
        negative.
        """
        cells = _complete(cells)
        require(not (cells["weight"] < 0).any())
        for key in KEYS:
            self._meet(key, cells[key])
        if cells["value"].has_nulls():
            cells = cells.filter(pl.col("value").is_not_null())
        if cells.height:
            columns = {key: _numbered(cells[key]) for key in KEYS}
            columns["value"] = cells["value"].to_numpy()
            columns["weight"] = cells["weight"].fill_null(NO_WEIGHT).to_numpy()
            self._keep(columns)

    def _meet(self, key: str, texts: pl.Series) -> None:
        met = self._met[key]
        if texts.has_nulls():
            met[NOTHING] = ""
            texts = texts.drop_nulls()
        if not met.keys() >= set(np.flatnonzero(np.bincount(texts.to_physical())).tolist()):
            distinct = texts.unique()  # takes several times as long as to count
            met.update(zip(distinct.to_physical(), distinct.cast(pl.String), strict=True))

    def _keep(self, columns: _Columns) -> None:
        for role in NUMBERS:
            self._extents[role].append(Extent.of(columns[role]))
        done, rows = 0, len(columns["value"])
        while done < rows:
            shelf, at, many = self._room(rows - done)
            for role, cells in columns.items():
                shelf[role][at : at + many] = cells[done : done + many]
            done += many

    def _room(self, rows: int) -> tuple[_Columns, int, int]:
        """The last shelf, from where on it is free, and for how many rows, up to `rows`."""
        with self._lock:
            at = self.rows % _SHELF
            if not at:
                self._shelves.append({role: np.empty(_SHELF, dt) for role, dt in _TYPES.items()})
            many = min(rows, _SHELF - at)
            self.rows += many
            return self._shelves[-1], at, many

    def sorted(self) -> Collected:
        """All rows, to be called once, when all are there and there are some.

        Doubt where a row has no question or no location, or where a year is none.
        """
        codings = {key: Coding.of_names(self._met[key]) for key in TEXTS}
        vocabularies = {key: coding.vocabulary for key, coding in codings.items()}
        codings["year"] = Coding.of_years(self._met["year"])
        extents = {key: Extent(MISSING, len(texts) - 1) for key, texts in vocabularies.items()}
        extents |= {role: Extent.joined(self._extents[role]) for role in NUMBERS}
        with ThreadPoolExecutor() as together:
            years = together.map(partial(self._extent_of_years, codings["year"]), self._spans())
            sorter = RowSorter(extents | {"year": Extent.joined(list(years))}, self.rows)
            for _ in together.map(partial(self._hand_over, codings, sorter), self._spans()):
                pass
        self._shelves.clear()
        return Collected(vocabularies, sorter.sorted())

    def _spans(self) -> Iterator[range]:
        """Places that follow each other on the same shelf."""
        return (range(at, min(at + _SPAN, self.rows)) for at in range(0, self.rows, _SPAN))

    def _kept(self, span: range, role: str) -> npt.NDArray[Any]:
        at = span.start % _SHELF
        return self._shelves[span.start // _SHELF][role][at : at + len(span)]

    def _extent_of_years(self, coding: Coding, span: range) -> Extent:
        years = coding.codes(self._kept(span, "year"))
        return Extent(int(years.min()), int(years.max()))

    def _hand_over(self, codings: dict[str, Coding], sorter: RowSorter, span: range) -> None:
        columns: _Columns = {role: self._kept(span, role) for role in NUMBERS}
        columns |= {key: codings[key].codes(self._kept(span, key)) for key in KEYS}
        require(not any((columns[key] == MISSING).any() for key in ("question", "location")))
        undivided = (columns["category"] == MISSING) | (columns["stratum"] == MISSING)
        if undivided.any():
            columns["category"][undivided] = columns["stratum"][undivided] = MISSING
        sorter.put(span.start, columns)


def _complete(cells: pl.DataFrame) -> pl.DataFrame:
    """The columns of all roles: categorical ones, and two of numbers, null where there is none."""
    absent = {role for role in (*KEYS, *NUMBERS) if role not in cells.columns}
    cells = cells.with_columns(pl.lit(None, pl.String).alias(role) for role in absent)
    return cells.select(
        pl.col(KEYS).cast(pl.Categorical), *(_read(cells[role]) for role in NUMBERS)
    )


def _read(cells: pl.Series) -> pl.Series:
    """The numbers of a column."""
    numbers = cells.cast(pl.Float64, strict=False)
    if cells.dtype == pl.String:
        plain = cells.is_null() | numbers.is_finite().fill_null(False)
        odd = cells.filter(~plain).unique().to_list()
        meant = [number(text) for text in odd]
        spelt = cells.replace_strict(odd, meant, default=None, return_dtype=pl.Float64)
        numbers = numbers.zip_with(plain, spelt)
    return numbers


def _numbered(texts: pl.Series) -> npt.NDArray[np.uint32]:
    """The library's numbers for the texts, NOTHING where there is none."""
    return texts.to_physical().fill_null(NOTHING).to_numpy()
