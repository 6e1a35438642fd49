"""Tiny jobs a second without HTTP: this project's pool and service against queues on a Redis."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from msgspec import Raw

from benchmarks.contenders import Place
from benchmarks.flight import IN_FLIGHT, QUESTION, flight
from benchmarks.measure import Comparison, Effort, Figure, Goal, alternate
from benchmarks.pool_tasks import CATALOGUE, empty_region
from benchmarks.rivals.queues import installed, redis_server, working
from benchmarks.rivals.task import NOTHING
from benchmarks.side_process import Load, SideProcess
from server.machine import Machine

POOL = "process pool"
JOBS = "jobs, durability full"
QUEUES = ("Celery", "RQ", "Huey", "RQ, SimpleWorker", "Dramatiq", "Dask")
QUICK_QUEUES = ("Huey",)
TIMES_THE_BEST = 10.0
"""How many times as many as the best queue the pool is meant to do."""

POOL_TASKS = 30_000
"""About how many the pool does in a second."""

SHARE = 0.25
"""Of `Effort.seconds`: how long a run is to take, since there are many sides."""

ABOUT = (
    "queues have a Redis that writes nothing to disk; our jobs are on disk before they begin,"
    " those that come together by one commit, and each has its file in the end"
)
ABOUT_RUNS = "a run begins with jobs that are not counted, so that no worker still sleeps"

Side = Callable[[float], float]
"""Runs jobs for so many seconds; gives how many a second."""


def measure(effort: Effort) -> Iterator[Comparison]:
    """The rates of all sides."""
    names, missing = installed(QUICK_QUEUES if effort.quick else QUEUES)
    with ExitStack() as opened:
        redis = opened.enter_context(redis_server())
        sides: dict[str, Side] = {
            POOL: _pool(opened),
            JOBS: opened.enter_context(flight("benchmarks.durable_jobs", {})),
        }
        for name in names:
            effort.tell(f"{name} starts")
            sides[name] = opened.enter_context(_queue(name, redis))
        seconds = SHARE * effort.seconds
        figures = alternate({name: partial(side, seconds) for name, side in sides.items()}, effort)
    yield Comparison(
        "queue-rivals",
        f"Tiny jobs without HTTP, {IN_FLIGHT} in flight, {Machine().cores()} workers",
        "jobs/s",
        tuple(figures),
        tuple(_goals(figures)),
        notes=(ABOUT, ABOUT_RUNS, *missing),
    )


def _pool(opened: ExitStack) -> Side:
    region = opened.enter_context(empty_region())
    place = Place(Machine().cores(), region.fd, CATALOGUE)
    side = opened.enter_context(SideProcess(POOL, place))

    def rate(seconds: float) -> float:
        number = max(IN_FLIGHT, int(POOL_TASKS * seconds))
        return number / side.run(Load(NOTHING, Raw(QUESTION.encode()), number, IN_FLIGHT)).seconds

    return rate


@contextmanager
def _queue(name: str, redis: str) -> Iterator[Side]:
    with (
        working(name, redis, os.devnull, Machine().cores()) as environment,
        flight(environment["RIVAL"], environment) as side,
    ):
        yield side


def _goals(figures: list[Figure]) -> Iterator[Goal]:
    """Ours against the best of the others; they keep nothing, so the bound is the pool's."""
    (pool, jobs), others = figures[:2], figures[2:]
    if not others:
        return
    best = max(others, key=lambda figure: figure.median)
    words = f"{pool.name} against {best.name}"
    yield Goal(words, pool.median / best.median, at_least=TIMES_THE_BEST)
    yield Goal(f"{jobs.name} against {best.name}", jobs.median / best.median)
