"""Dask clusters for tests: as those of the benchmarks, and when their workers are there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import dask_cluster as plain
from benchmarks.dask_cluster import DaskCluster
from tests.support.servers import wait_for

__all__ = ["HASTY", "DaskCluster", "dask_cluster", "wait_for_workers"]

HASTY = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
}
"""Configuration with which silence is noticed sooner than by itself."""

CALM = {
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}
"""Configuration with which idle clusters take little of the cores that the tests need."""


@contextmanager
def dask_cluster(
    folder: Path, workers: int = 2, host: str = "127.0.0.1", **environment: str
) -> Iterator[DaskCluster]:
    """A scheduler and workers; leaving kills them."""
    with plain.dask_cluster(folder, workers, host, **CALM | environment) as cluster:
        yield cluster


def wait_for_workers(cluster: DaskCluster, count: int) -> None:
    """Wait until the scheduler has heard of so many workers, whether they fit or not."""
    log = cluster.folder / "dask.log"
    wait_for(lambda: log.read_text().count("Register worker") >= count, "the workers are there")
