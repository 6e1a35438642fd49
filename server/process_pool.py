"""Replicated worker processes behind one queue, in the hands of one supervisor thread.

    submit ─▶ inbox ─▶ supervisor ─▶ scheduler: who gets it
                        │    ▲
                        │    │ one socket pair per worker, JSON frames, both ways
                        ▼    │
                      worker processes ◀─ forked by the fork server (the crew's)
                             │ end of file: the worker is dead
                             ▼
             listener.task_ended, or the task tried again

The supervisor waits on all pipes and a wake-up at once, bounded by the nearest deadline; it
never polls, and never waits for a living worker to read or to finish a message. No queue or
lock is shared between workers, so one can die at any instruction and harm nobody else.
"""

import contextlib
import logging
import math
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Raw

from server.crew import LONGEST_BACKOFF, Crew, Worker, is_exiting
from server.deadlines import Deadline, JobEnds, deadline_of
from server.errors import StartError
from server.fork_server import ForkServer
from server.logging_setup import fields
from server.memory import in_words, private_memory
from server.messages import (
    Assign,
    Failure,
    Forget,
    FromWorker,
    Grown,
    LogLine,
    OutOfMemory,
    Ready,
    Result,
    Skipped,
    Stop,
    Task,
    TaskKind,
    Unfit,
)
from server.pipes import Pipes, decoded
from server.pool import Attempt, Listener, Order, Outcome, PoolCounts, WorkerInfo, check_length
from server.scheduler import Assignment, OutOfStep, Scheduler
from server.staff import Staff

START_TIMEOUT = 60.0
"""Seconds within which all workers must be ready at the start."""

LEAVE_TIMEOUT = 5.0
"""Seconds that a worker has to leave when it is told to, before it is killed."""

KNOWN_SECONDS = 0.05
"""For how long the next deadline counts as known; one that has come since may be kept so late."""

_FIRST = frozenset((TaskKind.MERGE, TaskKind.COMBINE))  # their jobs have had their turns

log = logging.getLogger("sportiv.pool")


@dataclass(eq=False, slots=True)
class _Pending:
    """An order with the attempts that it has cost so far."""

    order: Order
    attempts: tuple[Attempt, ...] = ()


