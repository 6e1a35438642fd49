"""Rows come out sorted and coded, whatever the frames they came in."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import row_collector
from server.csv_text import Doubt
from server.row_collector import TEXTS, Collected, RowCollector
from server.row_order import NUMBERS
from server.table import KEYS, MISSING, NO_YEAR

NAMES = st.sampled_from(["a", "b", "B", "ä", "a b"])
LACKING = st.none() | st.just("") | st.just(" ")
ROW = st.tuples(
    *(NAMES, NAMES, LACKING | NAMES, LACKING | NAMES),
    LACKING | st.sampled_from(["2011", "1999.0", " 7 "]),
    LACKING | st.sampled_from(["1", "1.50", "-0.0", "1,234", "NA"]),
    LACKING | st.sampled_from(["3", "0.1", "1e3"]),
)

Row = tuple[str | None, ...]


@pytest.fixture(scope="module", params=[3, 1 << 20])
def shelf(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shelves so small that frames lie across their edges, and the usual ones."""
    usual = row_collector._SHELF, row_collector._SPAN
    row_collector._SHELF = request.param
    row_collector._SPAN = min(usual[1], request.param)
    yield
    row_collector._SHELF, row_collector._SPAN = usual


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, dict.fromkeys((*KEYS, *NUMBERS), pl.String), orient="row")


def filled(frames: list[pl.DataFrame]) -> RowCollector:
    collector = RowCollector()
    with ThreadPoolExecutor(3) as together:
        list(together.map(collector.take, frames))
    return collector


def plain(collected: Collected) -> list[tuple[object, ...]]:
    """The rows, with texts for codes."""
    vocabularies, (columns, _) = collected
    cells = {role: columns[role].tolist() for role in (*KEYS, *NUMBERS)}
    for key in TEXTS:
        names = dict(enumerate(vocabularies[key])) | {MISSING: ""}
        cells[key] = [names[code] for code in cells[key]]
    return list(zip(*cells.values(), strict=True))


def meant(row: Row) -> tuple[object, ...] | None:
    """What the row is in a table; None where it has no value."""
    question, place, by, part, year, value, weight = ((cell or "").strip() for cell in row)
    if value in ("", "NA"):
        return None
    divided = (by, part) if by and part else ("", "")
    when = int(year.partition(".")[0]) if year else NO_YEAR
    return (
        question,
        place,
        *divided,
        when,
        float(value.replace(",", "")) + 0.0,
        float(weight or "nan"),
    )


@pytest.mark.usefixtures("shelf")
@settings(deadline=None)
@given(parts=st.lists(st.lists(ROW, max_size=8), min_size=1, max_size=6))
def test_rows_are_kept_whichever_frames_they_come_in(parts: list[list[Row]]) -> None:
    collector = filled([frame(rows) for rows in parts])
    rows = [row for rows in parts for row in rows]
    expected = [row for row in map(meant, rows) if row is not None]
    assert collector.rows == len(expected)
    if not expected:
        return
    collected = collector.sorted()
    assert sorted(map(repr, plain(collected))) == sorted(map(repr, expected))
    assert [row[:6] for row in plain(collected)] == sorted(row[:6] for row in expected)
    for place, key in enumerate(TEXTS):
        texts = {row[place] or "" for row in rows}
        assert collected.vocabularies[key] == tuple(sorted(filter(str.strip, texts)))
    together = filled([frame(rows)]).sorted()
    assert together.rows.digest == collected.rows.digest


def test_a_text_is_the_same_in_all_frames_though_none_of_them_is_left() -> None:
    collector = RowCollector()
    for text in ("b", "a", "c", "a"):
        collector.take(frame([(text, text, None, None, "2011", "1", None)]))
        gc.collect()
    collected = collector.sorted()
    assert collected.vocabularies["question"] == ("a", "b", "c")
    assert collected.rows.columns["question"].tolist() == [0, 0, 1, 2]


def test_columns_that_a_file_does_not_have_are_missing_in_every_row() -> None:
    collector = filled([frame([("q", "p", *[None] * 3, "1", None)]).select(*TEXTS[:2], "value")])
    (columns, _) = collector.sorted().rows
    assert columns["category"].tolist() == columns["stratum"].tolist() == [MISSING]
    assert columns["year"].tolist() == [NO_YEAR]
    assert np.isnan(columns["weight"]).all()


@pytest.mark.parametrize(
    ("place", "text"),
    [(0, None), (0, " "), (1, ""), (4, "last year"), (5, "many"), (6, "few"), (6, "-1")],
)
def test_a_cell_that_is_not_what_its_column_holds_is_in_doubt(place: int, text: str) -> None:
    good: Row = ("q", "p", "by", "x", "2011", "1", "2")
    odd = (*good[:place], text, *good[place + 1 :])
    with pytest.raises(Doubt):
        filled([frame([good]), frame([good, odd])]).sorted()
