"""A report of every kind of chart, with names and values that are hard to show."""

from dataclasses import replace

from benchmarks.measure import Chart, Comparison, Figure, Goal
from benchmarks.results import Report, Section

LONG = "a name of many words that goes on and on " * 6
ODD = (
    Figure("<script>alert(1)</script>", (2.0, 1.0, 4.0)),
    Figure('"quotes" & $dollars_1$', (3.5,)),
    Figure(LONG, (1.25e13, 1.5e13, 1.75e13)),
    Figure("tiny", (4.2e-9, 4.3e-9)),
    Figure("zero", (0.0, 0.0)),
)


def figure(name: str, at: float | None, *values: float) -> Figure:
    """A figure with a place, in fewer brackets."""
    return Figure(name, values, at)


LINES = Comparison(
    "pools-loop",
    "A loop in Python",
    "tasks/s",
    (
        *(figure("process pool", 1, 99, 101, 100), figure("process pool", 2, 190, 200, 210)),
        *(figure("thread pool", 1, 98, 97, 96), figure("thread pool", 2, 50, 51, 52)),
        *(figure("bare processes", 1, 101), figure("bare processes", 2, 160, 160, 160)),
        *(figure("ideal: twice as much", 1, 102), figure("ideal: twice as much", 2, 204)),
    ),
    (
        Goal("process pool against thread pool", 3.92, at_least=1.9),
        Goal("process pool against bare processes", 0.5, at_least=0.95),
        Goal("told of, and no goal", 1.77),
    ),
    chart=Chart.LINES,
    axis="workers",
    notes=("a note with <b>a tag</b>",),
)
STACK = Comparison(
    "stages",
    "Where the time goes",
    "µs",
    (figure("waits", 1, 7), figure("computes", 1, 31), figure("waits", 30, 8)),
    chart=Chart.STACK,
    axis="ms of computing",
)
BARS = Comparison("odd", "Odd <names>", "ms", ODD, (Goal("odd against zero", 0.1, at_most=1 / 3),))
UNDRAWN = Comparison("kills", "A killed worker", "ms", (Figure("40 kills", (6.25,)),))
REPORT = Report(
    {"date": "2026-01-02 03:04:05+00:00", "processor": "<Fast> & hot", "command": "make bench"},
    (
        Section("pools", "Pools", (LINES,), "", 61.2),
        Section("stages", "Others", (STACK, BARS, replace(UNDRAWN, chart=Chart.NONE)), "", 0.5),
        Section("queues", "Queues", (), "no redis-server <here>", 0.01),
    ),
)
