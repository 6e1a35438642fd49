"""Small tables for tests, made from rows in any order."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from server.table import KEYS, MISSING, NO_YEAR, Codes, Level, Names, Table, group_tree


class Row(NamedTuple):
    """One line of a data file.

    A row without a value lends the table only its names, and one with only a category or only
    a stratum has neither.
    """

    question: str
    location: str
    category: str | None
    stratum: str | None
    year: int | None
    value: float | None
    weight: float | None = None


def table_of(
    rows: Iterable[Row], *, better_low: Iterable[str] = (), fingerprint: str = "made for a test"
) -> Table:
    """The table of these rows; its arrays refuse to be written, as the shared ones do."""
    rows = list(rows)
    names = Names(
        *(_vocabulary(getattr(row, key) for row in rows) for key in KEYS[:-1]),
        better_low=frozenset(better_low),
    )
    valued = sorted(
        ((_key(row, names), row) for row in rows if row.value is not None), key=lambda item: item[0]
    )
    columns: list[Codes] = [
        np.array([key[place] for key, _ in valued], dtype=np.int32) for place in range(len(KEYS))
    ]
    values = np.array([row.value for _, row in valued], dtype=np.float64)
    weights = [np.nan if row.weight is None else row.weight for _, row in valued]
    question, location, category, stratum, year = group_tree(columns, values)
    table = Table(
        fingerprint,
        names,
        *columns,
        value=values,
        weight=np.array(weights, dtype=np.float64),
        levels=(question, location, category, stratum, year),
    )
    for array in table.arrays().values():
        array.flags.writeable = False
    return table


def level_as_lists(level: Level) -> dict[str, list[float]]:
    """The level's arrays as plain lists, to be compared."""
    return {
        "codes": level.codes.tolist(),
        "starts": level.starts.tolist(),
        "sums": level.sums.tolist(),
        "counts": level.counts.tolist(),
    }


def _vocabulary(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name is not None}))


def _key(row: Row, names: Names) -> tuple[int, ...]:
    divided = row.category is not None and row.stratum is not None
    codes = []
    for key in KEYS[:-1]:
        is_division = key in ("category", "stratum")
        code = MISSING if is_division and not divided else names.code(key, getattr(row, key))
        assert code is not None
        codes.append(code)
    return (*codes, NO_YEAR if row.year is None else row.year)
