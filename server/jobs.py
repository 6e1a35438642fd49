"""The service without HTTP: submit, look up, list, cancel, drain.

A job that has not ended lives in memory and in the ledger; one that has ended, in the
ledger and its file alone, so memory does not grow with the jobs of the past.
"""

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from server.job_state import JobState, change
from server.ledger import Ending, JobRecord, Ledger
from server.messages import Task, TaskKind
from server.pool import Attempt, Order, Outcome, Pool, TimeLimit
from server.result_locks import ResultLocks
from server.result_store import RUNNING, ResultStore, checksum
from server.result_writer import Answer, ResultWriter
from server.settings import Settings
from server.stats.statistic import JobRequest, Json, Statistic

CLOSE_SECONDS = 5.0
"""How long workers have to leave after the last job of a drained server."""

log = logging.getLogger("sportiv.jobs")


@dataclass(eq=False, slots=True)
class Job:
    """A job from its acceptance until the ledger knows its end."""

    id: int
    statistic: str
    request: msgspec.Raw
    parts: int
    time_limit: TimeLimit
    state: JobState = JobState.QUEUED
    started_at: float | None = None
    partials: dict[int, msgspec.Raw] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    ending: bool = False  # its answer is on the way to the disk
    end: Ending | None = None  # as soon as the answer is there
    abandoned: bool = False  # what is left of its tasks is of no use


