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
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from server import parquet_file
from server.column_source import FileState
from server.csv_rows import Block, row_blocks
from server.csv_text import (
    Doubt,
    Layout,
    checked_rows,
    number,
    read_layout,
    require,
    year,
)
from server.dataset import Description
from server.errors import DataError
from server.row_order import NO_WEIGHT, sorted_columns, spans
from server.table import KEYS, MISSING, NO_YEAR, Codes, Level, Names, Table, group_tree

_TEXTS = ("question", "location", "category", "stratum")
_NUMBERS = ("value", "weight")
_BATCH = 100_000  # rows
_PARSERS = 3  # each of which takes all cores where there are some left
_FAILURES = (
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
    *(OSError, EOFError, zlib.error, UnicodeError),
)

_Array = npt.NDArray[Any]
_Levels = tuple[Level, Level, Level, Level, Level]


def read_table(path: Path, description: Description) -> Table:
    """The rows with a value of the CSV or Parquet file `path`, whose columns `description` names.

    Raises DataError where the file cannot be read or is no well-formed CSV in UTF-8, where
    a row has not as many fields as the header or a cell not what its column holds, where
    a value has no question or location, and where no row has a value. A fault in a row of
    several lines is placed on the last of them, that of a quote never closed on the first.
    A file that is written to or replaced meanwhile may be half of one table and half of
    another, or end too early, and look well: that is a DataError too.
    """
    before = _state(path)
    table = _read_whole(path, description)
    if _state(path) != before:
        raise DataError(path, "was changed while it was read")
    return table


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
        return _table(layout, _read_carefully(layout), low)


def _read_parquet(layout: Layout, low: frozenset[str]) -> Table:
    try:
        return _table(layout, parquet_file.read_cells(layout), low)
    except Doubt:
        parquet_file.refuse_first_fault(layout)
        raise


def _read_carefully(layout: Layout) -> pl.DataFrame:
    """Every row's cells as texts, one column per role; DataError at the first fault."""
    schema = dict.fromkeys(layout.roles, pl.String)
    with closing(checked_rows(layout)) as rows:
        batches = iter(lambda: list(islice(rows, _BATCH)), [])
        frames = [pl.DataFrame(batch, schema, orient="row") for batch in batches]
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _read_fast(layout: Layout, low: frozenset[str]) -> Table:
    """The same table as by the careful way, or Doubt."""
    try:
        return _table(layout, _fast_cells(layout), low)
    except (*_FAILURES, DataError) as error:
        raise Doubt from error


def _fast_cells(layout: Layout) -> pl.DataFrame:
    """Every row's cells, as `_parsed`: while some blocks are parsed, the next one is looked at."""
    frames = [_no_rows(layout)]
    with ThreadPoolExecutor(_PARSERS) as beside:
        parsing: deque[Future[pl.DataFrame]] = deque()
        for block in row_blocks(layout):
            parsing.append(beside.submit(_parsed, layout, block))
            if len(parsing) > _PARSERS:
                frames.append(parsing.popleft().result())
        frames += [parsed.result() for parsed in parsing]
    return pl.concat(frames, rechunk=True)


def _no_rows(layout: Layout) -> pl.DataFrame:
    types = {role: pl.Float64 if role in _NUMBERS else pl.Categorical for role in layout.roles}
    return pl.DataFrame(schema=types)


def _parsed(layout: Layout, block: Block) -> pl.DataFrame:
    """One column per role; Doubt where a number is none.

    polars fills up rows that are too short, cuts those that are too long, and does not look
    at columns that it is not asked for. Who has made the block has seen to all of that.
    """
    plain = dict(_no_rows(layout).schema)
    with suppress(pl.exceptions.ComputeError):
        cells = _collected(layout, block, plain)
        numbers = [role for role in layout.roles if role in _NUMBERS]
        if cells.select(pl.col(numbers).is_finite().all()).row(0) == (True,) * len(numbers):
            return cells
    texts = {role: pl.String() if role in _NUMBERS else dtype for role, dtype in plain.items()}
    cells = _collected(layout, block, texts)
    return cells.with_columns(_numbers(cells[role]) for role in layout.roles if role in _NUMBERS)


def _collected(layout: Layout, block: Block, dtypes: Mapping[str, pl.DataType]) -> pl.DataFrame:
    types = {layout.roles[role]: dtype for role, dtype in dtypes.items()}
    width = len(layout.header)
    schema = {str(at): types.get(at, pl.String()) for at in range(width)}
    rows = pl.scan_csv(block.text, schema=schema, has_header=False)
    cells = rows.select(**{role: str(at) for role, at in layout.roles.items()}).collect()
    require(cells.height == block.rows)
    if cells["question"].has_nulls():  # there may be millions of lines with nothing in them
        cells = cells.filter(pl.any_horizontal(pl.all().is_not_null()))
    return cells


