"""What becomes of each task, from its order to the one outcome that it has.

    order ─▶ waiting ─▶ in a worker's hands ─▶ begun ─▶ answered ─▶ listener.task_ended
                ▲               │ taken back     │ the worker is dead       ▲
                ├───────────────┘                ▼                          │
                └────────────────────────── tried again ─ too often ────────┘

The scheduler says who gets what; here it is told to those whom it concerns, the workers and
the listener.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from server.crew import Worker
from server.deadlines import JobEnds
from server.messages import Assign, Forget, Stop, Task, TaskKind
from server.pipes import Pipes
from server.pool import LATER_STEPS, Attempt, Listener, Order, Outcome, note_attempt, used_up
from server.scheduler import Assignment, Scheduler

LEAVE_TIMEOUT = 5.0
"""Seconds that a worker has to leave when it is told to, before it is killed."""


@dataclass(eq=False, slots=True)
class Pending:
    """An order with the attempts that it has cost so far."""

    order: Order
    attempts: tuple[Attempt, ...] = ()


class Dispatch:
    """The tasks of a pool that have not ended. Owned by its supervisor.

    Owns the scheduler; borrows the pipes, to which it only posts, and the listener. Any
    thread may look at `retried`, `waiting`, `begun` and `is_calm`.
    """

    def __init__(self, listener: Listener, pipes: Pipes) -> None:
        self.retried = 0  # attempts after one that cost a worker's life
        self._listener = listener
        self._pipes = pipes
        self._scheduler: Scheduler[Pending, Worker] = Scheduler(
            lambda pending: (pending.order.task.job, pending.order.priority)
        )
        self._job_ends = JobEnds()

    def waiting(self) -> int:
        """How many tasks no worker has."""
        return self._scheduler.waiting()

    def begun(self, worker: Worker) -> Assignment[Pending] | None:
        """What the worker is computing, wanted or not; None where it is idle or unknown."""
        return self._scheduler.begun(worker)

    def is_calm(self) -> bool:
        """Whether no worker is at a task, or all are, and at none that is likely to be tiny."""
        return self._scheduler.is_calm()

    def is_uneven(self) -> bool:
        """Whether a worker is idle while another one holds what it has not begun."""
        return self._scheduler.is_uneven()

    def next_moment(self) -> float | None:
        """When `take_back` or `end_what_waits_too_long` has something to do; None if never."""
        moments = (self._job_ends.next(), self._scheduler.take_back_at())
        return min((moment for moment in moments if moment is not None), default=None)

    # -- tasks come, and go out -------------------------------------------------------

    def accept(self, order: Order) -> None:
        """A new task."""
        if order.task.kind in LATER_STEPS:
            self._scheduler.submit_next(Pending(order))
        else:
            self._scheduler.submit(Pending(order))

    def cancel(self, job: int) -> None:
        """The tasks of `job` have no outcome any more; a worker that computes one is killed."""
        for worker, item, begun in self._scheduler.cancel(job):
            if begun:
                worker.kill("cancelled", item.ticket)
            else:
                self._pipes.post(worker, Forget(item.ticket))

    def hand_out(self, now: float) -> None:
        """Give waiting tasks to workers, and unstarted ones to whom they are due."""
        if self._scheduler.waiting():
            self._assign_all(now)
        if self._scheduler.is_uneven() and self.take_back(now):
            self._assign_all(now)

    def take_back(self, now: float) -> bool:
        """Have unstarted tasks wait again that others could begin; whether there are any."""
        return self._forget(self._scheduler.take_back(now))

    def end_what_waits_too_long(self, now: float) -> None:
        """One waiting task of a job whose time is over ends, and so the whole job."""
        while (job := self._job_ends.pop(now)) is not None:
            if pending := self._scheduler.drop_of(job):
                self.end(pending, None, str(pending.order.time_limit))

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

    def _end_overdue(self, now: float) -> None:
        """What comes next is not begun where the time of its job is over."""
        while (first := self._scheduler.first()) and (limit := first.order.time_limit).over(now):
            self.end(self._scheduler.drop_first(), None, str(limit))

    def _forget(self, taken_back: Iterable[tuple[Worker, Assignment[Pending]]]) -> bool:
        """Tell workers what is no longer theirs; whether anything is."""
        anything = False
        for worker, item in taken_back:
            self._pipes.post(worker, Forget(item.ticket))
            anything = True
        return anything

    def _on_begun(self, order: Order, now: float) -> None:
        if order.time_limit.begun is None:
            order.time_limit.begin(now)
            self._job_ends.add(order, now)
        self._listener.task_started(order.task)

    # -- tasks end --------------------------------------------------------------------

    def answered(self, worker: Worker, ticket: int) -> Pending | None:
        """The task that the worker's answer ends; None where another worker has it now.

        OutOfStep where the answer is not due.
        """
        now = time.monotonic()
        item = self._scheduler.answered(worker, ticket, now)
        following = self._scheduler.begun(worker)
        if following and not following.taken_back:
            self._on_begun(following.task.order, now)
        if worker.leaving:
            self._stop_when_done(worker)
        return None if item is None else item.task

    def end(self, pending: Pending, data: Raw | None, reason: str | None = None) -> None:
        """The task's one outcome: `data`, or the `reason` why there is none."""
        task, attempts = pending.order.task, pending.attempts
        self._listener.task_ended(Outcome(task, data, reason, attempts))

    # -- workers come and go ----------------------------------------------------------

    def add(self, worker: Worker) -> None:
        """A worker that gets tasks from now on."""
        self._scheduler.add_worker(worker)

    def let_go(self, worker: Worker) -> None:
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

    def lose(self, worker: Worker, attempt: Attempt) -> None:
        """A dead worker: the task it was at is tried again or fails, the others just wait."""
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

    def _judge(self, begun: Assignment[Pending], attempt: Attempt, worker: Worker) -> None:
        """We have killed the worker: for this task, for one it has just answered, or for none."""
        if worker.killed_for is None:
            self._try_again(begun.task, attempt)
        elif worker.killed_for == begun.ticket:
            begun.task.attempts += (attempt,)
            self.end(begun.task, None, worker.kill_reason)
        else:
            self._scheduler.submit_next(begun.task)

    def _try_again(self, pending: Pending, attempt: Attempt) -> None:
        pending.attempts += (attempt,)
        tries = len(pending.attempts)
        note_attempt(pending.order.task, attempt, tries)
        if tries >= pending.order.max_attempts:
            self.end(pending, None, used_up(attempt, tries))
        else:
            self.retried += 1
            self._scheduler.submit_next(pending)


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