class Jobs:
    """Every job of one results folder. Safe for any number of threads.

    Is the pool's listener. It borrows the ledger, the store, the pool, the writer and the
    recorder; whoever opened them closes them.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        ledger: Ledger,
        store: ResultStore,
        settings: Settings,
    ) -> None:
        self.locks = ResultLocks()
        self.catalogue = catalogue
        self._ledger = ledger
        self._store = store
        self._settings = settings
        self._changed = threading.Condition(threading.RLock())  # guards the three below
        self._unfinished = 0
        self._draining = False
        self._hurried = False
        self._live: dict[int, Job] = {}  # single operations on it are atomic
        self._pool: Pool
        self._writer: ResultWriter
        self._recorder: EndRecorder

    def serve_with(self, pool: Pool, writer: ResultWriter, recorder: EndRecorder) -> None:
        """Use these; then run what an earlier server left unfinished."""
        self._pool, self._writer, self._recorder = pool, writer, recorder
        for record in self._ledger.unfinished():
            self._resume(record)

    # -- clients ----------------------------------------------------------------------

    def submit(self, statistic: Statistic, request: JobRequest) -> int:
        """Accept a job; its id, once it is certain that it ends in exactly one final state.

        Raises BadRequest, ShuttingDown, QueueFull, NoWorkers or StorageError; then nothing is
        kept and no id used.
        """
        self._check_time_limit(request)
        parts = self._plan(statistic, request)
        text = msgspec.json.encode(request)
        self._reserve()
        try:
            fingerprint = self.catalogue.table.fingerprint
            job_id = self._ledger.accept(statistic.name, text.decode(), fingerprint, time.time())
        except BaseException:
            self._release()
            raise
        self._run(self._job(job_id, statistic.name, request, text, parts), parts)
        return job_id

    def _check_time_limit(self, request: JobRequest) -> None:
        most = self._settings.job_timeout
        if request.timeout_s is not None and request.timeout_s > most:
            raise BadRequest(f"timeout_s is {request.timeout_s:g}; at most {most:g} s are allowed")

    def cancel(self, job_id: int) -> None:
        """End the job as cancelled, whether it waits or runs; returns when it has ended.

        UnknownJob where there is no such job, AlreadyEnded where it ended before.
        """
        job = self._live.get(job_id)
        if job is None and self._ledger.record(job_id) is None:
            raise UnknownJob
        if job is None or not self._finish(job, JobState.CANCELLED, None, "cancelled"):
            raise AlreadyEnded(f"job {job_id} has ended already")
        self._abandon(job)
        with self._changed:
            self._changed.wait_for(lambda: job.state.final, CLOSE_SECONDS)

    def result(self, job_id: int) -> bytes:
        """What the job's file holds, or what it would while the job has not ended.

        UnknownJob where there is no such job, or its file is gone. A result that was damaged
        is computed again: the job is running then.
        """
        job = self._live.get(job_id)
        end = self._ledger.record(job_id) if job is None else job.end
        if job is None and end is None:
            raise UnknownJob
        if end is None or not end.state.final:
            return RUNNING
        content = self._store.read(job_id)
        if content and content != RUNNING and end.checksum in (None, checksum(content)):
            return content
        if end.state is not JobState.DONE and (content is not None or end.checksum is None):
            return _error_content(end.reason)
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
            if record.id in self._live:
                return True
            if not self._ledger.reopen(record.id):
                return False
            aside = self._store.set_aside(record.id)
            log.error("job %d: its result is damaged, now %s; it runs again", record.id, aside)
            self._resume(record)
            return True

    def states(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, JobState]]:
        """(id, state) of up to `limit` jobs above id `after`, by id."""
        listed = self._ledger.states(after, limit)
        live = self._live
        return [
            (job_id, job.state if (job := live.get(job_id)) is not None else state)
            for job_id, state in listed
        ]

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
            "queued_jobs": sum(job.state is JobState.QUEUED for job in list(self._live.values())),
            "waiting_tasks": self._pool.waiting(),
            "unfinished_jobs": self.unfinished,
            "result_locks": len(self.locks),
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
            if self._pool.trouble and not self._pool.workers():
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
            statistic = self.catalogue.statistics.get(record.statistic)
            if statistic is None:
                raise BadRequest(f"there is no statistic {record.statistic!r} any more")
            request = self.catalogue.request(statistic, record.request)
            parts = self._plan(statistic, request)
        except Exception as error:
            if not isinstance(error, SportivError):
                log.exception("job %d cannot be planned", record.id)
            self._fail_unrunnable(record, str(error))
            return
        log.info("job %d: taken up again", record.id)
        text = msgspec.json.encode(request)
        self._run(self._job(record.id, statistic.name, request, text, parts), parts)

    def _job(
        self, job_id: int, statistic: str, request: JobRequest, text: bytes, parts: Sequence[object]
    ) -> Job:
        limit = TimeLimit(min(request.timeout_s or math.inf, self._settings.job_timeout))
        return Job(job_id, statistic, msgspec.Raw(text), len(parts), limit)

    def _plan(self, statistic: Statistic, request: Any) -> list[msgspec.Raw]:
        parts = statistic.plan(self.catalogue.table, request)
        return [msgspec.Raw(msgspec.json.encode(part)) for part in parts]

    def _fail_unrunnable(self, record: JobRecord, reason: str) -> None:
        request = msgspec.Raw(record.request.encode())
        job = Job(record.id, record.statistic, request, 0, TimeLimit(0.0))
        self._track(job)
        self._finish(job, JobState.FAILED, None, f"it cannot be run on the present data: {reason}")

    def _track(self, job: Job) -> None:
        self.locks.add(job.id)
        self._live[job.id] = job
        self._writer.expect(job.id)

    def _run(self, job: Job, parts: Sequence[msgspec.Raw]) -> None:
        self._track(job)
        kind = TaskKind.WHOLE if len(parts) == 1 else TaskKind.PARTIAL
        if not parts:
            self._combine(job)
        for number, part in enumerate(parts):
            self._submit_task(job, number, kind, part)
        if job.abandoned:  # by a part that failed, or a client, while others were on the way
            self._pool.cancel(job.id)

    def _submit_task(self, job: Job, part: int, kind: TaskKind, work: msgspec.Raw) -> None:
        task = Task(job.id, part, kind, job.statistic, job.request, work)
        try:
            self._pool.submit(Order(task, job.time_limit, self._settings.max_attempts))
        except ValueError as error:
            self._finish(job, JobState.FAILED, None, str(error))

    def _abandon(self, job: Job) -> None:
        job.abandoned = True
        self._pool.cancel(job.id)

    def _combine(self, job: Job) -> None:
        partials = [job.partials[part] for part in range(job.parts)]
        job.partials.clear()
        work = msgspec.Raw(msgspec.json.encode(partials))
        self._submit_task(job, job.parts, TaskKind.COMBINE, work)

    # -- the pool's listener ----------------------------------------------------------

    def task_started(self, task: Task) -> None:
        """A worker has begun with a task of a job; the first one sets the job running."""
        job = self._live.get(task.job)
        if job is not None and job.state is JobState.QUEUED:
            job.state = change(job.state, JobState.RUNNING)
            job.started_at = time.time()

    def task_ended(self, outcome: Outcome) -> None:
        """A task of a job has ended: gather its partial, or end the job."""
        task = outcome.task
        job = self._live.get(task.job)
        if job is None or job.ending:
            return  # another part has failed the job before, or it was cancelled
        job.attempts.extend(outcome.attempts)
        if outcome.data is None:
            self._finish(job, JobState.FAILED, None, outcome.reason or "unknown")
            if job.parts > 1:
                self._abandon(job)
        elif task.kind is TaskKind.PARTIAL:
            job.partials[task.part] = msgspec.Raw(outcome.data).copy()
            if len(job.partials) == job.parts:
                self._combine(job)
        else:
            self._finish(job, JobState.DONE, outcome.data, None)

    def _finish(
        self, job: Job, state: JobState, data: msgspec.Raw | None, reason: str | None
    ) -> bool:
        """Send the job's answer to the disk; False where another one is on the way already."""
        with self._changed:
            if job.ending:
                return False
            job.ending = True
        ending = Ending(
            id=job.id,
            state=state,
            fingerprint=self.catalogue.table.fingerprint,
            started_at=job.started_at,
            ended_at=time.time(),
            reason=reason,
            attempts=msgspec.json.encode(job.attempts).decode(),
        )
        if data is not None:
            content = b'{"status":"done","data":' + bytes(data) + b"}"
        else:
            content = _error_content(reason)
        self._writer.put(Answer(ending, content))
        return True

    # -- the writer's and the recorder's callbacks ------------------------------------

    def on_ended(self, ending: Ending) -> None:
        """The job's file is in place: from now on the job has ended for everyone."""
        job = self._live[ending.id]
        job.end = ending
        job.state = change(job.state, ending.state)
        self._release()
        self._recorder.put(ending)

    def on_recorded(self, endings: Sequence[Ending]) -> None:
        """The ledger knows these ends: memory may forget the jobs."""
        for ending in endings:
            del self._live[ending.id]


def _error_content(reason: str | None) -> bytes:
    return msgspec.json.encode({"status": "error", "reason": reason})
