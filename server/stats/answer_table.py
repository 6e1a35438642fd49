"""An answer as a table: columns and rows, whatever its shape.

Every figure of the answer stands in the table. A shape that nobody foresaw gives a table too:
what has no better place is the text of its JSON.
"""

import ast
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Any
"""A value that JSON can carry: None, bool, int, float, str, list, or dict with str keys."""

Record = dict[str, Json]
"""A row of the table by the names of its columns."""

_FIELD = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """The columns' names, and rows of as many cells: None, a truth value, a number or a text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Json]]

    def records(self) -> list[Record]:
        """The rows by the names of the columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def table_of(data: Json, columns: Sequence[str] = (), apart: Collection[str] = ()) -> AnswerTable:
    """The table of an answer.

    `columns` are told of an answer that has names as keys, such as `("state", "mean")`;
    `apart` are fields of records that stand in no table.
    """
    if columns and isinstance(data, dict):
        records = list(_by_names(data, columns[:-1], columns[-1]))
    else:
        records = list(_records(data, apart))
        columns = list(dict.fromkeys(name for record in records for name in record))
    return AnswerTable(columns, [[record.get(name) for name in columns] for record in records])


# -- objects whose keys are names -------------------------------------------------------


def _by_names(data: Mapping[str, Json], names: Sequence[str], figure: str) -> Iterator[Record]:
    """A record for each figure; keys within keys, and tuples of names as text, are its names."""
    for key, value in data.items():
        if isinstance(value, dict) and len(names) > 1:
            for record in _by_names(value, names[1:], figure):
                yield {names[0]: key, **record}
        else:
            parts = _tuple(key) if len(names) > 1 else (key,)
            yield {**dict(zip(names, parts, strict=False)), figure: _plain(value)}


def _tuple(key: str) -> tuple[str, ...]:
    """The names in the text of a Python tuple; the text itself where it is none."""
    if not (key.startswith("(") and key.endswith(")")):
        return (key,)
    if key[:2] == "('" and key[-2:] == "')" and '"' not in key and "\\" not in key:
        return tuple(key[2:-2].split("', '"))
    try:
        found = ast.literal_eval(key)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return (key,)
    is_names = isinstance(found, tuple) and all(isinstance(each, str) for each in found)
    return found if is_names else (key,)


# -- other shapes ---------------------------------------------------------------------


def _records(data: Json, apart: Collection[str]) -> Iterator[Record]:
    match data:
        case dict() if _has_names(data):
            yield from _named(data, apart)
        case dict() if data:
            yield from _around(data, apart, outermost=True)
        case list():
            yield from _listed(data, apart)
        case None | bool() | int() | float() | str():
            yield {"value": data}


def _has_names(data: Mapping[str, Json]) -> bool:
    """Whether the keys are names of things, and not of fields."""
    return not all(map(_FIELD.fullmatch, data))


def _named(data: Mapping[str, Json], apart: Collection[str]) -> Iterator[Record]:
    """What each name has, with the name before it."""
    for key, value in data.items():
        names = _tuple(key)
        label = {
            "name" if len(names) == 1 else f"name_{n}": each for n, each in enumerate(names, 1)
        }
        records = _records(value, apart) if isinstance(value, dict | list) and value else ()
        found = [label | _renamed(each, label) for each in records]
        yield from found or [{**label, "value": _plain(value)}]


def _listed(data: Iterable[Json], apart: Collection[str]) -> Iterator[Record]:
    for each in data:
        match each:
            case dict():
                yield from _around(each, apart, outermost=False)
            case list():
                yield {f"column_{n}": _plain(cell) for n, cell in enumerate(each, 1)}
            case _:
                yield {"value": each}


def _around(
    data: Mapping[str, Json], apart: Collection[str], *, outermost: bool
) -> Iterator[Record]:
    """The records of the first list of records within, each with the figures beside that list.

    These come first, but for those of the whole answer, which come last.
    """
    inner = next((name for name, each in data.items() if _is_records(name, each)), None)
    inner = None if inner in apart else inner
    beside = {
        name: _plain(each) for name, each in data.items() if name != inner and name not in apart
    }
    if inner is None:
        yield beside
        return
    records = list(_listed(data[inner], apart))
    beside = _renamed(beside, {name for record in records for name in record})
    for record in records:
        yield record | beside if outermost else beside | record


def _is_records(name: str, value: Json) -> bool:
    """Whether it is a list of records; an empty list is one by the name that all of them have."""
    if not isinstance(value, list):
        return False
    return all(isinstance(each, dict) for each in value) if value else name == "groups"


def _renamed(record: Record, taken: Collection[str]) -> Record:
    """The record, each of its names that is taken with a number."""
    renamed: Record = {}
    for name, value in record.items():
        number, free = 2, name
        while free in taken or free in renamed:
            number, free = number + 1, f"{name}_{number}"
        renamed[free] = value
    return renamed


def _plain(value: Any) -> Json:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
