"""Tables and values for people on a terminal, and for programs behind a pipe."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

_DIGITS = 6


def as_json(value: Any) -> None:
    """One line of JSON on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False))


def as_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """The rows under their columns; numbers to the right, with six digits.

    On a terminal within its width; else each row on one line, with two spaces or more between.
    """
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(table(columns, rows))
        return
    cells, numbers = _cells(columns, rows)
    click.echo("".join(_lines([list(columns), *cells], numbers)), nl=False)


def cell(value: Any) -> str:
    """A value as a cell shows it: nothing for None, six digits of a number with a fraction."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.{_DIGITS}g}"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
    return " ".join(str(value).split())


def _cells(
    columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> tuple[list[list[str]], list[bool]]:
    """The texts of the cells, and which columns hold numbers."""
    numbers = [_is_numeric([row[at] for row in rows]) for at in range(len(columns))]
    return [[cell(value) for value in row] for row in rows], numbers


def _is_numeric(values: Sequence[Any]) -> bool:
    given = [value for value in values if value is not None]
    return bool(given) and all(type(value) in (int, float) for value in given)


def _lines(cells: Sequence[Sequence[str]], numbers: Sequence[bool]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numbers, strict=True)
        ).rstrip()
        + "\n"
        for row in cells
    ]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> "Table":
    """The rows for a terminal."""
    from rich.table import Table
    from rich.text import Text

    cells, numbers = _cells(columns, rows)
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name, right in zip(columns, numbers, strict=True):
        made.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in cells:
        made.add_row(*map(Text, row))
    return made
