"""Tiny tasks through the pool and through its like: how many a second, and how long each takes."""

import statistics
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
from msgspec import Raw

from benchmarks.contenders import Place, is_installed
from benchmarks.measure import Comparison, Effort, Figure, Goal, against_each, alternate
from benchmarks.side_process import Load, SideProcess
from server.machine import Machine
from server.messages import Task
from server.pool import Outcome
from server.process_pool import ProcessPool
from server.shared_data import SharedRegion, write_table
from server.table import Names, Table, group_tree

SIDES = ("process pool", "ProcessPoolExecutor", "multiprocessing.Pool", "loky", "mpire")
BARE = "socket pair"
"""Two processes that wait for each other, and nothing else: no pool can be quicker."""

LONGEST_ROUND_TRIP = 80.0
"""What the median on an idle pool is meant to be at most, in microseconds."""

HUNDREDTH = 99

IN_FLIGHT = 16
TASKS = 3_000
ROUND_TRIPS = 1_000
CATALOGUE = "benchmarks.tiny_tasks"


class Counter:
    """A listener that lets IN_FLIGHT tasks run at a time."""

    def __init__(self) -> None:
        self.free = threading.Semaphore(IN_FLIGHT)

    def task_started(self, task: Task) -> None:
        """Nothing to do."""

    def task_ended(self, outcome: Outcome) -> None:
        """Make room for one more."""
        assert outcome.data is not None, outcome.reason
        self.free.release()


@contextmanager
def open_pool(counter: Any, workers: int) -> Iterator[ProcessPool]:
    """The pool with tiny statistics over an empty table."""
    with (
        empty_region() as region,
        ProcessPool(counter, workers=workers, table_fd=region.fd, catalogue=CATALOGUE) as pool,
    ):
        yield pool


@contextmanager
def empty_region() -> Iterator[SharedRegion]:
    """A table without rows, in a sealed region."""
    keys = [np.zeros(0, np.int32)] * 5
    none = np.zeros(0)
    question, location, category, stratum, year = group_tree(keys, none)
    levels = (question, location, category, stratum, year)
    table = Table("0", Names((), (), (), ()), *keys, none, none, levels)
    with SharedRegion() as region:
        write_table(region.fd, table)
        region.seal()
        yield region


def measure(effort: Effort) -> Iterator[Comparison]:
    """The rates of all sides, then how long one task takes in an idle pool."""
    workers = Machine().cores()
    names = [name for name in SIDES if is_installed(name)]
    notes = tuple(f"{name} is not installed" for name in SIDES if name not in names)
    with ExitStack() as opened:
        region = opened.enter_context(empty_region())
        place = Place(workers, region.fd, CATALOGUE)
        sides = {name: opened.enter_context(SideProcess(name, place)) for name in names}
        yield _rates(sides, workers, effort, notes)
        bare = opened.enter_context(SideProcess(BARE, place))
        yield from _round_trips({**sides, BARE: bare}, effort, notes)


def _load(count: int, in_flight: int) -> Load:
    return Load("nothing", Raw(b'{"question":"obesity"}'), count, in_flight)


def _rates(
    sides: Mapping[str, SideProcess], workers: int, effort: Effort, notes: tuple[str, ...]
) -> Comparison:
    load = _load(max(200, int(TASKS * effort.seconds)), IN_FLIGHT)
    figures = alternate({name: partial(_rate, side, load) for name, side in sides.items()}, effort)
    return Comparison(
        "tiny-tasks",
        f"Tiny tasks through {workers} workers, {IN_FLIGHT} in flight",
        "tasks/s",
        tuple(figures),
        against_each(figures, at_least=4.0),
        notes=notes,
    )


def _rate(side: SideProcess, load: Load) -> float:
    done = side.run(load)
    assert done.answers == ["1"], done.answers
    return load.count / done.seconds


def _round_trips(
    sides: Mapping[str, SideProcess], effort: Effort, notes: tuple[str, ...]
) -> Iterator[Comparison]:
    load = _load(max(100, int(ROUND_TRIPS * effort.seconds)), 1)
    highest: dict[str, list[float]] = {name: [] for name in sides}

    def median(name: str) -> float:
        took = [1e6 * seconds for seconds in sides[name].run(load).round_trips]
        highest[name].append(statistics.quantiles(took, n=100)[HUNDREDTH - 1])
        return statistics.median(took)

    medians = alternate({name: partial(median, name) for name in sides}, effort)
    ours, executor = medians[:2]
    yield Comparison(
        "tiny-round-trip",
        "Round trip of one tiny task, idle pool: median",
        "\N{MICRO SIGN}s",
        tuple(medians),
        (
            Goal(
                f"{ours.name} against {LONGEST_ROUND_TRIP:g} \N{MICRO SIGN}s",
                ours.median / LONGEST_ROUND_TRIP,
                at_most=1.0,
            ),
            Goal(
                f"{ours.name} against {executor.name}",
                ours.median / executor.median,
                at_most=1 / 3,
            ),
        ),
        notes=notes,
    )
    after_warming_up = [Figure(name, tuple(values[1:])) for name, values in highest.items()]
    yield Comparison(
        "tiny-round-trip-p99",
        f"Round trip of one tiny task, idle pool: p99 of {load.count}",
        "\N{MICRO SIGN}s",
        tuple(after_warming_up),
        against_each(after_warming_up),
        notes=notes,
    )