def _table(layout: Layout, cells: pl.DataFrame, low: frozenset[str]) -> Table:
    """The table of the cells; Doubt where a cell is not what its column holds."""
    absent = {role for role in (*_TEXTS, *_NUMBERS, "year") if role not in cells.columns}
    cells = cells.with_columns(pl.lit(None, pl.String).alias(role) for role in absent)
    with ThreadPoolExecutor() as together:
        years = together.submit(_years, cells["year"])
        coded = dict(zip(_TEXTS, together.map(_coded, cells[list(_TEXTS)]), strict=True))
    vocabularies = {role: vocabulary for role, (vocabulary, _) in coded.items()}
    columns: dict[str, Codes | pl.Series] = {role: codes for role, (_, codes) in coded.items()}
    columns["year"] = years.result()
    columns |= {role: _numbers(cells[role]) for role in _NUMBERS}
    rows = _rows(pl.DataFrame(columns))
    if not rows.height:
        raise DataError(layout.path, "no row has a value", column=layout.column("value"))
    names = Names(**vocabularies, better_low=low.intersection(vocabularies["question"]))
    ordered = sorted_columns(rows)
    levels = cast(_Levels, group_tree([ordered[key] for key in KEYS], ordered["value"]))
    return Table(_fingerprint(names, ordered), names, levels=levels, **ordered)


def _coded(texts: pl.Series) -> tuple[tuple[str, ...], Codes]:
    """The vocabulary of a column, and each row's code in it."""
    texts = texts.cast(pl.Categorical)
    distinct = texts.unique().drop_nulls()
    spelt = distinct.cast(pl.String).to_list()
    vocabulary = tuple(sorted(text for text in spelt if text.strip()))
    codes = {text: code for code, text in enumerate(vocabulary)}
    return vocabulary, _each(texts, distinct, [codes.get(text, MISSING) for text in spelt], MISSING)


def _years(texts: pl.Series) -> Codes:
    texts = texts.cast(pl.Categorical)
    distinct = texts.unique().drop_nulls()
    return _each(texts, distinct, [year(text) for text in distinct.cast(pl.String)], NO_YEAR)


def _each(texts: pl.Series, distinct: pl.Series, numbers: list[int], missing: int) -> Codes:
    """The number of each row's text, one of `distinct`; `missing` where there is no text."""
    places = distinct.to_physical().to_numpy()
    lookup = np.full(int(places.max(initial=0)) + 2, missing, np.int32)
    lookup[places] = numbers
    found = texts.to_physical().fill_null(len(lookup) - 1).to_numpy()
    each = np.empty(len(texts), np.int32)
    for span in spans(len(texts)):
        lookup.take(found[span], out=each[span], mode="clip")  # "raise" would copy
    return each


def _numbers(cells: pl.Series) -> pl.Series:
    """The numbers of a column, null where there is none."""
    numbers = cells.cast(pl.Float64, strict=False)
    if cells.dtype == pl.String:
        plain = cells.is_null() | numbers.is_finite().fill_null(False)
        odd = cells.filter(~plain).unique().to_list()
        meant = [number(text) for text in odd]
        spelt = cells.replace_strict(odd, meant, default=None, return_dtype=pl.Float64)
        numbers = numbers.zip_with(plain, spelt)
    return numbers


def _rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that have a value, which then need a question and a location."""
    divided = (pl.col("category") != MISSING) & (pl.col("stratum") != MISSING)
    require(not (rows["weight"] < 0).any())
    rows = rows.filter(pl.col("value").is_not_null()).with_columns(
        pl.when(divided).then(pl.col("category", "stratum")).otherwise(MISSING).cast(pl.Int32),
        pl.col("weight").fill_null(NO_WEIGHT),
    )
    require(not ((rows["question"] == MISSING) | (rows["location"] == MISSING)).any())
    return rows


def _fingerprint(names: Names, columns: Mapping[str, _Array]) -> str:
    """32 hex digits that the names and the bytes of the columns determine."""
    texts = [*(getattr(names, role) for role in _TEXTS), sorted(names.better_low)]
    contents = [json.dumps(texts).encode(), *(columns[role] for role in (*KEYS, *_NUMBERS))]
    with ThreadPoolExecutor() as together:
        digests = together.map(lambda content: hashlib.blake2b(content).digest(), contents)
    return hashlib.blake2b(b"".join(digests), digest_size=16).hexdigest()
