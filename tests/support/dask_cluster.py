"""Dask clusters for tests: as those of the benchmarks, and when their workers are there."""

from benchmarks.dask_cluster import DaskCluster, dask_cluster
from tests.support.servers import wait_for

__all__ = ["HASTY", "DaskCluster", "dask_cluster", "wait_for_workers"]

HASTY = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
}
"""Configuration with which silence is noticed sooner than by itself."""


def wait_for_workers(cluster: DaskCluster, count: int) -> None:
    """Wait until the scheduler has heard of so many workers, whether they fit or not."""
    log = cluster.folder / "dask.log"
    wait_for(lambda: log.read_text().count("Register worker") >= count, "the workers are there")
