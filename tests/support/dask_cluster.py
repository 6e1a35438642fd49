"""Dask clusters for tests: as those of the benchmarks, and how a server finds one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.dask_cluster import DaskCluster, dask_cluster

__all__ = ["HASTY", "DaskCluster", "dask_cluster", "settings_of"]

HASTY = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
}
"""Configuration with which silence is noticed sooner than by itself."""


@contextmanager
def settings_of(backend: str, folder: Path) -> Iterator[dict[str, str]]:
    """The settings of a server with this backend; a cluster of two workers where it needs one."""
    if backend != "dask":
        yield {"SPORTIV_BACKEND": backend}
        return
    with dask_cluster(folder / "dask") as cluster:
        yield cluster.settings
