"""Jobs through Dask's scheduler: a local cluster of one process a core, without its dashboard."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from distributed import Client, Future, LocalCluster

from benchmarks.rivals import task
from server.machine import Machine


class Cluster:
    """Jobs by numbers, each with its future, until the answer is taken."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids = count()
        self._futures: dict[str, Future] = {}

    def submit(self, statistic: str, request: str) -> str:
        """Queue a job; its id."""
        job_id = f"job-{next(self._ids)}"
        future = self._client.submit(task.answer, statistic, request, key=job_id)
        self._futures[job_id] = future
        return job_id

    def result(self, job_id: str) -> str | None:
        """The answer, or None while there is none; it is given once."""
        if not self._futures[job_id].done():
            return None
        return str(self._futures.pop(job_id).result())


@contextmanager
def opened() -> Iterator[Cluster]:
    """A cluster and a client of it."""
    with (
        LocalCluster(
            n_workers=Machine().cores(),
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield Cluster(client)
