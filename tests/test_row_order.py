"""Rows come out in the order of their cells, however these are packed for the sort."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.row_order import NO_WEIGHT, sorted_columns
from server.table import KEYS, NO_YEAR

CODES = st.integers(-1, 40) | st.integers(-1, 2**31 - 1)
YEARS = st.integers(-9999, 9999) | st.just(NO_YEAR)
DECIMALS = st.integers(-9999, 9999).map(lambda number: number / 10)
FLOATS = DECIMALS | st.floats(-1e300, 1e300)
WEIGHTS = st.just(NO_WEIGHT) | st.integers(0, 10**6).map(float) | st.floats(0, 1e300)
ROW = st.tuples(CODES, CODES, CODES, CODES, YEARS, FLOATS, WEIGHTS)
PLAIN = st.tuples(*[st.integers(-1, 40)] * 4, YEARS, DECIMALS, st.integers(0, 999).map(float))

Row = tuple[float, ...]


def ordered(rows: list[Row]) -> list[Row]:
    types = dict.fromkeys(KEYS, pl.Int32) | {"value": pl.Float64, "weight": pl.Float64}
    columns = sorted_columns(pl.DataFrame(rows, types, orient="row"))
    columns["weight"][np.isnan(columns["weight"])] = NO_WEIGHT
    return list(zip(*(columns[role].tolist() for role in types), strict=True))


@settings(deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=30) | st.lists(PLAIN, min_size=1, max_size=30))
def test_rows_are_sorted_cell_by_cell_and_none_is_changed(rows: list[Row]) -> None:
    assert ordered(rows) == sorted(rows)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 8, 2**20, 2**31 - 1])
def test_a_column_may_have_any_span(most: int) -> None:
    rows: list[Row] = [
        (code, 0, most - code, -1, NO_YEAR, 0.5, 1.0) for code in (0, most, most // 2)
    ]
    assert ordered(rows) == sorted(rows)


def test_more_rows_than_are_packed_at_a_time_are_sorted() -> None:
    random = np.random.default_rng(3)
    cells = [random.integers(0, 30, 50_000) for _ in KEYS]
    values = random.integers(0, 5_000, 50_000) / 100
    rows: list[Row] = list(zip(*(each.tolist() for each in (*cells, values, values)), strict=True))
    assert ordered(rows) == sorted(rows)
