"""Rows come out in the order of their cells, however these are packed for the sort."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.row_order import NO_WEIGHT, Extent, RowSorter, SortedRows
from server.table import KEYS, NO_YEAR

CODES = st.integers(-1, 40) | st.integers(-1, 2**31 - 1)
YEARS = st.integers(-9999, 9999) | st.just(NO_YEAR)
DECIMALS = st.integers(-9999, 9999).map(lambda number: number / 10)
FLOATS = DECIMALS | st.floats(-1e300, 1e300)
WEIGHTS = st.just(NO_WEIGHT) | st.integers(0, 10**6).map(float) | st.floats(0, 1e300)
ROW = st.tuples(CODES, CODES, CODES, CODES, YEARS, FLOATS, WEIGHTS)
PLAIN = st.tuples(*[st.integers(-1, 40)] * 4, YEARS, DECIMALS, st.integers(0, 999).map(float))

SOME_ROWS = st.lists(ROW, min_size=1, max_size=30) | st.lists(PLAIN, min_size=1, max_size=30)
ROLES = (*KEYS, "value", "weight")

Row = tuple[float, ...]


def sorted_in_parts(rows: list[Row], part: int) -> SortedRows:
    """What becomes of the rows, taken in some at a time, the last ones first."""
    columns = {
        role: np.array(cells, np.int32 if role in KEYS else np.float64)
        for role, cells in zip(ROLES, zip(*rows, strict=True), strict=True)
    }
    starts = range(0, len(rows), part)
    extents = {
        role: Extent.joined([Extent.of(cells[at : at + part].astype(float)) for at in starts])
        for role, cells in columns.items()
    }
    sorter = RowSorter(extents, len(rows))
    for at in reversed(starts):
        sorter.put(at, {role: cells[at : at + part] for role, cells in columns.items()})
    return sorter.sorted()


def ordered(rows: list[Row], part: int = 20) -> list[Row]:
    columns, _ = sorted_in_parts(rows, part)
    columns["weight"][np.isnan(columns["weight"])] = NO_WEIGHT
    return list(zip(*(columns[role].tolist() for role in ROLES), strict=True))


@settings(deadline=None)
@given(rows=SOME_ROWS, part=st.integers(1, 30))
def test_rows_are_sorted_cell_by_cell_and_none_is_changed(rows: list[Row], part: int) -> None:
    assert ordered(rows, part) == sorted(rows)


@settings(deadline=None)
@given(rows=SOME_ROWS, others=SOME_ROWS, random=st.randoms(use_true_random=False))
def test_a_digest_is_that_of_the_rows_whatever_their_order(
    rows: list[Row], others: list[Row], random: Random
) -> None:
    shuffled = random.sample(rows, len(rows))
    assert sorted_in_parts(shuffled, 7).digest == sorted_in_parts(rows, 20).digest
    if sorted(others) != sorted(rows):
        assert sorted_in_parts(others, 20).digest != sorted_in_parts(rows, 20).digest


def test_minus_zero_is_zero_in_a_sort_key_of_its_own_too() -> None:
    rows: list[Row] = [(0, 0, 0, 0, 2011, value, 1.0) for value in (-0.0, 1e300, 0.123456)]
    assert [math.copysign(1, row[5]) for row in ordered(rows)] == [1, 1, 1]


def test_numbers_that_have_a_scale_each_but_are_too_large_for_both_are_not_changed() -> None:
    rows: list[Row] = [
        (0, 0, 0, 0, 2011, value, 1.0) for value in (2305843009213728.0, 0.001, 0.002)
    ]
    assert ordered(rows, part=1) == sorted(rows)


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
