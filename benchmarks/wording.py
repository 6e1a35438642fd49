"""How figures, ratios and goals are written, the same in a terminal, a chart and the page."""

from benchmarks.measure import Comparison, Figure, Goal


def short(value: float) -> str:
    """A number with three digits that count, or whole with commas from a thousand on.

    Very large and very small ones have an exponent: `1.50e-07`.
    """
    size = abs(value)
    if size == 0:
        return "0"
    if 999.5 <= size < 1e12:
        return f"{value:,.0f}"
    if 0.001 <= size < 999.5:
        return f"{value:#.3g}".rstrip(".")
    return f"{value:.2e}"


def duration(seconds: float) -> str:
    """So many seconds, in minutes where it is more than one: `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{short(seconds)} s"


def at(place: float) -> str:
    """A place on an axis, with all its digits: `18,650`, `0.05`."""
    return f"{place:,.10g}"


def place(figure: Figure, comparison: Comparison) -> str:
    """Where on its axis a figure stands: `2 workers`; empty where it has no place."""
    return "" if figure.at is None else f"{at(figure.at)} {comparison.axis}".strip()


def label(figure: Figure, comparison: Comparison) -> str:
    """A figure's name and place: `process pool, 2 workers`."""
    return ", ".join(filter(None, (figure.name, place(figure, comparison))))


def bounds(goal: Goal) -> str:
    """What a ratio is meant to be: `at least 4`; empty where it is only told."""
    least = None if goal.at_least is None else f"at least {goal.at_least:.3g}"
    most = None if goal.at_most is None else f"at most {goal.at_most:.3g}"
    return " and ".join(filter(None, (least, most)))


def verdict(goal: Goal) -> str:
    """Whether a goal is reached; empty where there is none."""
    if not goal.is_bound:
        return ""
    return "reached" if goal.is_reached else "missed"
