"""The service without HTTP: submit, look up, list, cancel, drain.

A job that has not ended lives in memory and in the ledger; one that has ended, in the
ledger and its file alone, so memory does not grow with the jobs of the past.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from server.admission import Admission
from server.answer_cache import AnswerCache
from server.catalogue import Catalogue
from server.end_recorder import EndRecorder
from server.errors import (
    AlreadyEnded,
    NoWorkers,
    StorageError,
    UnknownJob,
)
from server.intake import Intake
from server.job_results import JobResults
from server.job_state import JobState
from server.job_view import batch_of, computed_now, described, history, listed
from server.ledger import Ledger
from server.ledger_schema import JobRecord
from server.live_jobs import Job, LiveJobs
from server.metrics import Figures, Metrics
from server.pool import Pool
from server.result_store import LONGEST_RESULT, ResultStore
from server.result_writer import ResultWriter
from server.settings import Settings
from server.stats.statistic import JobRequest, Json, Statistic
from server.submission import Submission

CLOSE_SECONDS = 5.0
"""How long workers have to leave after the last job of a drained server."""

RECORD_SECONDS = 5.0
"""How long a client that cancels a job waits until its end is on record."""

log = logging.getLogger("sportiv.jobs")


class Jobs:
    """Every job of one results folder. Safe for any number of threads.

    It borrows the ledger, the store, the pool, the writer and the recorder; whoever opened
    them closes them. `live` is the pool's listener.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        ledger: Ledger,
        store: ResultStore,
        settings: Settings,
    ) -> None:
        self.catalogue = catalogue
        self.shared_bytes = 0  # of the region, where there is one
        self.metrics = Metrics(self._figures)
        cache = AnswerCache() if settings.cache else None
        fingerprint = catalogue.table.fingerprint
        self._admission = Admission(settings.max_queued, max(1, settings.threads // 2))
        self.live = LiveJobs(fingerprint, self._admission.ended, self.metrics.observe_job, cache)
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._intake = Intake(catalogue, ledger, store, self.live, self._admission, settings)
        self._results = JobResults(ledger, store, self.live, self._intake, self._admission)
        self._pool: Pool
        self._writer: ResultWriter
        self._recorder: EndRecorder

    def serve_with(self, pool: Pool, writer: ResultWriter, recorder: EndRecorder) -> None:
        """Use these; then run what an earlier server left unfinished."""
        self._pool, self._writer, self._recorder = pool, writer, recorder
        self.live.serve_with(pool, writer, recorder)
        for record in self._ledger.unfinished():
            self._admission.readmit()
            self._intake.take_up(record)

    # -- clients ----------------------------------------------------------------------

    def submit(
        self,
        statistic: Statistic,
        request: JobRequest,
        key: str | None = None,
        *,
        request_id: str = "",
    ) -> int:
        """Accept a job; its id. As `submit_all`."""
        return self.submit_all([(statistic, request)], key, request_id=request_id)[0]

    def submit_all(
        self,
        wanted: Sequence[tuple[Statistic, JobRequest]],
        key: str | None = None,
        *,
        is_batch: bool = False,
        request_id: str = "",
    ) -> Sequence[int]:
        """Accept jobs, all or none: see `Intake.accept`; NoWorkers where none can be started."""
        self._check_workers()
        return self._intake.accept(wanted, key, is_batch=is_batch, request_id=request_id)

    def submission(self, statistic: Statistic, request: JobRequest) -> Submission:
        """A job ready for `submit_each`; BadRequest where it cannot be one."""
        return self._intake.submission(statistic, request)

    def submit_each(self, wanted: Sequence[tuple[Submission, str]]) -> Sequence[int]:
        """Accept jobs of several clients, each with its request's id: see `Intake.accept_each`."""
        self._check_workers()
        return self._intake.accept_each(wanted)

    def _check_workers(self) -> None:
        if self._pool.trouble and not self.can_compute:
            raise NoWorkers(f"nothing can be computed at present: {self._pool.trouble}")

    def wait(self, job_id: int, seconds: float) -> bool:
        """Wait until the job has ended, at most so long; False where that was not waited for.

        At most half of the threads that serve wait at a time, so that they never keep others
        from being served.
        """
        job = self.live.get(job_id)
        if job is None or job.state.final:
            return True
        with self._admission.waiting() as allowed:
            return allowed and self.live.wait(job, seconds)

    def when_ended(self, job_id: int, call: Callable[[], object]) -> None:
        """Have `call()` called when the job has ended, by a thread that it must not keep."""
        job = self.live.get(job_id)
        if job is None:
            call()
        else:
            self.live.when_ended(job, call)

    def cancel(self, job_id: int) -> None:
        """End the job as cancelled, whether it waits or runs; returns when it has ended.

        UnknownJob where there is no such job, AlreadyEnded where it ended before, StorageError
        where its end cannot be recorded for now: after a crash it would run once more.
        """
        job = self.live.get(job_id) or self._coming(job_id)
        if job is None:
            raise AlreadyEnded(f"job {job_id} has ended already")
        cancelled = self.live.cancel(job)
        if not self.live.wait(job, RECORD_SECONDS):
            raise StorageError(f"the end of job {job_id} cannot be recorded yet")
        if not cancelled:
            raise AlreadyEnded(f"job {job_id} has ended already")

    def _coming(self, job_id: int) -> Job | None:
        """A job that is on record and not in memory yet; None where it has ended."""
        record = self._ledger.record(job_id)
        if record is None:
            raise UnknownJob
        return None if record.state.final else self.live.coming(job_id, RECORD_SECONDS)

    def result(self, job_id: int, longest: int = LONGEST_RESULT) -> bytes:
        """What the job's file holds, or what it would while the job runs: see `JobResults.read`."""
        return self._results.read(job_id, longest)

    def compute_again(self, record: JobRecord) -> bool:
        """Run a job once more whose result is damaged; whether it runs now."""
        return self._results.compute_again(record)

    def states(
        self, after: int = 0, limit: int = 10_000, **only: Any
    ) -> list[tuple[int, JobState]]:
        """(id, state) of up to `limit` jobs above id `after`, by id; `only`: see `listed`."""
        return listed(self._ledger, self.live, after, limit, **only)

    def history(
        self, before: int, limit: int, **only: Any
    ) -> tuple[list[dict[str, Json]], int | None]:
        """All about the newest jobs below id `before`, and where it goes on: see `job_view`."""
        return history(self._ledger, self.live, before, limit, **only)

    def batch(self, batch: int) -> tuple[list[tuple[int, JobState]], float]:
        """The jobs of a batch, (id, state) by id, and its progress from 0 to 1; else UnknownJob."""
        jobs, progress = batch_of(self._ledger, self.live, batch)
        if not jobs:
            raise UnknownJob
        return jobs, progress

    def describe(self, job_id: int) -> dict[str, Json]:
        """Everything that is known of a job; UnknownJob where there is none."""
        # First what lives: a job that ends meanwhile is in the ledger by then.
        job, record = self.live.get(job_id), self._ledger.record(job_id)
        if record is None:
            raise UnknownJob
        return described(record, job)

    @property
    def longest_job(self) -> float:
        """How many seconds a request may give its job at most."""
        return self._settings.job_timeout

    @property
    def unfinished(self) -> int:
        """How many jobs have not ended."""
        return self._admission.unfinished

    def describe_pool(self) -> dict[str, Json]:
        """The pool, its workers, and how much waits."""
        workers = self._pool.workers()
        return {
            "backend": self._pool.backend,
            "workers": [msgspec.to_builtins(worker) for worker in workers],
            "queued_jobs": sum(job.state is JobState.QUEUED for job in self.live),
            "waiting_tasks": self._pool.waiting(),
            "unfinished_jobs": self.unfinished,
            "result_locks": len(self.live.locks),
            "fingerprint": self.catalogue.table.fingerprint,
            "computing": computed_now(self.live, workers),
            "ended_jobs": self._admission.ended_since_start,
        }

    def _figures(self) -> Figures:
        workers, counts = self._pool.workers(), self._pool.counts()
        return Figures(
            jobs_unfinished=self.unfinished,
            jobs_waiting=sum(job.state is JobState.QUEUED for job in self.live),
            tasks_waiting=self._pool.waiting(),
            workers_alive=len(workers),
            workers_busy=sum(worker.job is not None for worker in workers),
            result_locks=len(self.live.locks),
            shared_bytes=self.shared_bytes,
            workers_replaced=counts.replaced,
            tasks_retried=counts.retried,
        )

    @property
    def can_compute(self) -> bool:
        """Whether at least one worker is ready, or none is wanted any more."""
        return self.draining or any(each.state != "starting" for each in self._pool.workers())

    @property
    def pool_trouble(self) -> str | None:
        """What keeps the pool from being whole, in words; None where nothing does."""
        return None if self.draining else self._pool.trouble

    @property
    def storage_trouble(self) -> str | None:
        """What keeps jobs and results from being written, in words; found out by trying."""
        if not (self._writer.alive and self._recorder.alive):
            return "the thread that writes results has failed; the log says why"
        if refused := self._writer.refused:
            return f"{refused} results cannot be written"
        try:
            self._ledger.check_writable()
            self._store.check_writable()
        except StorageError as error:
            return str(error)
        except OSError as error:
            return f"the results folder cannot be written to: {error}"
        return None

    # -- the end ----------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether new jobs are refused."""
        return self._admission.draining

    def drain(self) -> bool:
        """Refuse new jobs from now on; whether all accepted ones have ended.

        The workers stop when the last one has. Calling it again only asks.
        """
        if self._admission.begin_to_drain():
            log.info("shutting down: %d jobs to end", self.unfinished)
            threading.Thread(target=self._stop_when_drained, name="drain", daemon=True).start()
        return self.unfinished == 0

    def wait_until_drained(self, timeout: float | None) -> bool:
        """Wait until no job is left, at most `timeout` seconds; whether none is."""
        return self._admission.wait_until_drained(timeout)

    def hurry(self) -> None:
        """Wait no longer for jobs to end; what has not ended runs at the next start."""
        self._admission.hurry()

    def _stop_when_drained(self) -> None:
        if self.wait_until_drained(None):
            self._pool.close(CLOSE_SECONDS)
