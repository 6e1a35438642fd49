"""The two sides of the benchmark of clusters: local processes, and the workers of a cluster."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Raw

from benchmarks.dask_cluster import DaskCluster, dask_cluster
from server.messages import Task, TaskKind
from server.pool import Order, Outcome, Pool, TimeLimit
from server.process_pool import ProcessPool
from server.shared_data import SharedRegion, write_table
from server.table import Names, Table, group_tree

CATALOGUE = "benchmarks.paused_tasks"

LONGEST = 120.0
"""Seconds after which something is given up."""


class Tally:
    """A listener that counts the tasks that have ended."""

    def __init__(self) -> None:
        self._ended = 0
        self._changed = threading.Condition()

    def task_started(self, task: Task) -> None:
        """Nothing to do."""

    def task_ended(self, outcome: Outcome) -> None:
        """One more."""
        assert outcome.data is not None, outcome.reason
        with self._changed:
            self._ended += 1
            self._changed.notify()

    def wait_for(self, count: int) -> None:
        """Wait until so many more have ended, and forget them."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended >= count, LONGEST)
            self._ended -= count


@dataclass(frozen=True, slots=True)
class Side:
    """A pool at work, and who hears from it."""

    pool: Pool
    tally: Tally
    scheduler: int = 0  # the process of Dask's, if there is one

    def seconds(self, statistic: str, milliseconds: float, count: int) -> float:
        """How long so many parts take, each of which takes so long by itself."""
        work, request = Raw(msgspec.json.encode(milliseconds)), Raw(b"{}")
        begun = time.perf_counter()
        for job in range(1, count + 1):
            task = Task(job, 0, TaskKind.WHOLE, statistic, request, work)
            self.pool.submit(Order(task, TimeLimit(LONGEST), 1))
        self.tally.wait_for(count)
        return time.perf_counter() - begun


@contextmanager
def local(workers: int) -> Iterator[Side]:
    """So many processes of the server's own."""
    tally = Tally()
    with (
        region_of(48) as region,
        ProcessPool(tally, workers=workers, table_fd=region.fd, catalogue=CATALOGUE) as pool,
    ):
        yield Side(pool, tally)


@contextmanager
def on_dask(workers: int) -> Iterator[Side]:
    """So many workers of a cluster, all of them ready."""
    with a_cluster(workers) as cluster, region_of(48) as region, joined(cluster, region) as side:
        wait_until(lambda: [each.state for each in side.pool.workers()] == ["idle"] * workers)
        yield replace(side, scheduler=cluster.started[0].pid)


@contextmanager
def a_cluster(workers: int) -> Iterator[DaskCluster]:
    """A scheduler and so many workers, in a folder that is removed."""
    folder = Path(tempfile.mkdtemp(prefix="sportiv-"))
    try:
        with dask_cluster(folder / "dask", workers) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def joined(cluster: DaskCluster, region: SharedRegion) -> Iterator[Side]:
    """A pool over a cluster, whether its workers are ready or not."""
    from server.dask_pool import DaskPool

    tally = Tally()
    where = {"scheduler": cluster.address, "columns": str(cluster.columns)}
    with DaskPool(tally, table_fd=region.fd, catalogue=CATALOGUE, **where) as pool:
        yield Side(pool, tally)


@contextmanager
def region_of(rows: int) -> Iterator[SharedRegion]:
    """A table of so many rows in a sealed region."""
    keys = [np.sort(np.arange(rows, dtype=np.int32) % (4 + place)) for place in range(5)]
    value = np.arange(rows, dtype=float)
    names = Names(*(tuple(map(str, range(4 + place))) for place in range(4)))
    order = np.lexsort(keys[::-1])
    keys = [key[order] for key in keys]
    table = Table(str(rows), names, *keys, value, np.ones(rows), group_tree(keys, value))
    with SharedRegion() as region:
        write_table(region.fd, table)
        region.seal()
        yield region


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once the condition is true; TimeoutError when it takes too long."""
    deadline = time.monotonic() + LONGEST
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the cluster was not ready within {LONGEST:.0f} s")
        time.sleep(0.002)
