"""Every answer is a table: whatever its shape, with all its figures, safe for a spreadsheet."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.stats import STATISTICS
from server.stats.answer_table import AnswerTable, table_of
from tests.support import answers
from tests.support.real_tables import loaded_table
from tests.support.servers import ROOT

STRATA = ("state", "category", "stratum", "mean")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def of(data: Any, *columns: str) -> tuple[list[str], list[list[Any]]]:
    found = table_of(data, columns)
    return list(found.columns), [list(row) for row in found.rows]


@pytest.mark.parametrize("name", STATISTICS)
def test_the_table_of_each_example_has_its_rows(name: str) -> None:
    statistic = STATISTICS[name]
    sample = loaded_table(ROOT / "data" / "sample.csv.gz")
    request = msgspec.convert(dict(statistic.example), statistic.request)
    data = answers.answer(statistic, sample, request)
    found = table_of(data, statistic.columns, statistic.apart)
    assert len(found.rows) == {
        "global_mean": 1,
        "best5": 5,
        "worst5": 5,
        "state_mean_by_category": 3,
        "quantiles": 6,
    }.get(name, len(data.get("groups", data)))
    assert all(len(row) == len(found.columns) for row in found.rows)
    assert len(set(found.columns)) == len(found.columns)
    assert not any(isinstance(cell, str) and cell[:1] in "[{" for row in found.rows for cell in row)


# -- names as keys --------------------------------------------------------------------


def test_names_and_figures_are_two_columns() -> None:
    assert of({"Ohio": 28.5, "Utah": None}, "state", "mean") == (
        ["state", "mean"],
        [["Ohio", 28.5], ["Utah", None]],
    )


def test_no_names_are_a_table_with_its_columns_and_no_row() -> None:
    assert of({}, "state", "mean") == (["state", "mean"], [])
    assert of({"Ohio": {}}, *STRATA) == (list(STRATA), [])


@given(st.tuples(st.text(), st.text(), st.text()))
def test_the_text_of_a_tuple_is_its_names(names: tuple[str, str, str]) -> None:
    inner = {str(names[1:]): 1.5}
    assert of({str(names): 1.5}, *STRATA)[1] == [[*names, 1.5]]
    assert of({names[0]: inner}, *STRATA)[1] == [[*names, 1.5]]


def test_a_name_that_looks_like_a_tuple_is_a_name_where_one_is_expected() -> None:
    assert of({"('a', 'b')": 1.0}, "state", "mean")[1] == [["('a', 'b')", 1.0]]


# -- groups ---------------------------------------------------------------------------


def test_what_stands_beside_the_groups_stands_in_every_row() -> None:
    data = {"groups": [{"state": "Ohio", "n": 2}, {"state": "Utah"}], "p_value": 0.5, "n": 9}
    assert of(data) == (
        ["state", "n", "p_value", "n_2"],
        [["Ohio", 2, 0.5, 9], ["Utah", None, 0.5, 9]],
    )


def test_records_within_a_group_are_rows_of_their_own() -> None:
    quantiles = [{"probability": 0.5, "value": 3.0}, {"probability": 1, "value": None}]
    data = {"groups": [{"state": "Ohio", "n": 2, "quantiles": quantiles}]}
    assert of(data) == (
        ["state", "n", "probability", "value"],
        [["Ohio", 2, 0.5, 3.0], ["Ohio", 2, 1, None]],
    )


def test_what_is_to_stand_apart_stands_in_no_table() -> None:
    data = {"groups": [{"state": "Ohio", "slope": 1.5, "years": [{"year": 2011}]}]}
    assert table_of(data, apart=("years",)) == AnswerTable(["state", "slope"], [["Ohio", 1.5]])


# -- shapes that nobody foresaw -------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "columns", "rows"),
    [
        (None, ["value"], [[None]]),
        (3, ["value"], [[3]]),
        ({}, [], []),
        ([], [], []),
        ({"groups": [], "seed": 1}, [], []),
        ({"rows": 5, "warnings": []}, ["rows", "warnings"], [[5, "[]"]]),
        ([1, "a"], ["value"], [[1], ["a"]]),
        ([[1, 2], [3]], ["column_1", "column_2"], [[1, 2], [3, None]]),
        ([{"a": 1}, {"b": [2]}], ["a", "b"], [[1, None], [None, "[2]"]]),
        ({"Ohio": 1, "New York": 2}, ["name", "value"], [["Ohio", 1], ["New York", 2]]),
        ({"Ohio": {"n": 1, "mean": 2.5}}, ["name", "n", "mean"], [["Ohio", 1, 2.5]]),
        ({"mean": 2.5, "of": {"more": 1}}, ["mean", "of"], [[2.5, '{"more": 1}']]),
    ],
)
def test_any_other_shape_is_a_table_too(data: Any, columns: Any, rows: Any) -> None:
    assert of(data) == (columns, rows)


@given(JSON)
def test_nothing_that_json_can_carry_has_no_table(data: Any) -> None:
    for columns in ((), ("state", "mean"), STRATA):
        found = table_of(data, columns)
        for row in found.rows:
            assert len(row) == len(found.columns)
            assert all(isinstance(each, bool | int | float | str | None) for each in row)
