"""Answers as CSV: every digit is kept, and no spreadsheet runs what a table holds."""

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from server.csv_answer import as_csv
from server.stats.answer_table import AnswerTable


def table(columns: list[str], *rows: list[Any]) -> AnswerTable:
    return AnswerTable(columns, list(rows))


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


@given(st.lists(st.lists(st.floats(allow_nan=False) | st.none(), min_size=2, max_size=2)))
def test_figures_keep_all_their_digits_and_none_is_empty(rows: list[list[Any]]) -> None:
    header, *cells = read(as_csv(table(["a", "b"], *rows)))
    assert header == ["a", "b"]
    assert [[float(each) if each else None for each in row] for row in cells] == rows


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_text_is_itself_or_has_an_apostrophe_before_what_would_be_run(text: str) -> None:
    _, (cell, rest) = read(as_csv(table(["a", "b"], [text, "x"])))
    assert rest == "x"
    assert cell == (f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text)


def test_the_lines_end_and_are_quoted_as_rfc_4180_says() -> None:
    written = as_csv(
        table(["state", "mean", "sure"], ['a "b", c', -1.5, True], ["d\ne", None, False])
    )
    assert written == 'state,mean,sure\r\n"a ""b"", c",-1.5,true\r\n"d\ne",,false\r\n'
