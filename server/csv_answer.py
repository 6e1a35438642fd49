"""An answer's table as CSV, for spreadsheets and for programs."""

import csv
import io

from server.stats.answer_table import AnswerTable, Json

_RUNS = ("=", "+", "-", "@", "\t", "\r")
"""A cell of a text that begins so would be run as a formula by a spreadsheet."""


def as_csv(table: AnswerTable) -> str:
    """The table as RFC 4180 has it, with a header; None is empty, numbers keep all digits.

    A text that a spreadsheet would run gets an apostrophe, by which it is one.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    for row in (table.columns, *table.rows):
        writer.writerow(map(_cell, row))
    return written.getvalue()


def _cell(value: Json) -> Json:
    match value:
        case bool():
            return "true" if value else "false"
        case str() if value.startswith(_RUNS):
            return f"'{value}"
    return value
