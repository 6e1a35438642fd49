"""Reading a CSV file, gzipped or not, into a `Table`.

The promise: a file is read whole and as it is meant, or refused with a DataError that names
the file, the line, the column and the reason. Nothing is guessed, skipped or cut silently,
and the same rows in another order give the very same table, to the bit. Every row counts: a
row that stands in the file twice is two rows.

    file ─▶ _layout ─┬─▶ _parsed: polars; _check_text sees to what polars lets pass ─┬─▶ _table
                     └─▶ _read_carefully: csv.reader, row by row, after a _Doubt ────┘

The fast way has no words for what is wrong: it raises _Doubt. The careful way then reads the
file again and names the first fault, or finds none (a quote amid a text that means itself)
and goes on with the rows. Only the short-lived process that loads a table imports this.
"""

import csv
import gzip
import hashlib
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from server.dataset import Description
from server.errors import DataError
from server.table import KEYS, MISSING, NO_YEAR, Codes, Level, Names, Table, group_tree

_TEXTS = ("question", "location", "category", "stratum")
_NUMBERS = ("value", "weight")
_NO_NUMBER = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL"})
_NUMBER = re.compile(r"[+-]?((\d+|\d{1,3}(,\d{3})+)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_YEAR = re.compile(r"[+-]?\d{1,9}(\.0*)?", re.ASCII)
_GZIP, _BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
_NEWLINE, _RETURN, _QUOTE, _COMMA = b'\n\r",'
_BEFORE_QUOTED = np.isin(np.arange(256), list(b',\n"'))
_AFTER_QUOTED = np.isin(np.arange(256), list(b',\r\n"'))
_PIECE = 1 << 19  # bytes, so that a piece stays in a core's cache
_BATCH = 100_000  # rows
_SPAN = 1 << 14  # rows
_WHOLE = 2**63 - 1
_NO_WEIGHT = -1.0  # while sorting
_FAILURES = (
    *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
    *(OSError, EOFError, zlib.error, UnicodeError),
)

_Type = type[pl.DataType]
_Array = npt.NDArray[Any]
_Levels = tuple[Level, Level, Level, Level, Level]


class _Digit(NamedTuple):
    """What a column is in a packed sort key: `size` numbers from `low` on, in parts of `scale`.

    `scale` is 0 where the column is a sort key of its own.
    """

    role: str
    size: int
    low: int = 0
    scale: int = 0


class _Doubt(Exception):
    """Something is not as it should be; its text is the reason, where the finder knows it."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The header of a file, the line it ends on, and the position of each role's column."""

    path: Path
    header: tuple[str, ...]
    line: int
    roles: Mapping[str, int]

    def column(self, role: str) -> str:
        return self.header[self.roles[role]]


def read_table(path: Path, description: Description) -> Table:
    """The rows with a value of the CSV file `path`, whose columns `description` names.

    Raises DataError where the file cannot be read or is no well-formed CSV in UTF-8, where
    a row has not as many fields as the header or a cell not what its column holds, where
    a value has no question or location, and where no row has a value. A fault in a row of
    several lines is placed on the last of them, that of a quote never closed on the first.
    """
    layout = _layout(path, description)
    low = frozenset(description.questions.better_low)
    try:
        return _read_fast(layout, low)
    except _Doubt:
        return _table(layout, _read_carefully(layout), low)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
    with path.open("rb") as raw:
        if raw.peek(len(_GZIP)).startswith(_GZIP):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked
        else:
            yield raw


def _lines(path: Path) -> Generator[str]:
    line = 0
    try:
        with _opened(path) as stream:
            for line, text in enumerate(stream, 1):
                yield (text.removeprefix(_BOM) if line == 1 else text).decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(path, f"is not UTF-8: byte {byte:#04x}", line=line) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(path, f"the gzip data are damaged: {error}", line=line + 1) from None
    except OSError as error:
        raise DataError(path, error.strerror or str(error)) from None


def _records(path: Path) -> Generator[tuple[int, list[str]]]:
    """The rows that are not blank, the header first, each with the line that it ends on."""
    begin = 1
    with closing(_lines(path)) as lines:
        reader = csv.reader(lines, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
                begin = reader.line_num + 1
        except csv.Error as error:
            unclosed = str(error) == "unexpected end of data"
            reason = "a quote is opened here and never closed" if unclosed else str(error)
            raise DataError(path, f"is not well-formed CSV: {reason}", line=begin) from None


def _layout(path: Path, description: Description) -> _Layout:
    with closing(_records(path)) as records:
        line, fields = next(records, (0, []))
    if not line:
        raise DataError(path, "the file is empty")
    layout = _Layout(path, tuple(name.strip() for name in fields), line, {})
    accepted = description.columns.by_role().items()
    roles = {role: _position(layout, role, names) for role, names in accepted}
    return _Layout(path, layout.header, line, roles)


def _position(layout: _Layout, role: str, accepted: tuple[str, ...]) -> int:
    path, header, line = layout.path, layout.header, layout.line
    name = next((name for name in accepted if name in header), None)
    if name is None:
        wanted, found = (", ".join(map(_quoted, names)) for names in (accepted, header))
        reason = f"no column for the {role}: none is named {wanted}; there are {found}"
        raise DataError(path, reason, line=line)
    if header.count(name) > 1:
        raise DataError(path, "stands more than once in the header", line=line, column=name)
    return header.index(name)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _number(text: str) -> float | None:
    bare = text.strip()
    if bare in _NO_NUMBER:
        return None
    number = float(bare.replace(",", "")) if _NUMBER.fullmatch(bare) else math.nan
    if not math.isfinite(number):
        raise _Doubt(f"{_quoted(text)} is not a finite number")
    return number


def _weight(text: str) -> float | None:
    number = _number(text)
    if number is not None and number < 0:
        raise _Doubt(f"{_quoted(text)} is negative")
    return number


def _year(text: str) -> int:
    bare = text.strip()
    if bare in _NO_NUMBER:
        return NO_YEAR
    if not _YEAR.fullmatch(bare) or abs(year := int(bare.partition(".")[0])) > 9999:
        raise _Doubt(f"{_quoted(text)} is not a year")
    return year


_CELLS: Mapping[str, Callable[[str], object]] = {"value": _number, "weight": _weight, "year": _year}


def _read_carefully(layout: _Layout) -> pl.DataFrame:
    """Every row's cells as texts, one column per role; DataError at the first fault."""
    schema = dict.fromkeys(layout.roles, pl.String)
    with closing(_records(layout.path)) as records:
        next(records)
        rows = (_checked(layout, line, fields) for line, fields in records)
        batches = iter(lambda: list(islice(rows, _BATCH)), [])
        frames = [pl.DataFrame(batch, schema, orient="row") for batch in batches]
    return pl.concat([pl.DataFrame(schema=schema), *frames])


def _checked(layout: _Layout, line: int, fields: list[str]) -> list[str]:
    """The cells of the roles, in their order."""
    if len(fields) != len(layout.header):
        reason = f"has {len(fields)} fields, the header has {len(layout.header)}"
        raise DataError(layout.path, reason, line=line)
    cells = {role: fields[position] for role, position in layout.roles.items()}
    for role in (role for role in _CELLS if role in cells):
        try:
            _CELLS[role](cells[role])
        except _Doubt as doubt:
            column = layout.column(role)
            raise DataError(layout.path, str(doubt), line=line, column=column) from None
    for role in ("question", "location"):
        if not cells[role].strip() and _number(cells["value"]) is not None:
            reason, column = f"a row with a value has no {role}", layout.column(role)
            raise DataError(layout.path, reason, line=line, column=column)
    return list(cells.values())


def _read_fast(layout: _Layout, low: frozenset[str]) -> Table:
    """The same table as by the careful way, or _Doubt.

    polars fills up rows that are too short, and cuts those that are too long unless it reads
    every column. So separators are counted: where no row is too short, or none too long, and
    they are as many as there should be, no row is torn.
    """
    with ThreadPoolExecutor(1) as beside:
        separators = beside.submit(_check_text, layout)
        try:
            cells, width = _parsed(layout), len(layout.header)
            rows = cells.height
            if cells[str(width - 1)].null_count():
                rows -= _blank_lines(layout)
                if cells.width < width:
                    _refuse_long_rows(layout)
            by_role = cells.select(**{role: str(at) for role, at in layout.roles.items()})
            table = _table(layout, by_role, low)
            if separators.result() != (rows + 1) * (width - 1):
                raise _Doubt
        except (*_FAILURES, DataError) as error:
            raise _Doubt from error
    return table


def _parsed(layout: _Layout) -> pl.DataFrame:
    """The columns of the roles, and the last one, each named by its position."""
    columns = sorted({str(len(layout.header) - 1), *map(str, layout.roles.values())})
    texts = {str(at): pl.Categorical for role, at in layout.roles.items() if role not in _NUMBERS}
    numbers = [str(at) for role, at in layout.roles.items() if role in _NUMBERS]
    with suppress(pl.exceptions.ComputeError):
        plain = texts | dict.fromkeys(numbers, pl.Float64)
        cells = _scanned(layout, plain).select(columns).collect()
        if cells.select(pl.col(numbers).is_finite().all()).row(0) == (True,) * len(numbers):
            return cells
    return _scanned(layout, texts).select(columns).collect()


def _refuse_long_rows(layout: _Layout) -> None:
    """Have polars read every column, as no more than whether it is empty."""
    every = dict.fromkeys(map(str, range(len(layout.header))), pl.Boolean)
    rows = _scanned(layout, every, lax=True)
    rows.select(pl.all().null_count()).collect(engine="streaming")


def _scanned(layout: _Layout, dtypes: Mapping[str, _Type], lax: bool = False) -> pl.LazyFrame:
    return pl.scan_csv(
        layout.path.absolute(),
        schema={str(at): dtypes.get(str(at), pl.String) for at in range(len(layout.header))},
        has_header=False,
        skip_lines=layout.line,
        ignore_errors=lax,
        glob=False,
    )


def _check_text(layout: _Layout) -> int:
    """The number of separators in the file, once its encoding and its quotes are in order."""
    for _ in _pieces(layout):
        pass
    fields = pl.scan_csv(  # a comma outside quotes counted as the end of a line: the fastest way
        layout.path.absolute(),
        schema={"field": pl.String},
        has_header=False,
        separator="\x01",
        eol_char=",",
        glob=False,
    )
    return int(fields.select(pl.len()).collect().item()) - 1


def _blank_lines(layout: _Layout) -> int:
    """How many lines below the header hold nothing; those within quotes do not count."""
    count = 0
    for codes, quotes, quoted in _pieces(layout):
        ends = np.flatnonzero(codes == _NEWLINE)
        lengths, ends = np.diff(ends), ends[1:]
        blank = ends[(lengths == 1) | ((lengths == 2) & (codes[ends - 1] == _RETURN))]
        within = (np.searchsorted(quotes, blank) + quoted) % 2
        count += int(np.count_nonzero(within == 0))
    return count


def _pieces(layout: _Layout) -> Iterator[tuple[_Array, _Array, int]]:
    """The bytes below the header in pieces, the places of the quotes, and if it begins in one.

    A piece is whole lines after a newline. _Doubt where it is no UTF-8, where a carriage
    return ends no line, or where a quote is neither at the edge of a field nor doubled: only
    without such quotes do polars and csv.reader cut the text alike.
    """
    quoted, mask = 0, np.empty(_PIECE, bool)
    for codes in _whole_lines(layout):
        here = mask[: len(codes)]
        if codes.max() >= 0x80:
            codes.tobytes().decode()
        if np.equal(codes, _RETURN, out=here).any():
            _require(bool((codes[np.flatnonzero(here) + 1] == _NEWLINE).all()))
        quotes = np.flatnonzero(np.equal(codes, _QUOTE, out=here))
        opening, closing = quotes[quoted::2], quotes[1 - quoted :: 2]
        _require(bool(_BEFORE_QUOTED[codes[opening - 1]].all()))
        _require(bool(_AFTER_QUOTED[codes[closing + 1]].all()))
        yield codes, quotes, quoted
        quoted = (quoted + len(quotes)) % 2
    _require(not quoted)


def _whole_lines(layout: _Layout) -> Iterator[_Array]:
    """The bytes below the header in pieces of whole lines, each piece after a newline."""
    piece, held = bytearray(b"\n".ljust(_PIECE)), 1
    codes = np.frombuffer(piece, np.uint8)
    with _opened(layout.path) as stream:
        for _ in range(layout.line):
            stream.readline()
        while read := stream.readinto(memoryview(piece)[held:]):
            filled = held + read
            end = piece.rfind(b"\n", 0, filled) + 1
            yield codes[:end]
            held = 1 + filled - end
            piece[1:held] = piece[end:filled]
            _require(held < _PIECE)
    if held > 1:
        _require(piece[held - 1] != _COMMA)
        piece[held] = _NEWLINE
        yield codes[: held + 1]


def _require(in_order: bool) -> None:
    if not in_order:
        raise _Doubt


def _table(layout: _Layout, cells: pl.DataFrame, low: frozenset[str]) -> Table:
    """The table of the cells; _Doubt where a cell is not what its column holds."""
    absent = {role for role in (*_TEXTS, *_NUMBERS, "year") if role not in cells.columns}
    cells = cells.with_columns(pl.lit(None, pl.String).alias(role) for role in absent)
    columns: dict[str, Codes | pl.Series] = {"year": _years(cells["year"])}
    vocabularies = {}
    for role in _TEXTS:
        vocabularies[role], columns[role] = _coded(cells[role])
    columns |= {role: _numbers(cells[role]) for role in _NUMBERS}
    rows = _rows(pl.DataFrame(columns))
    if not rows.height:
        raise DataError(layout.path, "no row has a value", column=layout.column("value"))
    names = Names(**vocabularies, better_low=low.intersection(vocabularies["question"]))
    ordered = _sorted(rows)
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
    return _each(texts, distinct, [_year(text) for text in distinct.cast(pl.String)], NO_YEAR)


def _each(texts: pl.Series, distinct: pl.Series, numbers: list[int], missing: int) -> Codes:
    """The number of each row's text, one of `distinct`; `missing` where there is no text."""
    places = distinct.to_physical().to_numpy()
    lookup = np.full(int(places.max(initial=0)) + 2, missing, np.int32)
    lookup[places] = numbers
    return cast(Codes, lookup[texts.to_physical().fill_null(len(lookup) - 1).to_numpy()])


def _numbers(cells: pl.Series) -> pl.Series:
    """The numbers of a column, null where there is none."""
    numbers = cells.cast(pl.Float64, strict=False)
    if cells.dtype == pl.String:
        plain = cells.is_null() | numbers.is_finite().fill_null(False)
        odd = cells.filter(~plain).unique().to_list()
        meant = [_number(text) for text in odd]
        spelt = cells.replace_strict(odd, meant, default=None, return_dtype=pl.Float64)
        numbers = numbers.zip_with(plain, spelt)
    return numbers + 0.0  # makes -0.0 the same as 0.0, for the sake of a stable order


def _rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that have a value, which then need a question and a location."""
    divided = (pl.col("category") != MISSING) & (pl.col("stratum") != MISSING)
    _require(not (rows["weight"] < 0).any())
    rows = rows.filter(pl.col("value").is_not_null()).with_columns(
        pl.when(divided).then(pl.col("category", "stratum")).otherwise(MISSING).cast(pl.Int32),
        pl.col("weight").fill_null(_NO_WEIGHT),
    )
    _require(not ((rows["question"] == MISSING) | (rows["location"] == MISSING)).any())
    return rows


def _sorted(rows: pl.DataFrame) -> dict[str, _Array]:
    """The columns in the order of a table; value and weight break the ties.

    A row in one integer sorts ten times faster than its cells one by one. A column that does
    not fit into it any more, or is no short decimal, begins a further sort key.
    """
    columns: dict[str, _Array] = {role: rows[role].to_numpy() for role in (*KEYS, *_NUMBERS)}
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
    columns["weight"][columns["weight"] == _NO_WEIGHT] = math.nan
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
        return columns[pack[0].role]
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


def _fingerprint(names: Names, columns: Mapping[str, _Array]) -> str:
    """32 hex digits that the names and the bytes of the columns determine."""
    texts = [*(getattr(names, role) for role in _TEXTS), sorted(names.better_low)]
    contents = [json.dumps(texts).encode(), *(columns[role] for role in (*KEYS, *_NUMBERS))]
    with ThreadPoolExecutor() as together:
        digests = together.map(lambda content: hashlib.blake2b(content).digest(), contents)
    return hashlib.blake2b(b"".join(digests), digest_size=16).hexdigest()
