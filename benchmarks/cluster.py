"""What a Dask cluster costs against local processes, and from which size of a part it is worth it.

All on this one machine, with a real scheduler and real workers: so what is measured is what
the cluster adds to a task, not what more machines take away from a job.
"""

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.cluster_sides import Side, a_cluster, joined, local, on_dask, region_of, wait_until
from benchmarks.dask_cluster import DaskCluster
from benchmarks.measure import Chart, Comparison, Effort, Figure, Skipped, alternate, silent
from server.shared_data import SharedRegion

LOCAL, DASK = "process pool", "Dask"
WORKERS = 2
LENGTHS = (1, 2, 5, 10, 20, 50)
"""Milliseconds that a part takes."""

SHARE = 0.4
"""Of `Effort.seconds`: how long a run is to take, since there are many."""

BUSY = 20
"""Milliseconds of computing in a part, where workers are compared with twice as many."""

TINY = 500
ROUND_TRIPS = 100
ROWS = 1_000_000


def measure(effort: Effort) -> Iterator[Comparison]:
    """What a task costs, what is left of a part's time, what more workers and columns take."""
    if find_spec("distributed") is None:
        raise Skipped("Dask is not installed")
    effort = replace(effort, seconds=SHARE * effort.seconds)
    with silent():
        yield from _compared(effort)


def _compared(effort: Effort) -> Iterator[Comparison]:
    with ExitStack() as opened:
        sides = {
            LOCAL: opened.enter_context(local(WORKERS)),
            DASK: opened.enter_context(on_dask(WORKERS)),
        }
        yield _rates(sides, effort)
        yield _cores(sides[DASK], effort)
        yield _round_trips(sides, effort)
        yield _by_length(sides, effort)
    yield _one_and_two(effort)
    yield _sending(effort)


# -- what is measured -----------------------------------------------------------------


def _rates(sides: dict[str, Side], effort: Effort) -> Comparison:
    count = TINY // (5 if effort.quick else 1)
    runs = {name: partial(_rate, side, "pause", 0.0, count) for name, side in sides.items()}
    figures = alternate(runs, effort)
    ours, theirs = (1000 * WORKERS / figure.median for figure in figures)
    return Comparison(
        "cluster-rate",
        f"Tasks that take no time, {WORKERS} workers",
        "tasks/s",
        tuple(figures),
        notes=(f"Dask adds {theirs - ours:.2f} ms of a worker's time to each task",),
    )


def _rate(side: Side, statistic: str, milliseconds: float, count: int) -> float:
    return count / side.seconds(statistic, milliseconds, count)


def _cores(side: Side, effort: Effort) -> Comparison:
    """What a task costs those who can have only one core each: they bound a large cluster."""
    count = TINY // (5 if effort.quick else 1)
    server, scheduler = [], []
    for run in range(effort.runs):
        effort.tell(f"the time of a core, run {run + 1} of {effort.runs}")
        before = time.process_time(), _core_seconds(side.scheduler)
        side.seconds("pause", 0.0, count)
        server.append(1000 * (time.process_time() - before[0]) / count)
        scheduler.append(1000 * (_core_seconds(side.scheduler) - before[1]) / count)
    return Comparison(
        "cluster-cores",
        "The time of a core that one task on Dask takes",
        "ms",
        (Figure("the server's", tuple(server)), Figure("the scheduler's", tuple(scheduler))),
    )


def _core_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _round_trips(sides: dict[str, Side], effort: Effort) -> Comparison:
    count = ROUND_TRIPS // (10 if effort.quick else 1)

    def median(side: Side) -> float:
        return 1000 * statistics.median(side.seconds("pause", 0.0, 1) for _ in range(count))

    runs = {name: partial(median, side) for name, side in sides.items()}
    return Comparison(
        "cluster-round-trip",
        "One task in an idle pool, there and back, median",
        "ms",
        tuple(alternate(runs, effort)),
    )


def _by_length(sides: dict[str, Side], effort: Effort) -> Comparison:
    """How much of the workers' time goes into parts, by how long these are."""
    figures: list[Figure] = []
    for length in LENGTHS[:: 3 if effort.quick else 1]:
        count = WORKERS * max(2, round(1000 * effort.seconds / length))  # equally many each
        runs = {name: partial(_share, side, length, count) for name, side in sides.items()}
        figures += alternate(runs, effort, at=length)
    return Comparison(
        "cluster-by-length",
        "The share of the workers' time that goes into parts",
        "of 1",
        tuple(figures),
        chart=Chart.LINES,
        axis="ms that a part takes",
        notes=(_worth_it(figures),),
    )


def _share(side: Side, length: float, count: int) -> float:
    return length * count / 1000 / WORKERS / side.seconds("pause", length, count)


def _worth_it(figures: list[Figure]) -> str:
    """From which length on twice the workers do half as much again as the local ones."""
    local = {figure.at: figure.median for figure in figures if figure.name == LOCAL}
    for figure in figures:
        if figure.name == DASK and 2 * figure.median >= 1.5 * local[figure.at]:
            return (
                f"with parts of {figure.at:g} ms or more, twice as many workers on a cluster do"
                " at least 1.5 times what the local ones do"
            )
    return "no part was long enough for twice as many workers on a cluster to do 1.5 times as much"


def _one_and_two(effort: Effort) -> Comparison:
    """Parts that keep a core busy, on one worker and on two of each kind."""
    count = max(8, round(1000 * effort.seconds / BUSY))
    figures: list[Figure] = []
    for workers in (1, 2):
        with local(workers) as ours, on_dask(workers) as theirs:
            runs = {
                name: partial(_rate, side, "compute", BUSY, count)
                for name, side in ((LOCAL, ours), (DASK, theirs))
            }
            figures += alternate(runs, effort, at=workers)
    return Comparison(
        "cluster-workers",
        f"Parts that compute for {BUSY} ms",
        "parts/s",
        tuple(figures),
        chart=Chart.LINES,
        axis="workers",
        notes=("the scheduler and the server need a share of the same cores",),
    )


def _sending(effort: Effort) -> Comparison:
    """From a server's start until a worker has its columns: sent, and found on the host."""
    sent, found = [], []
    rows = ROWS // (10 if effort.quick else 1)
    with a_cluster(1) as cluster:
        with region_of(48) as small, joined(cluster, small) as side:
            wait_until(lambda: [each.state for each in side.pool.workers()] == ["idle"])
        for run in range(effort.runs):
            effort.tell(f"columns, run {run + 1} of {effort.runs}")
            with region_of(rows + run) as region:  # never the same, so that it has to be sent
                size = os.fstat(region.fd).st_size
                sent.append(_seconds_until_ready(cluster, region))
                found.append(_seconds_until_ready(cluster, region))
    return Comparison(
        "cluster-columns",
        f"A worker gets {size / 2**20:.0f} MiB of columns",
        "s",
        (Figure("sent to its host", tuple(sent)), Figure("it has them", tuple(found))),
        notes=("from the server's start, which digests its columns first",),
    )


def _seconds_until_ready(cluster: DaskCluster, region: SharedRegion) -> float:
    begun = time.perf_counter()
    with joined(cluster, region) as side:
        wait_until(lambda: [each.state for each in side.pool.workers()] == ["idle"])
        return time.perf_counter() - begun
