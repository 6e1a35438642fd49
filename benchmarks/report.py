"""The report of a run: tables for a terminal, and everything as JSON."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from benchmarks.measure import Comparison, Figure, Goal

FOLDER = Path(__file__).parent / "report"


@dataclass(frozen=True, slots=True)
class Section:
    """What one benchmark has given, and why it has given no more, if so."""

    name: str
    title: str
    comparisons: tuple[Comparison, ...]
    skipped: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """One run of the benchmarks, and the machine it was made on."""

    facts: dict[str, str]
    sections: tuple[Section, ...]


def print_comparison(comparison: Comparison, write: Callable[[str], None]) -> None:
    """Write a comparison as text, a line per figure and per ratio."""
    write(f"\n{comparison.title} ({comparison.unit})")
    for figure in comparison.figures:
        write(f"  {_label(figure, comparison):<52} {_numbers(figure)}")
    for goal in comparison.goals:
        write(f"  {goal.what:<52} {goal.ratio:>10.2f} x   {describe_goal(goal)}")
    for note in comparison.notes:
        write(f"  {note}")


def describe_goal(goal: Goal) -> str:
    """The bound of a goal and whether it is reached; nothing where there is no bound."""
    bounds = []
    if goal.at_least is not None:
        bounds.append(f"at least {goal.at_least:g}")
    if goal.at_most is not None:
        bounds.append(f"at most {goal.at_most:g}")
    return f"goal {' and '.join(bounds)}: {'yes' if goal.is_reached else 'NO'}" if bounds else ""


def write_report(report: Report, folder: Path = FOLDER) -> Path:
    """Write `report.json` into `folder`; gives its path."""
    folder.mkdir(exist_ok=True)
    path = folder / "report.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(asdict(report))))
    return path


def _label(figure: Figure, comparison: Comparison) -> str:
    return figure.name if figure.at is None else f"{figure.name}, {figure.at:,g} {comparison.axis}"


def _numbers(figure: Figure) -> str:
    low, high = min(figure.values), max(figure.values)
    middle = statistics.median(figure.values)
    return f"{_short(middle):>10}   ({_short(low)} to {_short(high)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
