"""The tree of group sums agrees with groups counted one row at a time."""

import math
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.table import KEYS, MISSING, NO_YEAR, Names, Table, group_tree
from tests.support.tables import Row, level_as_lists, table_of

EXACT = st.integers(-8000, 8000).map(lambda n: n / 8)
"""Numbers whose sums are exact, so that the order of adding does not matter."""

KEYED_VALUES = st.lists(
    st.tuples(*(st.integers(MISSING, 2) for _ in KEYS), EXACT), max_size=60
).map(sorted)

ROWS = [
    Row("Q1", "Alaska", "Age", "18 - 24", 2011, 1.5, 100.0),
    Row("Q1", "Alaska", "Age", "18 - 24", 2012, 2.5),
    Row("Q1", "Alaska", "Sex", "Female", 2011, 4.0, 50.0),
    Row("Q1", "Hawaii", None, None, None, 8.0),
    Row("Q3", "Alaska", "Age", "25 - 34", 2011, 16.0),
    Row("Q2", "Ohio", "Sex", "Male", 2011, None),
]


@pytest.fixture(scope="module")
def table() -> Table:
    return table_of(ROWS)


def brute_force(rows: list[tuple[float, ...]]) -> list[dict[str, list[float]]]:
    """What each level must hold, from groups of equal prefixes of sorted rows."""
    prefixes = [
        [key for key, _ in groupby(row[:depth] for row in rows)]
        for depth in range(1, len(KEYS) + 1)
    ]
    children = [*prefixes[1:], [row[: len(KEYS)] for row in rows]]
    levels = []
    for depth, (nodes, below) in enumerate(zip(prefixes, children, strict=True), start=1):
        groups = [[row[-1] for row in rows if row[:depth] == node] for node in nodes]
        firsts = [[child[:depth] for child in below].index(node) for node in nodes]
        levels.append(
            {
                "codes": [node[-1] for node in nodes],
                "starts": [*firsts, len(below)],
                "sums": [math.fsum(group) for group in groups],
                "counts": [len(group) for group in groups],
            }
        )
    return levels


@given(KEYED_VALUES)
def test_every_node_has_the_sum_and_the_count_of_its_rows(
    rows: list[tuple[float, ...]],
) -> None:
    keys = [np.array([row[place] for row in rows], dtype=np.int32) for place in range(len(KEYS))]
    levels = group_tree(keys, np.array([row[-1] for row in rows], dtype=np.float64))
    assert [level_as_lists(level) for level in levels] == brute_force(rows)


@given(KEYED_VALUES)
def test_the_arrays_have_the_types_that_the_columns_are_shared_as(
    rows: list[tuple[float, ...]],
) -> None:
    keys = [np.array([row[place] for row in rows], dtype=np.int32) for place in range(len(KEYS))]
    for level in group_tree(keys, np.array([row[-1] for row in rows], dtype=np.float64)):
        assert (level.codes.dtype, level.starts.dtype) == (np.int32, np.int64)
        assert (level.sums.dtype, level.counts.dtype) == (np.float64, np.int64)


def test_no_rows_give_levels_without_nodes() -> None:
    empty = table_of([])
    assert empty.rows == 0
    for level in empty.levels:
        assert level_as_lists(level) == {"codes": [], "starts": [0], "sums": [], "counts": []}


