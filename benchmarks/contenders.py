"""The pools that are compared: each runs the same tasks, over the same table, in its best way.

    begin(task, ended)   returns at once; `ended` is called with the answer, or the error

All processes have been started with `computing_environment`: one BLAS thread each, and the same
allocator. Where a pool lets us choose, its workers are forked by a `forkserver` that has
imported what they need, as those of this project are.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from typing import Any

from benchmarks import attached
from benchmarks.echo import LONGEST, echoing
from server.messages import Task
from server.pool import Order, Outcome, Pool, TimeLimit
from server.process_pool import ProcessPool
from server.shared_data import attach_table
from server.thread_pool import ThreadPool
from server.worker import compute

Ended = Callable[[bytes | BaseException], None]
Begin = Callable[[Task, Ended], object]


@dataclass(frozen=True, slots=True)
class Place:
    """What a pool is opened over: so many workers, a region, and a module with `STATISTICS`.

    A module may have `PLAIN` as well: functions by the names of its statistics, for pools
    that would be given a plain function for so small a task. They take the request.
    """

    workers: int
    table_fd: int
    catalogue: str

    def calls(self) -> Callable[[Task], tuple[Any, ...]]:
        """What another pool is given for a task: a function and its arguments."""
        plain: Mapping[str, Callable[[bytes], bytes]]
        plain = getattr(import_module(self.catalogue), "PLAIN", {})

        def call(task: Task) -> tuple[Any, ...]:
            if task.statistic in plain:
                return plain[task.statistic], bytes(task.request)
            texts = bytes(task.request), bytes(task.work)
            return attached.answer, task.statistic, str(task.kind), *texts

        return call

    def initializer(self) -> dict[str, Any]:
        """How another pool prepares its workers."""
        region = f"/proc/{os.getpid()}/fd/{self.table_fd}"
        return {"initializer": attached.attach, "initargs": (self.catalogue, region)}

    def context(self) -> ForkServerContext:
        """How another pool starts its workers."""
        context = get_context("forkserver")
        context.set_forkserver_preload([attached.__name__, self.catalogue])
        return context


def is_installed(name: str) -> bool:
    """Whether this contender can take part: loky and mpire are packages of their own."""
    return name not in ("loky", "mpire") or find_spec(name) is not None


# -- this project's -------------------------------------------------------------------


class _Listener:
    def __init__(self) -> None:
        self.waiting: dict[int, Ended] = {}

    def task_started(self, task: Task) -> None:
        """Nothing to do."""

    def task_ended(self, outcome: Outcome) -> None:
        """Hand the answer on."""
        ended = self.waiting.pop(outcome.task.job)
        ended(RuntimeError(outcome.reason) if outcome.data is None else bytes(outcome.data))


def _beginning(pool: Pool, listener: _Listener) -> Begin:
    def begin(task: Task, ended: Ended) -> None:
        listener.waiting[task.job] = ended
        pool.submit(Order(task, TimeLimit(600.0), 1))

    return begin


@contextmanager
def _process_pool(place: Place) -> Iterator[Begin]:
    listener = _Listener()
    with ProcessPool(
        listener, workers=place.workers, table_fd=place.table_fd, catalogue=place.catalogue
    ) as pool:
        yield _beginning(pool, listener)


@contextmanager
def _thread_pool(place: Place) -> Iterator[Begin]:
    listener = _Listener()
    statistics = import_module(place.catalogue).STATISTICS
    table = attach_table(place.table_fd)
    with ThreadPool(listener, workers=place.workers, table=table, statistics=statistics) as pool:
        yield _beginning(pool, listener)


@contextmanager
def _bare_process(place: Place) -> Iterator[Begin]:
    statistics, table = import_module(place.catalogue).STATISTICS, attach_table(place.table_fd)

    def begin(task: Task, ended: Ended) -> None:
        try:
            answer = compute(table, statistics, task)
        except Exception as error:
            ended(error)
        else:
            ended(answer)

    yield begin


@contextmanager
def _socket_pair(place: Place) -> Iterator[Begin]:
    """No pool, but what each sends its messages by: for one task at a time, whatever it is."""
    with echoing() as pair:

        def begin(task: Task, ended: Ended) -> None:
            pair.sendall(task.request)
            ended(pair.recv(LONGEST))

        yield begin


# -- others' --------------------------------------------------------------------------


def _submitting(executor: Executor, place: Place) -> Begin:
    call = place.calls()

    def begin(task: Task, ended: Ended) -> None:
        def hand_on(future: Future[bytes]) -> None:
            ended(future.exception() or future.result())

        executor.submit(*call(task)).add_done_callback(hand_on)

    return begin


@contextmanager
def _process_pool_executor(place: Place) -> Iterator[Begin]:
    with ProcessPoolExecutor(
        place.workers, mp_context=place.context(), **place.initializer()
    ) as executor:
        yield _submitting(executor, place)


@contextmanager
def _loky(place: Place) -> Iterator[Begin]:
    from loky import ProcessPoolExecutor as LokyExecutor

    with LokyExecutor(place.workers, **place.initializer()) as executor:
        yield _submitting(executor, place)


@contextmanager
def _multiprocessing_pool(place: Place) -> Iterator[Begin]:
    call = place.calls()
    with place.context().Pool(place.workers, **place.initializer()) as pool:

        def begin(task: Task, ended: Ended) -> None:
            function, *arguments = call(task)
            pool.apply_async(function, tuple(arguments), callback=ended, error_callback=ended)

        yield begin


@contextmanager
def _mpire(place: Place) -> Iterator[Begin]:
    """Its workers attach no table: it takes part in plain tasks only."""
    from mpire import WorkerPool

    call = place.calls()
    with WorkerPool(place.workers, start_method="forkserver") as pool:

        def begin(task: Task, ended: Ended) -> None:
            function, *arguments = call(task)
            pool.apply_async(function, tuple(arguments), callback=ended, error_callback=ended)

        yield begin


CONTENDERS: dict[str, Callable[[Place], AbstractContextManager[Begin]]] = {
    "process pool": _process_pool,
    "thread pool": _thread_pool,
    "ProcessPoolExecutor": _process_pool_executor,
    "multiprocessing.Pool": _multiprocessing_pool,
    "loky": _loky,
    "mpire": _mpire,
    "bare process": _bare_process,
    "socket pair": _socket_pair,
}
"""Each by the name that the report has for it."""
