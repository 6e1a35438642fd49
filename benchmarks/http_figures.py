"""Rates and latencies of several sides under load, at several numbers of clients."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.load import Measured
from benchmarks.measure import Chart, Comparison, Effort, Figure, Goal, alternate

CLIENTS = (1, 8, 64)
QUICK_CLIENTS = (8,)
Side = Callable[[int], Measured]
"""Puts the load of so many clients on one server."""


class HttpFigures:
    """What sides gave: requests or jobs a second, and the median and p99 of how long each took."""

    def __init__(self) -> None:
        self._rates: list[Figure] = []
        self._latencies: dict[str, list[Figure]] = {"p50": [], "p99": []}

    def measure(self, sides: Mapping[str, Side], effort: Effort) -> None:
        """Let the sides take turns at each number of clients."""
        for clients in QUICK_CLIENTS if effort.quick else CLIENTS:
            self._at(clients, sides, effort)

    def _at(self, clients: int, sides: Mapping[str, Side], effort: Effort) -> None:
        found: dict[str, list[Measured]] = defaultdict(list)

        def rate(name: str) -> float:
            found[name].append(sides[name](clients))
            return found[name][-1].rate

        self._rates += alternate({name: partial(rate, name) for name in sides}, effort, clients)
        for percentile, figures in self._latencies.items():
            for name, measured in found.items():
                after_warming_up = [1000 * getattr(each, percentile) for each in measured[1:]]
                figures.append(Figure(name, tuple(after_warming_up), clients))

    def median_rate(self, name: str, clients: int) -> float:
        """The median rate of a side."""
        return next(
            figure.median for figure in self._rates if (figure.name, figure.at) == (name, clients)
        )

    def comparisons(
        self, name: str, what: str, unit: str, goals: tuple[Goal, ...], notes: tuple[str, ...]
    ) -> tuple[Comparison, Comparison, Comparison]:
        """The rates with the goals, then both latencies."""
        median, highest = (
            Comparison(
                f"{name}-{percentile}",
                f"{what}: {words} of how long each takes",
                "ms",
                tuple(self._latencies[percentile]),
                chart=Chart.LINES,
                axis="clients",
            )
            for percentile, words in (("p50", "the median"), ("p99", "p99"))
        )
        rates = Comparison(
            name, what, unit, tuple(self._rates), goals, Chart.LINES, "clients", notes
        )
        return rates, median, highest
