"""What the length of a table costs: loading it, the nine statistics of group sums, a worker.

Tables of the CDC's format from 18,650 rows to 10 million; the long ones are left out where the
benchmark is to be quick. The longest is loaded once by each library, and several times only by
the one that was the fastest with the table before.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import table_queries
from benchmarks.made_tables import DESCRIPTION, made_table
from benchmarks.measure import Chart, Comparison, Effort, Figure, Goal, Skipped, alternate
from benchmarks.pool_tasks import Counter
from benchmarks.table_loaders import LOADERS
from server.interpreter import module_command, module_environment
from server.loader import load_region
from server.process_pool import ProcessPool
from server.settings import ROOT
from server.shared_data import SharedRegion, attach_table, write_table
from server.table import Table

ROWS = (18_650, 106_260, 1_000_000, 10_000_000)
LONG = 10_000_000
MIDDLE = 1_000_000
QUICK_LOADERS = 3
"""How many of the loaders a quick run has several runs of."""

OURS, CACHED = list(LOADERS)[:2]
ATTACHED = 200_000_000  # bytes
MIB = 2**20


def measure(effort: Effort) -> Iterator[Comparison]:
    """The comparisons of loading, of the statistics, of workers, and of attaching."""
    try:
        import duckdb  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise Skipped(f"{error.name} is not installed") from None
    rows = [many for many in ROWS if many < MIDDLE or not effort.quick]
    for many in rows:
        effort.tell(f"making the table of {many:,} rows")
        made_table(many)
    yield from _loading(rows[-1:] if effort.quick else rows, effort)
    yield from _statistics(rows, effort)
    yield _workers(rows, effort)
    yield _attaching(effort)


# -- loading --------------------------------------------------------------------------


def _loading(rows: list[int], effort: Effort) -> Iterator[Comparison]:
    seconds: list[Figure] = []
    memory: list[Figure] = []
    goals: list[Goal] = []
    often = list(LOADERS)[: QUICK_LOADERS if effort.quick else None]
    for many in rows:
        effort.tell(f"loading {many:,} rows")
        _load("keep", many)
        once = {name: _load(name, many) for name in LOADERS if name not in often}
        peaks: dict[str, list[float]] = {name: [] for name in often}
        loaders = {name: _loader(name, many, peaks[name]) for name in often}
        # Each run is a process of its own, and the file has just been read.
        figures = alternate(loaders, effort, at=many, warm=many >= MIDDLE)
        figures += [Figure(name, (told["seconds"],), many) for name, told in once.items()]
        seconds += figures
        memory += [
            Figure(name, tuple(values[-effort.runs :]), many) for name, values in peaks.items()
        ]
        memory += [Figure(name, (told["memory"] / MIB,), many) for name, told in once.items()]
        medians = {each.name: each.median for each in figures}
        if many >= MIDDLE:
            goals += _loading_goals(many, medians)
            often = [OURS, CACHED, _fastest(medians)]
    notes = (
        f"the import of the library is included; {OURS} also sorts the rows and builds the sums",
        "what has no range was loaded once",
    )
    yield Comparison(
        "table-load",
        "A CSV file loaded by a fresh process",
        "s",
        tuple(seconds),
        tuple(goals),
        chart=Chart.LINES,
        axis="rows",
        notes=notes,
    )
    yield Comparison(
        "table-load-memory",
        "The peak of memory while it is loaded",
        "MiB",
        tuple(memory),
        chart=Chart.LINES,
        axis="rows",
    )


def _loading_goals(many: int, medians: dict[str, float]) -> Iterator[Goal]:
    fastest = _fastest(medians)
    against = medians[OURS] / medians[fastest]
    yield Goal(f"{OURS} against {fastest}, {many:,} rows", against, at_most=1.5)
    if many == LONG:
        yield Goal(f"{CACHED} against 1 s, {many:,} rows", medians[CACHED], at_most=1.0)


def _fastest(medians: dict[str, float]) -> str:
    return min(set(medians) - {OURS, CACHED}, key=medians.__getitem__)


def _loader(name: str, many: int, peaks: list[float]) -> Callable[[], float]:
    def load() -> float:
        told = _load(name, many)
        peaks.append(told["memory"] / MIB)
        return told["seconds"]

    return load


def _load(name: str, many: int) -> dict[str, float]:
    command = module_command("benchmarks.table_loaders", name, str(made_table(many)))
    environment = module_environment()
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    told: dict[str, float] = json.loads(done.stdout)
    return told


# -- the nine statistics --------------------------------------------------------------


def _statistics(rows: list[int], effort: Effort) -> Iterator[Comparison]:
    means: list[Figure] = []
    goals: list[Goal] = []
    for many in rows:
        with _table(many) as table:
            figures = list(_each_statistic(table, many, effort))
        yield _one_length(many, figures)
        for side in ("this server", *table_queries.ENGINES):
            medians = [each.median for each in figures if each.name.endswith(f", {side}")]
            means.append(Figure(side, (sum(medians) / len(medians),), many))
        if many in (ROWS[0], LONG):
            goals += _library_goals(many, figures)
    ours = [each.median for each in means if each.name == "this server"]
    words = f"this server, {rows[-1]:,} against {rows[0]:,} rows"
    yield Comparison(
        "group-sums",
        "The nine statistics of group sums, the mean of the nine",
        "µs",
        tuple(means),
        (Goal(words, ours[-1] / ours[0], at_most=1.2), *goals),
        chart=Chart.LINES,
        axis="rows",
    )


def _one_length(many: int, figures: list[Figure]) -> Comparison:
    title = f"The nine statistics of group sums, {many:,} rows"
    return Comparison(f"group-sums-{many}", title, "µs", tuple(figures), chart=Chart.NONE)


def _each_statistic(table: Table, many: int, effort: Effort) -> Iterator[Figure]:
    ours = table_queries.ours(table)
    sides = {name: make(table) for name, make in table_queries.ENGINES.items()}
    for name in table_queries.NAMES:
        expected = table_queries.answers(name, ours[name]())
        queries = {f"{name}, this server": ours[name]}
        for side, theirs in sides.items():
            _check_same(f"{name}, {side}", expected, table_queries.answers(name, theirs[name]()))
            queries[f"{name}, {side}"] = theirs[name]
        timed = {each: _timed(query, effort) for each, query in queries.items()}
        yield from alternate(timed, effort, at=many)


def _check_same(
    what: str, expected: list[tuple[str, float]], found: list[tuple[str, float]]
) -> None:
    assert [key for key, _ in found] == [key for key, _ in expected], what
    ours, theirs = ([value for _, value in each] for each in (expected, found))
    np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-9, err_msg=what)


def _timed(query: Callable[[], object], effort: Effort) -> Callable[[], float]:
    """Microseconds for one answer; as many are asked for as fit into a part of the time."""
    limit = effort.seconds / 50

    def run() -> float:
        begun, asked = time.perf_counter(), 0
        while (taken := time.perf_counter() - begun) < limit or not asked:
            query()
            asked += 1
        return taken / asked * 1e6

    return run


def _library_goals(many: int, figures: list[Figure]) -> Iterator[Goal]:
    """For each library, the middle one of the nine ratios, and the least of them."""
    medians = {each.name: each.median for each in figures}
    bound = 500.0 if many == LONG else 50.0
    for side in table_queries.ENGINES:
        ratios = {
            name: medians[f"{name}, {side}"] / medians[f"{name}, this server"]
            for name in table_queries.NAMES
        }
        words = f"{side} against this server, {many:,} rows"
        yield Goal(f"{words}, median", statistics.median(ratios.values()), at_least=bound)
        least = min(ratios, key=ratios.__getitem__)
        yield Goal(f"{words}, {least}", ratios[least])


@contextmanager
def _table(many: int) -> Iterator[Table]:
    with load_region(made_table(many), DESCRIPTION, _cache(many)) as region:
        yield attach_table(region.fd, populate=True)


def _cache(many: int) -> Path:
    return made_table(many).with_suffix(".cache")


# -- workers --------------------------------------------------------------------------


def _workers(rows: list[int], effort: Effort) -> Comparison:
    figures = []
    for many in rows:
        effort.tell(f"workers over {many:,} rows")
        with (
            load_region(made_table(many), DESCRIPTION, _cache(many)) as region,
            ProcessPool(Counter(), workers=2, table_fd=region.fd, catalogue="server.stats") as pool,
        ):
            own = tuple(_private(each.pid) / MIB for each in pool.workers())
        figures.append(Figure("one worker", own, many))
    worst = max(each.median for each in figures)
    return Comparison(
        "worker-memory",
        "Memory that is a worker's own, just started",
        "MiB",
        tuple(figures),
        (Goal("the largest against 15 MiB", worst / 15, at_most=1.0),),
        chart=Chart.LINES,
        axis="rows",
    )


def _private(pid: int) -> int:
    """The bytes that no other process shares with it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _attaching(effort: Effort) -> Comparison:
    """The milliseconds until a column of a table of 200 MB can be read, and what that takes."""
    with _table(ROWS[0]) as small, SharedRegion() as region:
        write_table(region.fd, replace(small, value=np.zeros(ATTACHED // 8)))
        region.seal()
        before = _private(os.getpid())
        figures = alternate({"attaching": lambda: _milliseconds(region.fd)}, effort)
        grown = (_private(os.getpid()) - before) / MIB
    return Comparison(
        "attaching",
        "Attaching to a table of 200 MB",
        "ms",
        tuple(figures),
        (
            Goal("against 1 ms", figures[0].median, at_most=1.0),
            Goal("MiB of the process's own", grown, at_most=1.0),
        ),
        chart=Chart.NONE,
    )


def _milliseconds(fd: int) -> float:
    begun = time.perf_counter()
    assert attach_table(fd).value[0] == 0
    return (time.perf_counter() - begun) * 1000
