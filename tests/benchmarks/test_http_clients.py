"""The benchmark of this project's server through HTTP, run for real and briefly."""

import math

from benchmarks import http_clients
from benchmarks.http_figures import QUICK_CLIENTS
from benchmarks.measure import Chart, Comparison, Effort
from tests.support import pools

nothing_left_behind = pools.nothing_left_behind

BRIEF = Effort(runs=1, seconds=0.1, quick=True)


def _check_figures(comparison: Comparison) -> None:
    for figure in comparison.figures:
        assert len(figure.values) == BRIEF.runs
        assert all(math.isfinite(value) and value > 0 for value in figure.values)


def test_every_way_of_asking_has_its_rates_and_latencies() -> None:
    """That nothing is refused, the generators see to."""
    *by_clients, cache = http_clients.measure(BRIEF)
    names = [comparison.name for comparison in by_clients]
    assert names == ["http-clients", "http-clients-p50", "http-clients-p99"]
    for comparison in by_clients:
        assert comparison.chart is Chart.LINES
        assert {figure.at for figure in comparison.figures} == set(QUICK_CLIENTS)
        assert len(comparison.figures) == 4
        _check_figures(comparison)
    _, medians, highest = by_clients
    for median, high in zip(medians.figures, highest.figures, strict=True):
        assert median.values[0] <= high.values[0]
    assert [figure.name for figure in cache.figures] == ["from the cache", "computed"]
    _check_figures(cache)
