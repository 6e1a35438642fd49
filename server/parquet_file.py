"""A Parquet file as the cells of a table: the same table as a CSV file with the same cells.

A file is known by its first bytes, or, where these are not there, by its name. A column holds
texts (plain or coded) or, where its role asks for numbers, numbers of any width; a null is a
cell that is missing, and so is a number that is "not a number". All else is refused: a date
is no year, a number no name, and nothing is made of lists.
"""

from pathlib import Path

import polars as pl

from server.csv_text import Layout, first_fault, layout_of, require
from server.dataset import Description
from server.errors import DataError

_MAGIC = b"PAR1"
_SHORTEST = 12  # bytes, of a file without a column
_NUMBERS = ("value", "weight", "year")
_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Null)


def is_parquet(path: Path) -> bool:
    """Whether the file is one, or should be by its name; DataError where it cannot be read."""
    return path.suffix.lower() == ".parquet" or _ends(path)[0] == _MAGIC


def read_layout(path: Path, description: Description) -> Layout:
    """The layout of the file; DataError where it is not whole or a role has no column in it."""
    first, last, size = _ends(path)
    if not size:
        raise DataError(path, "the file is empty")
    if first != _MAGIC:
        raise DataError(path, f"is not a Parquet file: it begins with {first!r}")
    if last != _MAGIC or size < _SHORTEST:
        raise DataError(path, f"the Parquet data break off: they end with {last!r}")
    return layout_of(path, _schema(path), description)


def _ends(path: Path) -> tuple[bytes, bytes, int]:
    """The first four bytes, the last four, and how many there are."""
    try:
        with path.open("rb") as file:
            first = file.read(len(_MAGIC))
            size = file.seek(0, 2)
            file.seek(max(0, size - len(_MAGIC)))
            return first, file.read(), size
    except OSError as error:
        raise DataError(path, error.strerror or str(error)) from None


def _schema(path: Path) -> dict[str, pl.DataType]:
    try:
        return dict(_scanned(path).collect_schema())
    except _FAILURES as error:
        raise _damaged(path, error) from None


def _scanned(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path.absolute(), glob=False, hive_partitioning=False)


def _damaged(path: Path, error: BaseException) -> DataError:
    if isinstance(error, pl.exceptions.PanicException):  # its words are the library's own
        reason = "the library that reads them gives up"
    else:
        reason, *_ = str(error).splitlines() or [type(error).__name__]
    return DataError(path, f"the Parquet data are damaged: {reason}")


def read_cells(layout: Layout) -> pl.DataFrame:
    """One column per role, as texts or, of a value or a weight, as numbers that are finite.

    Doubt where a number is not finite, DataError where the file is damaged or a column holds
    what its role cannot be.
    """
    cells = _read(layout)
    for role, column in cells.to_dict().items():
        if not (column.dtype in _TEXTS or (role in _NUMBERS and column.dtype.is_numeric())):
            wanted = "numbers" if role in _NUMBERS else "texts"
            reason = f"holds values of the type {column.dtype}, not {wanted}"
            raise DataError(layout.path, reason, column=layout.column(role))
    return cells.select(_cells(cells[role]) for role in cells.columns)


def _read(layout: Layout) -> pl.DataFrame:
    names = list(_schema(layout.path))
    columns = [pl.col(names[at]).alias(role) for role, at in layout.roles.items()]
    try:
        return _scanned(layout.path).select(columns).collect()
    except _FAILURES as error:
        raise _damaged(layout.path, error) from None


def _cells(column: pl.Series) -> pl.Series:
    """The column as it would be read from a text."""
    if not column.dtype.is_numeric():
        return column.cast(pl.String if column.name in _NUMBERS else pl.Categorical)
    if column.name == "year" or column.dtype.is_decimal():
        return column.cast(pl.String)
    numbers = column.cast(pl.Float64).fill_nan(None)
    require(not numbers.is_infinite().any())
    return numbers


def refuse_first_fault(layout: Layout) -> None:
    """DataError that names the first fault's row, column and reason; nothing without a fault."""
    texts = _read(layout).select(pl.all().cast(pl.String).fill_null(""))
    for row, cells in enumerate(texts.iter_rows(named=True), 1):
        if fault := first_fault(cells):
            role, reason = fault
            raise DataError(layout.path, reason, row=row, column=layout.column(role))
