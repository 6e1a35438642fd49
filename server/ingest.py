"""Reading a CSV file, gzipped or not, or a Parquet file, into a `Table`.

The promise: a file is read whole and as it is meant, or refused with a DataError that names
the file, the line or row, the column and the reason. Nothing is guessed, skipped or cut
silently, and the same rows in another order, or in a file of the other kind, give the very
same table, to the bit. Every row counts: a row that stands in the file twice is two rows.

    CSV ─▶ read_layout ─┬─▶ row_blocks: whole rows ─▶ _parsed: polars, by block ────┬─▶ _table
                        └─▶ _read_carefully: csv.reader, row by row, after a Doubt ─┤
    Parquet ─▶ parquet_file: cells as CSV has them; the first fault, after a Doubt ─┘

The fast way has no words for what is wrong: it raises Doubt. The careful way then reads the
file again and names the first fault, or finds none (a quote amid a text that means itself)
and goes on with the rows. Only the short-lived process that loads a table imports this.
"""

import hashlib
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar, cast

import polars as pl

from server import parquet_file
from server.column_source import FileState
from server.csv_rows import Block, row_blocks
from server.csv_text import Doubt, Layout, checked_rows, read_layout, require
from server.dataset import Description
from server.errors import DataError
from server.row_collector import TEXTS, RowCollector
from server.row_order import NUMBERS
from server.table import KEYS, Level, Names, Table, group_tree

_BATCH = 100_000  # rows
_PARSERS = 3  # each of which takes all cores where there are some left
_FAILURES_OF_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_FAILURES_OF_READING = (OSError, EOFError, zlib.error, UnicodeError)

_Levels = tuple[Level, Level, Level, Level, Level]
_T = TypeVar("_T")


def read_table(path: Path, description: Description) -> Table:
    """The rows with a value of the CSV or Parquet file `path`, whose columns `description` names.

    Raises DataError where the file cannot be read or is no well-formed CSV in UTF-8, where
    a row has not as many fields as the header or a cell not what its column holds, where
    a value has no question or location, and where no row has a value. A fault in a row of
    several lines is placed on the last of them, that of a quote never closed on the first.
    A file that is written to or replaced meanwhile may be half of one table and half of
    another, or end too early, and look well: that is a DataError too.
    """
    if path.is_fifo():
        raise DataError(path, "is a pipe, not a file")
    before = _state(path)
    try:
        table = _read_whole(path, description)
    except DataError:
        if _state(path) is not None:
            _require_unchanged(path, before)
        raise
    _require_unchanged(path, before)
    return table


def _require_unchanged(path: Path, before: FileState | None) -> None:
    if _state(path) != before:
        raise DataError(path, "was changed while it was read") from None


def _state(path: Path) -> FileState | None:
    """The state of the file; None where there is none to be had."""
    with suppress(OSError):
        return FileState.of(path)
    return None


def _read_whole(path: Path, description: Description) -> Table:
    low = frozenset(description.questions.better_low)
    if parquet_file.is_parquet(path):
        return _read_parquet(parquet_file.read_layout(path, description), low)
    layout = read_layout(path, description)
    try:
        return _read_fast(layout, low)
    except Doubt:
        return _read_carefully(layout, low)


def _read_parquet(layout: Layout, low: frozenset[str]) -> Table:
    try:
        slices = parquet_file.read_cells(layout).iter_slices(_BATCH)
        return _table(layout, slices, lambda cells: cells, low)
    except Doubt:
        parquet_file.refuse_first_fault(layout)
        raise


def _read_fast(layout: Layout, low: frozenset[str]) -> Table:
    """The same table as by the careful way, or Doubt."""
    try:
        return _table(layout, row_blocks(layout), partial(_parsed, layout), low)
    except (*_FAILURES_OF_POLARS, *_FAILURES_OF_READING, DataError) as error:
        raise Doubt from error


def _read_carefully(layout: Layout, low: frozenset[str]) -> Table:
    """The table, or DataError at the first fault."""
    schema = dict.fromkeys(layout.roles, pl.String)
    with closing(checked_rows(layout)) as rows:
        batches = iter(lambda: list(islice(rows, _BATCH)), [])
        return _table(layout, batches, partial(pl.DataFrame, schema=schema, orient="row"), low)


def _parsed(layout: Layout, block: Block) -> pl.DataFrame:
    """One column per role; the numbers are finite, or texts.

    polars fills up rows that are too short, cuts those that are too long, and does not look
    at columns that it is not asked for. Who has made the block has seen to all of that.
    """
    plain = {role: pl.Float64() if role in NUMBERS else pl.Categorical() for role in layout.roles}
    with suppress(pl.exceptions.ComputeError):
        cells = _parsed_as(layout, block, plain)
        numbers = [role for role in layout.roles if role in NUMBERS]
        if cells.select(pl.col(numbers).is_finite().all()).row(0) == (True,) * len(numbers):
            return cells
    texts = {role: pl.String() if role in NUMBERS else dtype for role, dtype in plain.items()}
    return _parsed_as(layout, block, texts)


def _parsed_as(layout: Layout, block: Block, dtypes: Mapping[str, pl.DataType]) -> pl.DataFrame:
    types = {layout.roles[role]: dtype for role, dtype in dtypes.items()}
    width = len(layout.header)
    schema = {str(at): types.get(at, pl.String()) for at in range(width)}
    # What stands first may look like a byte-order mark or like packed data, or be a blank line.
    first = b"" if block.text[:2].isalnum() else b"," * (width - 1) + b"\n"
    rows = pl.scan_csv(first + block.text, schema=schema, has_header=False)
    cells = rows.select(**{role: str(at) for role, at in layout.roles.items()}).collect()
    require(cells.height == block.rows + bool(first))
    return cells


def _table(
    layout: Layout, pieces: Iterable[_T], cells: Callable[[_T], pl.DataFrame], low: frozenset[str]
) -> Table:
    """The table of the cells that are in the pieces; Doubt where one is not what it should be.

    DataError where no row has a value.
    """
    collector = RowCollector()
    _take_in(collector, pieces, cells)
    if not collector.rows:
        raise DataError(layout.path, "no row has a value", column=layout.column("value"))
    texts, (columns, digest) = collector.sorted()
    names = Names(**texts, better_low=low.intersection(texts["question"]))
    levels = cast(_Levels, group_tree([columns[key] for key in KEYS], columns["value"]))
    return Table(_fingerprint(names, digest), names, levels=levels, **columns)


def _take_in(
    collector: RowCollector, pieces: Iterable[_T], cells: Callable[[_T], pl.DataFrame]
) -> None:
    """Have all pieces taken in: while threads take in some, the next one is made.

    Nothing of a piece is held when this returns.
    """
    with ThreadPoolExecutor(_PARSERS) as beside:
        taken: deque[Future[None]] = deque()
        for piece in pieces:
            taken.append(beside.submit(lambda piece: collector.take(cells(piece)), piece))
            if len(taken) > _PARSERS:
                taken.popleft().result()
        for last in taken:
            last.result()


def _fingerprint(names: Names, digest: bytes) -> str:
    """32 hex digits that the names and the digest of the columns determine."""
    texts = [*(getattr(names, role) for role in TEXTS), sorted(names.better_low)]
    content = json.dumps(texts).encode() + digest
    return hashlib.blake2b(content, digest_size=16).hexdigest()
