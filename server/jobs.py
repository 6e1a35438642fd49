"""The service without HTTP: submit, look up, list, cancel, drain.

A job that has not ended lives in memory and in the ledger; one that has ended, in the
ledger and its file alone, so memory does not grow with the jobs of the past.
"""

import logging
import math
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from server.catalogue import Catalogue
from server.end_recorder import EndRecorder
from server.errors import (
    AlreadyEnded,
    BadRequest,
    NoWorkers,
    QueueFull,
    ShuttingDown,
    SportivError,
    StorageError,
    UnknownJob,
)
from server.gathering import Gathering
from server.job_state import JobState
from server.job_view import described, running_content
from server.ledger import JobRecord, Ledger
from server.live_jobs import Job, LiveJobs, error_content
from server.pool import Pool, TimeLimit
from server.result_store import RUNNING, ResultStore, checksum
from server.result_writer import ResultWriter
from server.settings import Settings
from server.stats.statistic import LARGEST_SEED, JobRequest, Json, Statistic, Unanswerable

CLOSE_SECONDS = 5.0
"""How long workers have to leave after the last job of a drained server."""

PARTS_AHEAD = 4
"""How many parts of one job are with the pool at a time, for each worker."""

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
        self.live = LiveJobs(catalogue.table.fingerprint, self._release)
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._changed = threading.Condition(threading.RLock())  # guards the three below
        self._unfinished = 0
        self._draining = False
        self._hurried = False
        self._pool: Pool
        self._writer: ResultWriter
        self._recorder: EndRecorder

    def serve_with(self, pool: Pool, writer: ResultWriter, recorder: EndRecorder) -> None:
        """Use these; then run what an earlier server left unfinished."""
        self._pool, self._writer, self._recorder = pool, writer, recorder
        self.live.serve_with(pool, writer, recorder)
        for record in self._ledger.unfinished():
            self._resume(record)

    # -- clients ----------------------------------------------------------------------

    def submit(self, statistic: Statistic, request: JobRequest) -> int:
        """Accept a job; its id, once it is certain that it ends in exactly one final state.

        Raises BadRequest, ShuttingDown, QueueFull, NoWorkers or StorageError; then nothing is
        kept and no id used.
        """
        self._check_time_limit(request)
        request = _with_seed(request)
        parts = self._plan(statistic, request)
        text = msgspec.json.encode(request)
        self._reserve()
        try:
            fingerprint = self.catalogue.table.fingerprint
            job_id = self._ledger.accept(statistic.name, text.decode(), fingerprint, time.time())
        except BaseException:
            self._release()
            raise
        self.live.run(self._job(job_id, statistic, request, text, parts))
        return job_id

    def _plan(self, statistic: Statistic, request: JobRequest) -> Sequence[Json]:
        try:
            return statistic.plan(self.catalogue.table, request)
        except Unanswerable as error:
            raise BadRequest(str(error)) from None

    def _check_time_limit(self, request: JobRequest) -> None:
        most = self._settings.job_timeout
        if request.timeout_s is not None and request.timeout_s > most:
            raise BadRequest(f"timeout_s is {request.timeout_s:g}; at most {most:g} s are allowed")

    def cancel(self, job_id: int) -> None:
        """End the job as cancelled, whether it waits or runs; returns when it has ended.

        UnknownJob where there is no such job, AlreadyEnded where it ended before.
        """
        job = self.live.get(job_id)
        if job is None and self._ledger.record(job_id) is None:
            raise UnknownJob
        if job is None:
            raise AlreadyEnded(f"job {job_id} has ended already")
        cancelled = self.live.cancel(job)
        with self._changed:
            self._changed.wait_for(lambda: job.state.final, CLOSE_SECONDS)
        if not cancelled:
            raise AlreadyEnded(f"job {job_id} has ended already")

    def result(self, job_id: int) -> bytes:
        """What the job's file holds, or what it would while the job has not ended.

        UnknownJob where there is no such job, or its file is gone. A result that was damaged
        is computed again: the job is running then.
        """
        job = self.live.get(job_id)
        end = self._ledger.record(job_id) if job is None else job.end
        if job is None and end is None:
            raise UnknownJob
        if end is None or not end.state.final:
            return running_content(job)
        try:
            content = self._store.read(job_id)
        except OSError as error:
            raise StorageError(f"the result of job {job_id} cannot be read: {error}") from error
        if content and content != RUNNING and end.checksum in (None, checksum(content)):
            return content
        if end.state is not JobState.DONE and (content is not None or end.checksum is None):
            return error_content(end.reason)
        if content is None:
            raise UnknownJob
        if isinstance(end, JobRecord) and self.compute_again(end):
            return RUNNING
        raise StorageError(f"the result of job {job_id} is damaged; it will be computed again")

    def compute_again(self, record: JobRecord) -> bool:
        """Run a job once more whose result is damaged; whether it runs now.

        The damaged file is set aside. A server that shuts down leaves the job to the next one.
        """
        with self._changed:
            if self._draining:
                return False
            if self.live.get(record.id) is not None:
                return True
            if not self._ledger.reopen(record.id):
                return False
            try:
                aside = self._store.set_aside(record.id)
                log.error("job %d: its result is damaged, now %s; it runs again", record.id, aside)
            except OSError as error:  # the new result will take its place all the same
                log.error("job %d: its result is damaged; it runs again: %s", record.id, error)
            self._resume(record)
            return True

    def states(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, JobState]]:
        """(id, state) of up to `limit` jobs above id `after`, by id."""
        # First what lives: a job that ends meanwhile is in the ledger by then.
        live = {job.id: job.state for job in self.live}
        return [
            (job_id, live.get(job_id, state)) for job_id, state in self._ledger.states(after, limit)
        ]

    def describe(self, job_id: int) -> dict[str, Json]:
        """Everything that is known of a job; UnknownJob where there is none."""
        record, job = self._ledger.record(job_id), self.live.get(job_id)
        if record is None:
            raise UnknownJob
        return described(record, job)

    @property
    def unfinished(self) -> int:
        """How many jobs have not ended."""
        with self._changed:
            return self._unfinished

    def describe_pool(self) -> dict[str, Json]:
        """The pool, its workers, and how much waits."""
        return {
            "backend": self._pool.backend,
            "workers": [msgspec.to_builtins(worker) for worker in self._pool.workers()],
            "queued_jobs": sum(job.state is JobState.QUEUED for job in self.live),
            "waiting_tasks": self._pool.waiting(),
            "unfinished_jobs": self.unfinished,
            "result_locks": len(self.live.locks),
            "fingerprint": self.catalogue.table.fingerprint,
        }

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
            self._ledger.check_in_place()
            self._store.check_writable()
        except OSError as error:
            return f"the results folder cannot be written to: {error}"
        return None

    # -- the end ----------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether new jobs are refused."""
        with self._changed:
            return self._draining

    def drain(self) -> bool:
        """Refuse new jobs from now on; whether all accepted ones have ended.

        The workers stop when the last one has. Calling it again only asks.
        """
        with self._changed:
            if not self._draining:
                self._draining = True
                log.info("shutting down: %d jobs to end", self._unfinished)
                threading.Thread(target=self._stop_when_drained, name="drain", daemon=True).start()
            return self._unfinished == 0

    def wait_until_drained(self, timeout: float | None) -> bool:
        """Wait until no job is left, at most `timeout` seconds; whether none is."""
        with self._changed:
            self._changed.wait_for(lambda: self._unfinished == 0 or self._hurried, timeout)
            return self._unfinished == 0

    def hurry(self) -> None:
        """Wait no longer for jobs to end; what has not ended runs at the next start."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def _stop_when_drained(self) -> None:
        if self.wait_until_drained(None):
            self._pool.close(CLOSE_SECONDS)

    # -- running a job ----------------------------------------------------------------

    def _reserve(self) -> None:
        """Count one more unfinished job, if there may be one."""
        with self._changed:
            if self._draining:
                raise ShuttingDown
            if self._unfinished >= self._settings.max_queued:
                raise QueueFull(f"{self._unfinished} jobs wait already; try again later")
            if self._pool.trouble and not self.can_compute:
                raise NoWorkers(f"nothing can be computed at present: {self._pool.trouble}")
            self._unfinished += 1

    def _release(self) -> None:
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    def _resume(self, record: JobRecord) -> None:
        """Run a job that was accepted by an earlier server."""
        with self._changed:
            self._unfinished += 1
        try:
            job = self._planned_again(record)
        except Exception as error:
            if not isinstance(error, SportivError):
                log.exception("job %d cannot be planned", record.id)
            reason = f"it cannot be run on the present data: {error}"
            request = msgspec.Raw(record.request.encode())
            nothing = Gathering([], merges=False, ahead=0)
            unrunnable = Job(record.id, record.statistic, request, nothing, TimeLimit(0.0))
            self.live.fail(unrunnable, reason)
        else:
            log.info("job %d: taken up again", record.id)
            self.live.run(job)

    def _planned_again(self, record: JobRecord) -> Job:
        statistic = self.catalogue.statistics.get(record.statistic)
        if statistic is None:
            raise BadRequest(f"there is no statistic {record.statistic!r} any more")
        request = self.catalogue.request(statistic, record.request)
        parts = self._plan(statistic, request)
        return self._job(record.id, statistic, request, msgspec.json.encode(request), parts)

    def _job(
        self,
        job_id: int,
        statistic: Statistic,
        request: JobRequest,
        text: bytes,
        parts: Sequence[Json],
    ) -> Job:
        ahead = PARTS_AHEAD * self._settings.workers
        return Job(
            job_id,
            statistic.name,
            msgspec.Raw(text),
            Gathering(parts, merges=statistic.merge is not None, ahead=ahead),
            TimeLimit(min(request.timeout_s or math.inf, self._settings.job_timeout)),
            self._settings.max_attempts,
            request.priority,
        )


def _with_seed(request: Any) -> Any:
    """The request with a seed of its own, where it may have one and has none."""
    if getattr(request, "seed", 0) is not None:
        return request
    return msgspec.structs.replace(request, seed=secrets.randbelow(LARGEST_SEED + 1))
