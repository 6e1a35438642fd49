"""The tables of measured figures in the documents, from the report of one run of the benchmarks.

A page holds, around each table, two lines:

    <!-- figures of tiny-tasks, tiny-round-trip: written by `make docs` from the report -->
    <!-- end of the figures -->

The names are those of comparisons in `docs/benchmark/report.json`, and each is a column; behind
a name, `@2` takes the figures of 2 workers or clients. Rows are the sides, medians of all runs
what is shown, three digits of each.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Comparison
from benchmarks.results import Report, read_json
from server.settings import ROOT

REPORT = ROOT / "docs" / "benchmark" / "report.json"

_MARKED = re.compile(
    r"(<!-- figures of (?P<names>.+?): written by `make docs` from the report -->\n)"
    r".*?(<!-- end of the figures -->\n)",
    re.DOTALL,
)


def pages_with_figures(root: Path) -> dict[Path, str]:
    """Every page of `docs/` that has such lines, with the tables that it should have."""
    report = read_json(REPORT)
    pages = {
        path.relative_to(root): path.read_text("utf-8") for path in sorted(root.glob("docs/*.md"))
    }
    return {
        path: with_figures(text, report) for path, text in pages.items() if _MARKED.search(text)
    }


def with_figures(page: str, report: Report) -> str:
    """The page with its tables; ValueError where the report lacks a comparison."""

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_table(match['names'].split(', '), report)}\n{match[3]}"

    return _MARKED.sub(filled, page)


def _table(names: list[str], report: Report) -> str:
    columns = {}
    for name in names:
        comparison, at = _found(name, report)
        columns[f"{comparison.title}, {comparison.unit}"] = {
            figure.name: three_digits(figure.median)
            for figure in comparison.figures
            if at is None or figure.at == at
        }
    sides = list(dict.fromkeys(side for column in columns.values() for side in column))
    rows = [
        ["side", *columns],
        ["---", *["---:"] * len(columns)],
        *([side, *(column.get(side, "") for column in columns.values())] for side in sides),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _found(name: str, report: Report) -> tuple[Comparison, float | None]:
    name, _, at = name.partition("@")
    for comparison in _comparisons(report):
        if comparison.name == name:
            return comparison, float(at) if at else None
    known = ", ".join(comparison.name for comparison in _comparisons(report))
    raise ValueError(f"the report has no comparison {name!r}; there are {known}")


def _comparisons(report: Report) -> Iterator[Comparison]:
    for section in report.sections:
        yield from section.comparisons


def three_digits(number: float) -> str:
    """The number with three digits that count, and commas between thousands."""
    rounded = float(f"{number:.3g}")
    before = len(f"{abs(rounded):.0f}") if abs(rounded) >= 1 else 0
    return f"{rounded:,.{max(0, 3 - before)}f}"
