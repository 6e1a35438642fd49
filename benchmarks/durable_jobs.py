"""This project's jobs without HTTP: ledger, pool, result files, with durability full.

It has the words of `benchmarks.rivals`, whose modules submit jobs and read their results.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from benchmarks.pool_tasks import CATALOGUE, empty_region
from benchmarks.scratch import new_folder
from benchmarks.tiny_tasks import STATISTICS
from server.catalogue import Catalogue
from server.dataset import load_description
from server.jobs import Jobs
from server.pool import Listener
from server.process_pool import ProcessPool
from server.result_store import RUNNING
from server.runtime import PRIVATE, working
from server.settings import Settings
from server.shared_data import attach_table

UNFINISHED = RUNNING.removesuffix(b"}")


class DurableJobs:
    """Jobs of one folder."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def submit_all(self, statistic: str, request: str, number: int) -> list[int]:
        """Accept so many jobs, as the server does with requests that came together; their ids."""
        row = STATISTICS[statistic]
        asked = msgspec.json.decode(request, type=row.request)
        submission = self._jobs.submission(row, asked)
        return list(self._jobs.submit_each([(submission, "")] * number))

    def result(self, job_id: int) -> bytes | None:
        """What the job's file holds; None while the job has not ended."""
        content = self._jobs.result(job_id)
        return None if content.startswith(UNFINISHED) else content


@contextmanager
def opened() -> Iterator[DurableJobs]:
    """The service, in a new folder."""
    results = new_folder() / "results"
    private = results / PRIVATE
    private.mkdir(parents=True)
    with empty_region() as region:
        environment = {"SPORTIV_RESULTS_DIR": str(results), "SPORTIV_CACHE": "0"}
        settings = Settings.read(environment)
        description = load_description(settings.dataset)
        catalogue = Catalogue(attach_table(region.fd), description, STATISTICS)

        def make_pool(listener: Listener) -> ProcessPool:
            return ProcessPool(
                listener,
                workers=settings.workers,
                table_fd=region.fd,
                catalogue=CATALOGUE,
                worker_memory=settings.worker_memory,
            )

        with working(settings, private, catalogue, make_pool) as jobs:
            yield DurableJobs(jobs)
