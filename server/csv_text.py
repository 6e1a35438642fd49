"""A CSV file as text: its header, its rows one by one, and whether all of it is in order.

Everything that a careful reader needs to name the file, the line, the column and the reason
of a fault, and what a fast one needs to know that there is none.
"""

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.dataset import Description
from server.errors import DataError
from server.table import NO_YEAR

_NO_NUMBER = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL"})
_NUMBER = re.compile(r"[+-]?((\d+|\d{1,3}(,\d{3})+)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_YEAR = re.compile(r"[+-]?\d{1,9}(\.0*)?", re.ASCII)
_MOST_LISTED = 100
_GZIP, _BOM = b"\x1f\x8b", b"\xef\xbb\xbf"

LONGEST_FIELD = 1 << 24
"""How many characters a field may have: the outline of a state has millions, a quote that is
never closed takes in the rest of the file."""


class Doubt(Exception):
    """Something is not as it should be; its text is the reason, where the finder knows it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The names of a file's columns, and the position of each role's.

    `line` is the one that a header of text ends on, 0 where the names stand elsewhere.
    """

    path: Path
    header: tuple[str, ...]
    line: int
    roles: Mapping[str, int]

    def column(self, role: str) -> str:
        return self.header[self.roles[role]]


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedIOBase]:
    with path.open("rb") as raw:
        if raw.peek(len(_GZIP)).startswith(_GZIP):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked
        else:
            yield raw


def _lines(path: Path) -> Generator[str]:
    line = 0
    try:
        with opened(path) as stream:
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
    csv.field_size_limit(LONGEST_FIELD)
    with closing(_lines(path)) as lines:
        reader = csv.reader(lines, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
                begin = reader.line_num + 1
        except csv.Error as error:
            raise DataError(path, f"is not well-formed CSV: {_reason(error)}", line=begin) from None


def _reason(error: csv.Error) -> str:
    """What is wrong, in words for who has the file."""
    match str(error).split():
        case ["unexpected", "end", *_]:
            return "a quote is opened here and never closed"
        case ["field", "larger", *_]:
            most = f"{LONGEST_FIELD:,} characters"
            return f"a field that begins here has more than {most}; is a quote never closed?"
        case ["new-line", "character", *_]:
            return "a carriage return stands within a field without quotes, or ends a line alone"
    return str(error)


def read_layout(path: Path, description: Description) -> Layout:
    """The layout of the file, by its header; DataError where a role has no column in it."""
    with closing(_records(path)) as records:
        line, fields = next(records, (0, []))
    if not line:
        raise DataError(path, "the file is empty")
    return layout_of(path, fields, description, line)


def layout_of(path: Path, names: Iterable[str], description: Description, line: int = 0) -> Layout:
    """The layout of a file whose columns have these names, in a header that ends on `line`."""
    layout = Layout(path, tuple(name.strip() for name in names), line, {})
    accepted = description.columns.by_role().items()
    roles = {role: _position(layout, role, names) for role, names in accepted}
    return Layout(path, layout.header, line, roles)


def _position(layout: Layout, role: str, accepted: tuple[str, ...]) -> int:
    path, header, line = layout.path, layout.header, layout.line or None
    name = next((name for name in accepted if name in header), None)
    if name is None:
        wanted, found = _listed(accepted), _listed(header)
        reason = f"no column for the {role}: none is named {wanted}; there are {found}"
        raise DataError(path, reason, line=line)
    if header.count(name) > 1:
        raise DataError(path, "stands more than once in the header", line=line, column=name)
    return header.index(name)


def _listed(names: tuple[str, ...]) -> str:
    """The names, the first ones of many."""
    listed = ", ".join(map(_quoted, names[:_MOST_LISTED]))
    more = len(names) - _MOST_LISTED
    return f"{listed} and {more} more" if more > 0 else listed


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def number(text: str) -> float | None:
    """The number that a cell spells, None where it is missing; Doubt where it is neither."""
    bare = text.strip()
    if bare in _NO_NUMBER:
        return None
    value = float(bare.replace(",", "")) if _NUMBER.fullmatch(bare) else math.nan
    if not math.isfinite(value):
        raise Doubt(f"{_quoted(text)} is not a finite number")
    return value


def _weight(text: str) -> float | None:
    weight = number(text)
    if weight is not None and weight < 0:
        raise Doubt(f"{_quoted(text)} is negative")
    return weight


def year(text: str) -> int:
    """The year that a cell spells, NO_YEAR where it is missing; Doubt where it is neither."""
    bare = text.strip()
    if bare in _NO_NUMBER:
        return NO_YEAR
    if not _YEAR.fullmatch(bare) or abs(whole := int(bare.partition(".")[0])) > 9999:
        raise Doubt(f"{_quoted(text)} is not a year")
    return whole


_CELLS: Mapping[str, Callable[[str], object]] = {"value": number, "weight": _weight, "year": year}


def checked_rows(layout: Layout) -> Generator[list[str]]:
    """Every row's cells of the roles, in their order; DataError at the first fault."""
    with closing(_records(layout.path)) as records:
        next(records)
        for line, fields in records:
            yield _checked(layout, line, fields)


def _checked(layout: Layout, line: int, fields: list[str]) -> list[str]:
    """The cells of the roles, in their order."""
    if len(fields) != len(layout.header):
        reason = f"has {len(fields)} fields, the header has {len(layout.header)}"
        raise DataError(layout.path, reason, line=line)
    cells = {role: fields[position] for role, position in layout.roles.items()}
    if fault := first_fault(cells):
        role, reason = fault
        raise DataError(layout.path, reason, line=line, column=layout.column(role))
    return list(cells.values())


def first_fault(cells: Mapping[str, str]) -> tuple[str, str] | None:
    """The role and the reason of the first cell in a row that is not what its column holds."""
    for role in (role for role in _CELLS if role in cells):
        try:
            _CELLS[role](cells[role])
        except Doubt as doubt:
            return role, str(doubt)
    for role in ("question", "location"):
        if not cells[role].strip() and number(cells["value"]) is not None:
            return role, f"a row with a value has no {role}"
    return None


def require(in_order: bool) -> None:
    """Doubt, unless all is in order."""
    if not in_order:
        raise Doubt
