"""A selection has the rows that pass the filters, and its groups share them out."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.stats.selection import Selection, groups, groups_of_share, select, shares
from server.stats.statistic import By, GroupedRequest
from server.table import NO_YEAR, Table
from tests.support.tables import Row, table_of

STRATA = ((None, None), ("Age", "Young"), ("Age", "Old"), ("Sex", "Male"))

ROWS = st.lists(
    st.builds(
        lambda question, state, division, year, value, weight: Row(
            question, state, *division, year, value, weight
        ),
        st.sampled_from(["Q", "R"]),
        st.sampled_from(["Guam", "Ohio", "Utah"]),
        st.sampled_from(STRATA),
        st.sampled_from([None, 2011, 2012]),
        st.integers(-100, 100).map(float),
        st.none() | st.integers(0, 9).map(float),
    ),
    max_size=40,
)


def all_of(table: Table, **filters: Any) -> Selection:
    return select(table, GroupedRequest("Q", **filters), "Q")


def wanted(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.question == "Q"]


@given(ROWS)
def test_without_filters_every_row_of_the_question_is_selected(rows: list[Row]) -> None:
    selection = all_of(table_of(rows))
    values = [row.value or 0.0 for row in wanted(rows)]
    assert sorted(selection.values().tolist()) == sorted(values)
    assert selection.n == len(values)
    assert selection.mean == (math.fsum(values) / len(values) if values else None)


@given(ROWS)
def test_rows_come_with_their_weights_and_years(rows: list[Row]) -> None:
    table = table_of(rows)
    found = all_of(table, states=("Ohio", "Utah")).rows()
    expected = [row for row in wanted(rows) if row.location != "Guam"]
    assert sorted(
        zip(found.value, np.nan_to_num(found.weight, nan=-1), found.year, strict=True)
    ) == (
        sorted(
            (row.value, -1 if row.weight is None else row.weight, row.year or NO_YEAR)
            for row in expected
        )
    )


@pytest.mark.parametrize(
    ("by", "label"),
    [
        ("state", lambda row: {"state": row.location}),
        ("stratum", lambda row: {"category": row.category, "stratum": row.stratum}),
        ("year", lambda row: {"year": row.year}),
    ],
)
@given(rows=ROWS)
def test_groups_share_the_rows_that_have_a_label(by: By, label: Any, rows: list[Row]) -> None:
    found = groups(all_of(table_of(rows)), by)
    expected: dict[tuple[Any, ...], list[float]] = {}
    for row in wanted(rows):
        names = tuple(label(row).values())
        if None not in names:
            expected.setdefault(names, []).append(row.value or 0.0)
    assert [tuple(group.label.values()) for group in found] == sorted(expected)
    for group in found:
        values = expected[tuple(group.label.values())]
        assert sorted(group.selection.values().tolist()) == sorted(values)


@given(ROWS)
def test_without_a_key_all_rows_are_one_group_also_if_there_are_none(rows: list[Row]) -> None:
    selection = all_of(table_of(rows))
    (group,) = groups(selection, None)
    assert group.label == {}
    assert group.selection.n == selection.n


@given(ROWS, st.integers(1, 10), st.sampled_from(["state", "stratum", "year", None]))
def test_shares_have_every_group_once_and_in_order(rows: list[Row], size: int, by: By) -> None:
    table = table_of(rows)
    selection = all_of(table)
    together = [
        group.label
        for part in shares(table, "Q", by, size)
        for group in groups_of_share(selection, by, part)
    ]
    assert together == [group.label for group in groups(selection, by)]


def test_a_run_of_rows_is_not_copied() -> None:
    table = table_of([Row("Q", "Ohio", "Age", "Old", year, 1.0) for year in range(2000, 2020)])
    assert np.shares_memory(all_of(table).values(), table.value)


def test_a_question_that_nobody_knows_has_no_rows() -> None:
    assert select(table_of([]), GroupedRequest("Q"), "Q").n == 0
