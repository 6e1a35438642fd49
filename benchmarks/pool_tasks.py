"""Tiny tasks a second through the pool and through `ProcessPoolExecutor`."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from msgspec import Raw

from benchmarks.measure import Comparison, Effort, against_each, alternate
from server.machine import Machine
from server.messages import Task, TaskKind
from server.pool import Order, Outcome, TimeLimit
from server.process_pool import ProcessPool
from server.shared_data import SharedRegion, write_table
from server.stats.statistic import QuestionRequest, Statistic
from server.table import Names, Table, group_tree

IN_FLIGHT = 16


def _nothing(table: Table, request: Any, part: Any) -> int:
    return 1


STATISTICS = {"nothing": Statistic("nothing", "A tiny task.", QuestionRequest, _nothing)}


def nothing(argument: str) -> int:
    """The same tiny task, for an executor."""
    return 1


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
    import numpy as np

    keys = [np.zeros(0, np.int32)] * 5
    none = np.zeros(0)
    question, location, category, stratum, year = group_tree(keys, none)
    levels = (question, location, category, stratum, year)
    table = Table("0", Names((), (), (), ()), *keys, none, none, levels)
    with SharedRegion() as region:
        write_table(region.fd, table)
        region.seal()
        with ProcessPool(
            counter, workers=workers, table_fd=region.fd, catalogue="benchmarks.pool_tasks"
        ) as pool:
            yield pool


def _order(number: int) -> Order:
    task = Task(number, 0, TaskKind.WHOLE, "nothing", Raw(b'{"question":"obesity"}'), Raw(b"null"))
    return Order(task, TimeLimit(60.0), 1)


def _through_pool(pool: ProcessPool, counter: Counter, tasks: int) -> float:
    begun = time.perf_counter()
    for number in range(tasks):
        counter.free.acquire()
        pool.submit(_order(number))
    for _ in range(IN_FLIGHT):
        counter.free.acquire()
    rate = tasks / (time.perf_counter() - begun)
    for _ in range(IN_FLIGHT):
        counter.free.release()
    return rate


def _through_executor(executor: ProcessPoolExecutor, tasks: int) -> float:
    free = threading.Semaphore(IN_FLIGHT)

    def ended(future: Future[int]) -> None:
        assert future.result() == 1
        free.release()

    begun = time.perf_counter()
    for _ in range(tasks):
        free.acquire()
        executor.submit(nothing, '{"question":"obesity"}').add_done_callback(ended)
    for _ in range(IN_FLIGHT):
        free.acquire()
    return tasks / (time.perf_counter() - begun)


def measure(effort: Effort) -> Iterator[Comparison]:
    """Both rates and their ratio."""
    workers, counter = Machine().cores(), Counter()
    tasks = 3_000 if effort.quick else 10_000
    with (
        open_pool(counter, workers) as pool,
        ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as executor,
    ):
        figures = alternate(
            {
                "process pool": lambda: _through_pool(pool, counter, tasks),
                "ProcessPoolExecutor": lambda: _through_executor(executor, tasks),
            },
            effort,
        )
    yield Comparison(
        "tiny-tasks",
        f"Tiny tasks through {workers} workers, {IN_FLIGHT} in flight",
        "tasks/s",
        tuple(figures),
        against_each(figures, at_least=4.0),
    )
