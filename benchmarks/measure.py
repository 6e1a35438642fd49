"""Measuring two or more sides fairly: alternating, several runs, medians and spread.

A benchmark is a module with `measure(effort)`, which yields one `Comparison` after the other
and raises `Skipped` where the machine lacks what it takes.
"""

import logging
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum


class Skipped(Exception):
    """A benchmark cannot run here; the text says what is missing."""


class Chart(StrEnum):
    """How the report draws a comparison."""

    BARS = "bars"
    LINES = "lines"
    STACK = "stack"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is to be measured, and who is told how far it is."""

    runs: int = 5
    """How often each side is run, after one run of warming up."""
    seconds: float = 1.0
    """About how long one run of one side shall take, where the benchmark can choose."""
    quick: bool = False
    """Whether the long ones (large tables, many clients) are left out."""
    tell: Callable[[str], None] = field(default=lambda text: None)
    """Called with what is being measured, before each run."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What one side gave, one value per run."""

    name: str
    values: tuple[float, ...]
    at: float | None = None
    """Where on the horizontal axis of a chart of lines the figure stands."""

    @property
    def median(self) -> float:
        """The middle of the runs."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least of the runs."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest of the runs."""
        return max(self.values)


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio of medians, and what it is meant to be; with no bound it is only told."""

    what: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_bound(self) -> bool:
        """Whether the ratio is meant to be anything."""
        return self.at_least is not None or self.at_most is not None

    @property
    def is_reached(self) -> bool:
        """Whether the ratio is within the bounds."""
        low_enough = self.at_most is None or self.ratio <= self.at_most
        return low_enough and (self.at_least is None or self.ratio >= self.at_least)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures that belong together: one table and one chart of the report.

    In a chart of lines the figures of one name make a line, a broken one if the name begins
    with "ideal"; the figures of a stack are the pieces of a bar, one bar for each `at`.
    """

    name: str
    """Short, without spaces, the same in every report."""
    title: str
    unit: str
    figures: tuple[Figure, ...]
    goals: tuple[Goal, ...] = ()
    chart: Chart = Chart.BARS
    axis: str = ""
    """What `at` means: "workers", "clients", "rows"."""
    notes: tuple[str, ...] = ()


def alternate(
    sides: Mapping[str, Callable[[], float]],
    effort: Effort,
    at: float | None = None,
    *,
    warm: bool = False,
) -> list[Figure]:
    """What each side gave in `effort.runs` runs, after one of warming up unless all are `warm`.

    The sides take turns, so that whatever else the machine does falls on all of them.
    """
    if not warm:
        for name, side in sides.items():
            effort.tell(f"{name}, warming up")
            side()
    values: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(effort.runs):
        for name, side in sides.items():
            effort.tell(f"{name}, run {run + 1} of {effort.runs}")
            values[name].append(side())
    return [Figure(name, tuple(runs), at) for name, runs in values.items()]


def against_each(figures: list[Figure], **bounds: float) -> tuple[Goal, ...]:
    """How the first figure's median relates to each other one's."""
    first, *others = figures
    return tuple(
        Goal(f"{first.name} against {other.name}", first.median / other.median, **bounds)
        for other in others
    )


@contextmanager
def silent() -> Iterator[None]:
    """What pools have to say is of no interest here, and is again when this is left."""
    logger = logging.getLogger("sportiv")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