def test_a_mean_over_many_rows_is_as_exact_as_one_over_few() -> None:
    values = np.full(300_000, 0.1)
    keys = [np.zeros(len(values), dtype=np.int32), np.arange(len(values), dtype=np.int32) // 1000]
    level = group_tree(keys, values)[0]
    assert level.sums[0] / level.counts[0] == pytest.approx(0.1, rel=1e-14)


def test_rows_are_those_with_a_value(table: Table) -> None:
    assert table.rows == 5
    assert table.value.tolist() == [1.5, 2.5, 4.0, 8.0, 16.0]


def test_children_are_the_nodes_of_the_next_level(table: Table) -> None:
    questions, locations = table.level("question"), table.level("location")
    assert questions.children(0) == slice(0, 2)
    assert questions.children(1) == slice(2, 3)
    assert locations.codes[questions.children(0)].tolist() == [0, 1]
    years = table.level("year")
    assert [years.children(node) for node in range(5)] == [slice(n, n + 1) for n in range(5)]


def test_the_children_of_a_level_cover_the_next_one_without_gaps(table: Table) -> None:
    sizes = [len(level.codes) for level in table.levels] + [table.rows]
    for level, below in zip(table.levels, sizes[1:], strict=True):
        slices = [level.children(node) for node in range(len(level.codes))]
        assert slices[0].start == 0
        assert slices[-1].stop == below
        assert all(one.stop == other.start for one, other in pairwise(slices))


def test_a_row_without_a_stratum_or_a_year_is_marked(table: Table) -> None:
    row = table.value.tolist().index(8.0)
    assert table.category[row] == MISSING
    assert table.stratum[row] == MISSING
    assert table.year[row] == NO_YEAR


def test_a_level_is_found_by_its_key(table: Table) -> None:
    assert [table.level(key) for key in KEYS] == list(table.levels)


def test_a_node_is_found_among_its_siblings_only(table: Table) -> None:
    first, second = (table.level("question").children(node) for node in range(2))
    assert table.find("location", "Alaska", first) == 0
    assert table.find("location", "Hawaii", first) == 1
    assert table.find("location", "Alaska", second) == 2
    assert table.find("location", "Hawaii", second) is None
    assert table.find("location", "Alaska", slice(0, 0)) is None


NAMES = tuple(f"{number:02}" for number in range(30))


@given(
    st.lists(st.integers(MISSING, 29), unique=True).map(sorted),
    st.sampled_from((*NAMES, "", "30", "1")),
    st.integers(0, 5),
)
def test_a_node_is_found_where_it_is_and_nowhere_else(
    codes: list[int], name: str, first: int
) -> None:
    column = np.array(codes, dtype=np.int32)
    level = group_tree([column], np.zeros(len(codes)))[0]
    fields = dict.fromkeys((*KEYS, "value", "weight"), column)
    table = Table("", Names(NAMES, (), (), ()), **fields, levels=(level,) * 5)  # type: ignore[arg-type]
    found = table.find("question", name, slice(first, len(codes)))
    siblings = [NAMES[code] if code != MISSING else None for code in codes]
    expected = name in siblings[first:]
    assert found == (siblings.index(name) if expected else None)


def test_names_hold_also_what_has_no_value(table: Table) -> None:
    assert table.names.question == ("Q1", "Q2", "Q3")
    assert table.names.location == ("Alaska", "Hawaii", "Ohio")
    assert table.names.code("question", "Q2") == 1
    assert table.find("question", "Q2", slice(0, 2)) is None


@given(st.sets(st.text(max_size=3)), st.text(max_size=3))
def test_a_code_is_the_place_in_the_vocabulary(known: set[str], name: str) -> None:
    vocabulary = tuple(sorted(known))
    names = Names((), vocabulary, (), ())
    expected = vocabulary.index(name) if name in known else None
    assert names.code("location", name) == expected


def test_a_table_is_made_again_from_its_arrays_without_copying(table: Table) -> None:
    arrays = table.arrays()
    again = Table.from_arrays(table.fingerprint, table.names, arrays)
    assert again.arrays().keys() == arrays.keys()
    assert all(array is arrays[name] for name, array in again.arrays().items())
    assert again.fingerprint == table.fingerprint
    assert again.names is table.names


def test_every_array_has_a_name_of_its_own(table: Table) -> None:
    arrays = table.arrays()
    assert len(arrays) == len(KEYS) + 2 + 4 * len(KEYS)
    assert len({id(array) for array in arrays.values()}) == len(arrays)
