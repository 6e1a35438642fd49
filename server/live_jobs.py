"""The jobs that have not ended: their tasks at the pool, their answers on the way to the disk.

run ─▶ steps ─▶ pool ─ outcome ─▶ gathering ─▶ further steps
                                      └─ last outcome ─▶ writer ─▶ recorder ─▶ forgotten
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw

from server.answer_cache import AnswerCache, Answered
from server.end_recorder import EndRecorder
from server.gathering import Gathering, Step, TooMuchKept
from server.job_state import JobState, change
from server.ledger_schema import Ending
from server.logging_setup import fields
from server.messages import Task, TaskKind
from server.pool import Attempt, Order, Outcome, Pool, TimeLimit
from server.result_locks import ResultLocks
from server.result_writer import Answer, ResultWriter
from server.stats.statistic import PRIORITY

log = logging.getLogger("sportiv.jobs")


@dataclass(eq=False, slots=True)
class Job:
    """A job from its acceptance until the ledger knows its end."""

    id: int
    statistic: str
    request: Raw
    gathering: Gathering  # guarded by LiveJobs
    time_limit: TimeLimit
    max_attempts: int = 1
    priority: int = PRIORITY
    question: tuple[str, bytes] | None = None  # what others may ask too and be given this answer
    request_id: str = ""  # of the request that it came with
    accepted_at: float = 0.0
    state: JobState = JobState.QUEUED
    started_at: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    ending: bool = False  # its answer is on the way to the disk
    end: Ending | None = None  # as soon as the answer is there
    abandoned: bool = False  # what is left of its tasks is of no use
    waiters: list[Callable[[], object]] = field(default_factory=list)  # called when it has ended


Observer = Callable[[Job, JobState, float], None]
"""Hears of a job, the state that it has come into, and when, in seconds since 1970."""


def _look_away(job: Job, state: JobState, moment: float) -> None:
    """The observer where nobody wants to know."""


class LiveJobs:
    """Every job that has not ended, by id. Safe for any number of threads.

    Is the pool's listener, and hears from the writer and the recorder, which it borrows as it
    does the pool. `on_end()` is called after each job that has ended for everyone, and
    `observe(job, state, moment)` once for each state that a job comes into. What is done
    goes into the `cache`, if there is one.
    """

    def __init__(
        self,
        fingerprint: str,
        on_end: Callable[[], None],
        observe: Observer = _look_away,
        cache: AnswerCache | None = None,
    ) -> None:
        self.locks = ResultLocks()
        self.cache = cache
        self._fingerprint = fingerprint
        self._on_end = on_end
        self._observe = observe
        self._jobs: dict[int, Job] = {}  # single operations on it are atomic
        self._lock = threading.Lock()  # guards every job's `gathering`, `state` and `ending`
        self._awaited: dict[int, threading.Event] = {}  # set when the job has come
        self._pool: Pool
        self._writer: ResultWriter
        self._recorder: EndRecorder

    def serve_with(self, pool: Pool, writer: ResultWriter, recorder: EndRecorder) -> None:
        """Use these from now on."""
        self._pool, self._writer, self._recorder = pool, writer, recorder

    def get(self, job_id: int) -> Job | None:
        """The job, where it has not ended or the ledger has not heard of its end."""
        return self._jobs.get(job_id)

    def coming(self, job_id: int, seconds: float) -> Job | None:
        """A job that the ledger has and that was not here: as soon as it is, within `seconds`."""
        came = self._awaited.setdefault(job_id, threading.Event())
        if job_id in self._jobs:  # it came before it could see that somebody waits
            came.set()
        came.wait(seconds)
        self._awaited.pop(job_id, None)
        return self._jobs.get(job_id)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def run(self, job: Job) -> None:
        """Have the job computed; it ends in exactly one final state."""
        self._track(job)
        with self._lock:
            steps = list(job.gathering.begin())
        self._send(job, steps)

    def give(self, job: Job, content: bytes) -> None:
        """End a job with the answer that an earlier one has had to the same question."""
        self._track(job)
        job.state, job.started_at = change(job.state, JobState.RUNNING), time.time()
        self._observe(job, JobState.RUNNING, job.started_at)
        self._finish(job, JobState.DONE, content, None)

    def wait(self, job: Job, seconds: float) -> bool:
        """Wait until the job has ended, at most so long; whether it has."""
        ended = threading.Event()
        self.when_ended(job, ended.set)
        if ended.wait(seconds):
            return True
        with self._lock:
            if ended.set in job.waiters:
                job.waiters.remove(ended.set)
        return ended.is_set()

    def when_ended(self, job: Job, call: Callable[[], object]) -> None:
        """Have `call()` called when the job has ended, by the thread that ends it, or now."""
        with self._lock:
            has_ended = job.state.final
            if not has_ended:
                job.waiters.append(call)
        if has_ended:
            call()

    def fail(self, job: Job, reason: str) -> None:
        """End a job that cannot be run."""
        self._track(job)
        self._finish(job, JobState.FAILED, None, reason)

    def cancel(self, job: Job) -> bool:
        """Have the job end as cancelled; False where it is about to end otherwise."""
        if not self._finish(job, JobState.CANCELLED, None, "cancelled"):
            return False
        self._abandon(job)
        return True

    def _track(self, job: Job) -> None:
        self.locks.add(job.id)
        self._jobs[job.id] = job
        if self._awaited and (came := self._awaited.get(job.id)):
            came.set()
        self._writer.expect(job.id)
        self._observe(job, JobState.QUEUED, job.accepted_at)

    def _send(self, job: Job, steps: Iterable[Step]) -> None:
        for step in steps:
            kind, work = step.kind, step.work
            task = Task(job.id, step.number, kind, job.statistic, job.request, work, job.request_id)
            try:
                self._pool.submit(Order(task, job.time_limit, job.max_attempts, job.priority))
            except ValueError as error:
                self._finish(job, JobState.FAILED, None, str(error))
        if job.abandoned:  # by a part that failed, or a client, while others were on the way
            self._pool.cancel(job.id)

    def _abandon(self, job: Job) -> None:
        job.abandoned = True
        self._pool.cancel(job.id)

    # -- the pool's listener ----------------------------------------------------------

    def task_started(self, task: Task) -> None:
        """A worker has begun with a task of a job; the first one sets the job running."""
        job = self._jobs.get(task.job)
        if job is None or job.state is not JobState.QUEUED:
            return
        with self._lock:
            begins = job.state is JobState.QUEUED  # else a client has cancelled it just now
            if begins:
                job.state = change(job.state, JobState.RUNNING)
                job.started_at = time.time()
        if begins:
            self._observe(job, JobState.RUNNING, time.time())

    def task_ended(self, outcome: Outcome) -> None:
        """A task of a job has ended: gather its partial, or end the job."""
        task = outcome.task
        job = self._jobs.get(task.job)
        if job is None or job.ending:
            return  # another part has failed the job before, or it was cancelled
        job.attempts.extend(outcome.attempts)
        if outcome.data is None:
            self._finish(job, JobState.FAILED, None, outcome.reason or "unknown")
            if job.gathering.parts > 1:
                self._abandon(job)
        elif task.kind in (TaskKind.WHOLE, TaskKind.COMBINE):
            content = b'{"status":"done","data":' + bytes(outcome.data) + b"}"
            self._finish(job, JobState.DONE, content, None)
        else:
            self._gather(job, task.part, Raw(outcome.data).copy())

    def _gather(self, job: Job, number: int, partial: Raw) -> None:
        try:
            with self._lock:
                steps = list(job.gathering.arrived(number, partial))
        except TooMuchKept as error:
            self._finish(job, JobState.FAILED, None, str(error))
            self._abandon(job)
        else:
            self._send(job, steps)

    def _finish(self, job: Job, state: JobState, content: bytes | None, reason: str | None) -> bool:
        """Send the job's answer to the disk; False where another one is on the way already.

        Without `content` it is the `reason`.
        """
        with self._lock:
            if job.ending:
                return False
            job.ending = True
        ending = Ending(
            id=job.id,
            state=state,
            fingerprint=self._fingerprint,
            started_at=job.started_at,
            ended_at=time.time(),
            reason=reason,
            attempts=msgspec.json.encode(job.attempts).decode(),
        )
        self._writer.put(Answer(ending, error_content(reason) if content is None else content))
        return True

    # -- the writer's and the recorder's callbacks ------------------------------------

    def on_ended(self, ending: Ending) -> None:
        """The job's file is in place: from now on a job that is done has ended for everyone.

        Not one that failed or was cancelled. Computed again after a crash, it might end
        otherwise, so nobody hears of its end before the ledger.
        """
        self._log_end(ending)
        if ending.state is JobState.DONE:
            self._publish(ending)
        self._recorder.put(ending)

    def _log_end(self, ending: Ending) -> None:
        job, started = self._jobs[ending.id], ending.started_at
        about = fields(
            job=job.id,
            statistic=job.statistic,
            state=ending.state,
            reason=ending.reason,
            request_id=job.request_id,
            waited_s=round((started or ending.ended_at) - job.accepted_at, 6),
            ran_s=None if started is None else round(ending.ended_at - started, 6),
        )
        log.info("job %d: %s", job.id, ending.reason or ending.state, extra=about)

    def on_recorded(self, endings: Sequence[Ending]) -> None:
        """The ledger knows these ends: memory may forget the jobs."""
        for ending in endings:
            if ending.state is not JobState.DONE:
                self._publish(ending)
            del self._jobs[ending.id]

    def _publish(self, ending: Ending) -> None:
        job = self._jobs[ending.id]
        self._observe(job, ending.state, ending.ended_at)  # first: who reads of an end finds it
        with self._lock:
            job.end = ending
            job.state = change(job.state, ending.state)
            waiters, job.waiters = job.waiters, []
        self._remember(job, ending)
        self._on_end()
        for call in waiters:
            call()

    def _remember(self, job: Job, ending: Ending) -> None:
        """Let whoever asks the same have the same answer."""
        if self.cache is None or job.question is None or ending.state is not JobState.DONE:
            return
        if ending.checksum is not None:
            self.cache.put(job.question, Answered(job.id, ending.checksum))


def error_content(reason: str | None) -> bytes:
    """What the file of a job holds that did not end well."""
    return msgspec.json.encode({"status": "error", "reason": reason})
