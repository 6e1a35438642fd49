"""Measuring two or more sides fairly: alternating, several rounds, medians."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One side's rate over several rounds, per second."""

    name: str
    rates: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.rates)

    def __str__(self) -> str:
        low, high = min(self.rates), max(self.rates)
        return f"{self.name:<42} {self.median:>10,.0f} /s   ({low:,.0f} to {high:,.0f})"


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> list[Figure]:
    """Each side's rates over `rounds` rounds, after one round of warming up.

    A side is called once a round and gives a rate; the sides take turns, so that whatever
    else the machine does falls on all of them.
    """
    for side in sides.values():
        side()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            rates[name].append(side())
    return [Figure(name, tuple(values)) for name, values in rates.items()]


def report(title: str, figures: list[Figure], ratio: str) -> None:
    """Print the figures below `title`, and how the first relates to each other one."""
    print(f"\n{title}")
    first, *others = figures
    for figure in figures:
        print(f"  {figure}")
    for other in others:
        print(f"  {ratio.format(other=other.name)}: {first.median / other.median:.2f}")
