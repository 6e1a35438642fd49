"""The tables of a run, for a terminal."""

import textwrap
from collections.abc import Callable, Iterator

from benchmarks.measure import Comparison, Figure, Goal
from benchmarks.results import Report
from benchmarks.wording import bounds, label, short, verdict

Write = Callable[[str], None]

LONGEST = 52
"""How wide the column of names is; a longer name goes on in the next line."""


def print_comparison(comparison: Comparison, write: Write) -> None:
    """Write a comparison, a row for each figure and each ratio, in columns."""
    write(f"\n{comparison.title} ({comparison.unit})")
    for figure in comparison.figures:
        _print_row(label(figure, comparison), _numbers(figure), write)
    for goal in comparison.goals:
        _print_row(goal.what, _ratio(goal), write)
    for note in comparison.notes:
        for line in textwrap.wrap(note, 96):
            write(f"  {line}")


def print_goals(report: Report, write: Write) -> None:
    """Write every goal that was to be reached, under the comparison it belongs to."""
    found = [goal for _, goals in report.goals() for goal in goals]
    if not found:
        return
    reached = sum(goal.is_reached for goal in found)
    write(f"\nGoals: {reached} of {len(found)} reached")
    for comparison, goals in report.goals():
        write(f" {comparison.title}")
        for goal in goals:
            _print_row(goal.what, _ratio(goal), write)


def _print_row(name: str, numbers: str, write: Write) -> None:
    *first, last = _lines(name)
    for line in first:
        write(f"  {line}")
    write(f"  {last:<{LONGEST}} {numbers}".rstrip())


def _lines(name: str) -> Iterator[str]:
    lines = textwrap.wrap(name, LONGEST - 2) or [""]
    yield lines[0]
    yield from (f"  {line}" for line in lines[1:])


def _numbers(figure: Figure) -> str:
    return f"{short(figure.median):>10}   ({short(figure.low)} to {short(figure.high)})"


def _ratio(goal: Goal) -> str:
    told = f"goal {bounds(goal)}: {verdict(goal)}" if goal.is_bound else ""
    return f"{short(goal.ratio):>10} x {told}"