class ProcessPool:
    """N worker processes. A context manager: entering starts them, leaving kills them.

    Owns the workers, through a `Crew`; borrows the shared region `table_fd`. `catalogue`
    names the module whose `STATISTICS` the workers know. `worker_memory` is how many bytes
    a worker may take for its tasks; None where as many as there are. A worker that keeps
    half of that, or has done `worker_max_tasks`, retires; with 0 none does for its tasks.
    """

    backend = "process"

    def __init__(
        self,
        listener: Listener,
        *,
        workers: int,
        table_fd: int,
        catalogue: str = "server.stats",
        worker_memory: int | None = None,
        worker_max_tasks: int = 0,
    ) -> None:
        self._listener = listener
        self._count = workers
        self._table_fd = table_fd
        self._catalogue = catalogue
        self._worker_memory = worker_memory
        self._worker_max_tasks = worker_max_tasks or math.inf
        # Appended by anyone, emptied by the supervisor; a number is a job to be cancelled.
        self._inbox: deque[Order | int] = deque()
        self._woken = False
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._settled = threading.Event()  # all workers are ready, or the start is given up
        self._start_error: str | None = None
        self._failed = False  # the supervisor has, and there is no worker any more
        self._close_by = math.inf
        # Supervisor thread only, from here on; `workers`, `waiting`, `counts` only look.
        self._replaced = self._retried = 0
        self._scheduler: Scheduler[_Pending, Worker] = Scheduler(
            lambda pending: (pending.order.task.job, pending.order.priority)
        )
        self._job_ends = JobEnds()
        self._next_look = math.inf  # the next deadline, as of `_known_at`
        self._known_at = -math.inf

    # -- for any thread ---------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start the workers; StartError, and nothing left behind, where they cannot run."""
        crew = Crew(self._catalogue, self._table_fd, self._worker_memory)
        self._selector = selectors.DefaultSelector()
        self._staff = Staff(crew, self._selector, self._count)
        self._pipes = Pipes(self._selector)
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread.start()
        if not self._settled.wait(START_TIMEOUT):
            self._start_error = f"not ready within {START_TIMEOUT:.0f} s"
        if self._start_error is not None:
            self.close(0.0)
            raise StartError(f"the workers cannot start: {self._start_error}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(0.0)

    @property
    def trouble(self) -> str | None:
        """Why the workers are not all there and soon will not be; None while all is well."""
        if self._failed:
            return "the supervisor has failed; the log says why"
        if (cause := self._staff.trouble) is not None:
            return f"workers die at their start: {cause}; trying again every {LONGEST_BACKOFF:g} s"
        return None

    def submit(self, order: Order) -> None:
        """Queue a task; it ends in exactly one `task_ended`, unless the pool is closed first.

        A worker that dies costs its task one of `order.max_attempts`. When the job's time is
        over, a task that is being computed loses its worker and fails; others never begin.
        """
        check_length(order)
        self._inbox.append(order)
        self._wake()

    def cancel(self, job: int) -> None:
        """Forget the tasks of `job`; a worker that computes one is killed and replaced."""
        self._inbox.append(job)
        self._wake()

    def workers(self) -> list[WorkerInfo]:
        """Every worker that is alive."""
        while True:
            staff = list(self._staff.workers)
            states = [self._state(worker) for worker in staff]
            if staff == self._staff.workers:  # else one may have come for one who has left
                break
        return [
            WorkerInfo(worker.pid, state, job, worker.tasks_done, private_memory(worker.pid))
            for worker, (state, job) in zip(staff, states, strict=True)
        ]

    def waiting(self) -> int:
        """How many tasks no worker has yet."""
        return self._scheduler.waiting() + len(self._inbox)

    def counts(self) -> PoolCounts:
        """How often workers were replaced and tasks tried again."""
        return PoolCounts(self._replaced, self._retried)

    def close(self, timeout: float) -> None:
        """End every worker: gently within `timeout` seconds, then by force.

        Tasks that have not ended by then never do here. Calling it again can only hasten it.
        """
        self._close_by = min(self._close_by, time.monotonic() + timeout)
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):  # closed: nobody is left to be woken
                os.write(self._wake_write, b"w")

    def _state(self, worker: Worker) -> tuple[str, int | None]:
        """What the worker is at, in a word, and for which job."""
        try:
            item = self._scheduler.begun(worker)
        except IndexError:  # the supervisor has just taken the last one off
            item = None
        job = item.task.order.task.job if item else None
        if not worker.ready:
            return "starting", job
        return "leaving" if worker.leaving else "idle" if item is None else "busy", job

    # -- the supervisor ---------------------------------------------------------------

    def _supervise(self) -> None:
        try:
            while self._close_by == math.inf:
                self._step()
            self._stop_workers()
        except Exception:
            log.critical("the supervisor has failed; its workers are ended", exc_info=True)
            self._failed = True
            self._staff.kill_all()
            self._give_up_start("the supervisor has failed; the log says why")
            raise
        finally:
            self._release()

    def _step(self) -> None:
        """Wait for the next thing to happen and deal with all that has."""
        self._staff.fill()
        if (cause := self._staff.trouble) is not None:
            self._give_up_start(cause)
        self._wait(self._seconds_to_look())
        while self._inbox:
            arrived = self._inbox.popleft()
            if isinstance(arrived, int):
                self._cancel(arrived)
            elif arrived.task.kind in _FIRST:
                self._scheduler.submit_next(_Pending(arrived))
            else:
                self._scheduler.submit(_Pending(arrived))
        self._hand_out()

    def _cancel(self, job: int) -> None:
        for worker, item, begun in self._scheduler.cancel(job):
            if begun:
                worker.kill("cancelled", item.ticket)
            else:
                self._pipes.post(worker, Forget(item.ticket))

    def _wait(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            match key.data:
                case Worker() as worker:
                    self._serve(worker)
                case ForkServer():
                    self._on_fork_server()
                case _:
                    os.read(self._wake_read, 64)
                    self._woken = False

    def _on_fork_server(self) -> None:
        """Somebody has ended: mostly a worker whose pipe tells so too, or soon will.

        Not where a child that it has left behind holds its end of the pipe open.
        """
        for worker in self._staff.ended():
            self._serve(worker)
            if not worker.buried:
                self._bury(worker)

    def _hand_out(self) -> None:
        """Give waiting tasks to workers, and unstarted ones to whom they are due."""
        now = time.monotonic()
        if now >= self._next_look:
            self._look(now)
        self._assign_all(now)
        if self._scheduler.is_uneven() and self._forget(self._scheduler.take_back(now)):
            self._assign_all(now)
        self._pipes.send()

    def _assign_all(self, now: float) -> None:
        while self._assign_next(now) or self._forget(self._scheduler.recall()):
            pass

    def _assign_next(self, now: float) -> bool:
        """Give the next task to whoever should have it; whether somebody has room."""
        self._end_overdue(now)
        found = self._scheduler.next_assignment(now)
        if found is None:
            return False
        worker, item = found
        self._pipes.post(worker, Assign(item.ticket, item.task.order.task))
        if item.started is not None:
            self._on_begun(item.task.order, now)
        return True

    def _forget(self, taken_back: Iterable[tuple[Worker, Assignment[_Pending]]]) -> bool:
        """Tell workers what is no longer theirs; whether anything is."""
        anything = False
        for worker, item in taken_back:
            self._pipes.post(worker, Forget(item.ticket))
            anything = True
        return anything

    def _end_overdue(self, now: float) -> None:
        """What comes next is not begun where the time of its job is over."""
        while (first := self._scheduler.first()) and (limit := first.order.time_limit).over(now):
            self._end(self._scheduler.drop_first(), None, str(limit))

    def _on_begun(self, order: Order, now: float) -> None:
        if order.time_limit.begun is None:
            order.time_limit.begin(now)
            self._job_ends.add(order, now)
        self._listener.task_started(order.task)

    def _serve(self, worker: Worker) -> None:
        """The worker's pipe is ready: take its messages, or learn that it is dead."""
        if worker.buried:
            return
        try:
            arrived = self._pipes.receive(worker)
        except EOFError:
            self._bury(worker)
            return
        for raw in arrived:
            if worker.distrusted:
                return
            try:
                self._take(worker, decoded(raw))
            except OutOfStep as error:
                log.error("worker %d talks nonsense and is killed: %s", worker.pid, error)
                worker.distrusted = True
                worker.kill("talked nonsense")

    def _take(self, worker: Worker, message: FromWorker) -> None:
        if isinstance(message, Result):  # nearly all are
            if pending := self._settle(worker, message.ticket):
                self._end(pending, message.data)
            return
        match message:
            case Failure(ticket, reason):
                if pending := self._settle(worker, ticket):
                    self._end(pending, None, reason)
            case OutOfMemory(ticket):
                self._let_go(worker)  # first, so that nothing counts as begun by it after this
                if pending := self._settle(worker, ticket):
                    self._end(pending, None, self._memory_reason())
            case Skipped(ticket):
                self._settle(worker, ticket)
            case Grown(size):
                more = in_words(size // 2**20 * 2**20)
                self._staff.retire(worker, f"it keeps {more} more than at its start")
            case Ready():
                self._on_ready(worker)
            case Unfit(reason):
                log.error("worker %d cannot start: %s", worker.pid, reason)
                self._give_up_start(reason)
            case LogLine(level, text, trace, job, request_id):
                about = fields(worker=worker.pid, job=job, request_id=request_id)
                log.log(level, "worker %d: %s", worker.pid, text, extra=about | {"trace": trace})

    def _settle(self, worker: Worker, ticket: int) -> _Pending | None:
        """The task that the worker's answer ends; None where another worker has it now."""
        now = time.monotonic()
        item = self._scheduler.answered(worker, ticket, now)
        following = self._scheduler.begun(worker)
        if following and not following.taken_back:
            self._on_begun(following.task.order, now)
        if worker.leaving:
            self._stop_when_done(worker)
        if item is None:
            return None
        worker.tasks_done += 1
        if worker.tasks_done >= self._worker_max_tasks:
            self._staff.retire(worker, f"it has done {worker.tasks_done} tasks")
        return item.task

    def _memory_reason(self) -> str:
        if self._worker_memory is None:
            return "out of memory"
        return f"memory limit of {in_words(self._worker_memory)}"

    def _end(self, pending: _Pending, data: Raw | None, reason: str | None = None) -> None:
        task, attempts = pending.order.task, pending.attempts
        self._listener.task_ended(Outcome(task, data, reason, attempts))

    # -- workers come and go ----------------------------------------------------------

    def _on_ready(self, worker: Worker) -> None:
        if worker.ready:
            raise OutOfStep("ready a second time")
        self._scheduler.add_worker(worker)
        if retired := self._staff.on_ready(worker):
            self._let_go(retired)
        self._replaced += self._settled.is_set()
        if self._staff.whole:
            self._settled.set()

    def _let_go(self, worker: Worker) -> None:
        """Give the worker nothing more; others get what it has not begun, at no cost."""
        worker.leaving = True
        for item in self._scheduler.withdraw(worker):
            self._pipes.post(worker, Forget(item.ticket))
        self._stop_when_done(worker)

    def _stop_when_done(self, worker: Worker) -> None:
        """Tell a worker that is let go to leave, unless it has begun something."""
        item = self._scheduler.begun(worker)
        if worker.leave_by is None and (item is None or item.taken_back):
            worker.leave_by = time.monotonic() + LEAVE_TIMEOUT
            self._pipes.post(worker, Stop())

    def _bury(self, worker: Worker) -> None:
        """A dead worker: the task it was at is tried again or fails, the others just wait."""
        attempt = self._staff.bury(worker)
        begun, untouched = self._scheduler.remove_worker(worker)
        for pending in reversed(untouched):
            self._scheduler.submit_next(pending)
        if begun is None:
            return
        attempt = msgspec.structs.replace(attempt, stage=_stage(begun.task.order.task, worker))
        if worker.kill_reason is None:
            self._try_again(begun.task, attempt)
        else:
            self._judge(begun, attempt, worker)

    def _judge(self, begun: Assignment[_Pending], attempt: Attempt, worker: Worker) -> None:
        """We have killed the worker: for this task, for one it has just answered, or for none."""
        if worker.killed_for is None:
            self._try_again(begun.task, attempt)
        elif worker.killed_for == begun.ticket:
            begun.task.attempts += (attempt,)
            self._end(begun.task, None, worker.kill_reason)
        else:
            self._scheduler.submit_next(begun.task)

    def _try_again(self, pending: _Pending, attempt: Attempt) -> None:
        pending.attempts += (attempt,)
        task, tries = pending.order.task, len(pending.attempts)
        story = f"{attempt.cause}, {attempt.stage}"
        about = fields(
            worker=attempt.pid, job=task.job, statistic=task.statistic, request_id=task.request_id
        )
        log.warning("job %d part %d attempt %d: %s", task.job, task.part, tries, story, extra=about)
        if tries >= pending.order.max_attempts:
            reason = f"its worker died in each of {tries} attempts; in the last, {attempt.cause}"
            self._end(pending, None, reason)
        else:
            self._retried += 1
            self._scheduler.submit_next(pending)

    def _give_up_start(self, reason: str) -> None:
        """Let `__enter__` fail; once it has succeeded, this changes nothing."""
        if not self._settled.is_set():
            self._start_error = reason
            self._settled.set()

    # -- deadlines --------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Do what is due without anyone's word."""
        self._known_at = -math.inf
        self._forget(self._scheduler.take_back(now))
        self._end_what_waits_too_long(now)
        self._kill_who_is_late(now)

    def _seconds_to_look(self) -> float | None:
        """Seconds until something may be due without anyone's word; None if nothing is.

        To know it means to look at every worker, which is not done for every message.
        """
        now = time.monotonic()
        if self._scheduler.is_uneven() or now >= self._known_at + KNOWN_SECONDS:
            self._known_at = now
            self._next_look = until = self._next_deadline()
        else:
            until = min(self._next_look, self._known_at + KNOWN_SECONDS)
        return None if until == math.inf else max(0.0, until - now)

    def _next_deadline(self) -> float:
        deadlines = [self._deadline(worker) for worker in self._staff.workers]
        due = [deadline.when for deadline in deadlines if deadline is not None]
        others = (self._job_ends.next(), self._scheduler.take_back_at(), self._staff.next_start())
        return min((*due, *(moment for moment in others if moment is not None)), default=math.inf)

    def _end_what_waits_too_long(self, now: float) -> None:
        """One waiting task of a job whose time is over ends, and so the whole job."""
        while (job := self._job_ends.pop(now)) is not None:
            if pending := self._scheduler.drop_of(job):
                self._end(pending, None, str(pending.order.time_limit))

    def _kill_who_is_late(self, now: float) -> None:
        for worker in list(self._staff.workers):
            deadline = self._deadline(worker)
            if deadline is None or now < deadline.when:
                continue
            if worker.kill_reason is None:
                worker.kill(deadline.reason, deadline.ticket)
            elif is_exiting(worker.pid):
                self._bury(worker)  # a child that it has left behind holds its pipe
            else:
                worker.kill()

    def _deadline(self, worker: Worker) -> Deadline | None:
        return deadline_of(worker, self._scheduler.begun(worker))

    # -- the end ----------------------------------------------------------------------

    def _stop_workers(self) -> None:
        """Ask every worker to leave; kill those that are still there at `_close_by`."""
        for worker in self._staff.workers:
            worker.leaving = True
            self._pipes.post(worker, Stop())
        self._pipes.send()
        while self._staff.workers and (left := self._close_by - time.monotonic()) > 0:
            self._wait(left)
        self._staff.kill_all()

    def _release(self) -> None:
        self._woken = True  # from now on nobody writes to a descriptor that may be another's
        self._staff.close()
        self._selector.close()
        os.close(self._wake_write)
        os.close(self._wake_read)
        log.info("workers stopped")


def _stage(task: Task, worker: Worker) -> str:
    """What a worker was at that died with this task."""
    if worker.channel.cut_off:
        return "sending its answer"
    match task.kind:
        case TaskKind.PARTIAL:
            return f"computing part {task.part}"
        case TaskKind.WHOLE:
            return "computing"
        case TaskKind.MERGE:
            return "merging partials"
        case TaskKind.COMBINE:
            return "combining the partials"
