"""What becomes of each task of a Dask pool, from its order to the one outcome that it has.

    order ─▶ waiting ─▶ out, with a ticket ─▶ begun ─▶ answered ─▶ listener.task_ended
                ▲            │ came back         │ the worker is gone      ▲
                └────────────┘                   ▼                         │
                     still out: Dask tries it again ─ too often, too late ─┘

Which worker computes a task is Dask's to say. Here is whose turn it is, as with local workers,
and how many tasks are out at a time. State only: no I/O, no clock, one thread.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from msgspec import Raw

from server.pool import (
    LATER_STEPS,
    Attempt,
    Listener,
    Order,
    Outcome,
    TimeLimit,
    note_attempt,
    used_up,
)
from server.turns import Turns

LATENCY = 0.05
"""Seconds of work that a worker has before it, so that it need not wait for what comes next."""

DEEPEST = 16
"""How many tasks are with Dask at most for each that can be computed at a time."""


@dataclass(eq=False, slots=True)
class Pending:
    """An order, when it came, and the attempts that it has cost so far."""

    order: Order
    came: float
    attempts: tuple[Attempt, ...] = ()


@dataclass(eq=False, slots=True)
class Out:
    """A task that is with Dask; `worker` is the address of the one that has begun with it."""

    ticket: int
    pending: Pending
    worker: str | None = None
    begun: float = 0.0
    through: bool = False  # the worker is at it no more, and its answer on the way
    tried: bool = False  # an attempt under this ticket has failed


class Cluster(Protocol):
    """Who carries tasks to Dask. Each call returns at once."""

    def send(self, ticket: int, order: Order) -> None:
        """Have the task computed; its answer comes under this ticket."""

    def recall(self, ticket: int) -> None:
        """Forget the ticket: no answer is wanted any more."""

    def kill(self, worker: str, reason: str) -> None:
        """End a worker that computes what is not wanted any more."""

    def let_finish(self, ticket: int, worker: str) -> None:
        """End a worker that computes what is not wanted, unless it is through in a moment."""

    def watch(self, limit: TimeLimit, job: int) -> None:
        """Have `DaskTasks.end_job` called when the time of the job is over."""


class DaskTasks:
    """The tasks of a pool that have not ended. Any thread may look at what is public."""

    def __init__(self, listener: Listener, cluster: Cluster) -> None:
        self.retried = 0  # attempts after one that cost a worker's life
        self.out: dict[int, Out] = {}
        self._listener = listener
        self._cluster = cluster
        self._tickets = 0
        self._held: set[int] = set()  # the tickets of what is out and no worker is through with
        self._pace = 1.0  # how many seconds the latest tasks took
        self._waiting: Turns[Pending] = Turns(
            lambda pending: (pending.order.task.job, pending.order.priority)
        )

    def waiting(self) -> int:
        """How many tasks are not with Dask."""
        return len(self._waiting)

    def begun_on(self, worker: str) -> list[Out]:
        """What the worker has begun and not ended."""
        return [out for out in list(self.out.values()) if out.worker == worker]

    # -- tasks come, and go out -------------------------------------------------------

    def accept(self, order: Order, now: float) -> None:
        """A new task."""
        if order.task.kind in LATER_STEPS:
            self._waiting.prepend(Pending(order, now))
        else:
            self._waiting.append(Pending(order, now))

    def hand_out(self, slots: int, now: float) -> None:
        """Send tasks to Dask for so many that can be computed at a time, and some ahead.

        The shorter the tasks, the more: each in a worker's hands has had its turn, and those
        of others that come now are behind it.
        """
        most = slots * min(2 + int(LATENCY / max(self._pace, 1e-4)), DEEPEST)
        while len(self._held) < most and len(self._waiting):
            pending, turn = self._waiting.pop()
            self._waiting.begun()
            self._waiting.settled(turn)
            if pending.order.time_limit.over(now):
                self._end(pending, None, str(pending.order.time_limit))
                continue
            self._tickets += 1
            self.out[self._tickets] = Out(self._tickets, pending)
            self._cluster.send(self._tickets, pending.order)
            self._held.add(self._tickets)

    def cancel(self, job: int) -> None:
        """The tasks of `job` have no outcome any more; workers that compute one are killed."""
        self._waiting.drop(job)
        for out in self._out_of(job):
            self._take_back(out, "cancelled")

    def end_job(self, job: int, reason: str) -> None:
        """Every task of a job ends, for this reason; workers that compute one are killed."""
        for pending in self._waiting.drop(job):
            self._end(pending, None, reason)
        for out in self._out_of(job):
            self._take_back(out, reason)
            self._end(out.pending, None, reason)

    def oldest(self) -> float | None:
        """When the oldest order came that nobody has begun; None where there is none."""
        came = [pending.came for pending in self._waiting]
        came += [out.pending.came for out in self._idle()]
        return min(came, default=None)

    def end_what_came_before(self, moment: float, reason: str) -> None:
        """End what nobody has begun and was ordered before this moment."""
        unbegun = [*self._waiting, *(out.pending for out in self._idle())]
        for job in {each.order.task.job for each in unbegun if each.came <= moment}:
            self.end_job(job, reason)

    def take_back_all(self) -> None:
        """Nothing is with Dask any more; what was waits again."""
        for out in sorted(self.out.values(), key=lambda out: out.ticket, reverse=True):
            self.came_back(out.ticket)

    def _removed(self, ticket: int) -> Out | None:
        """Take the ticket off; None where it is not out any more."""
        self._held.discard(ticket)
        return self.out.pop(ticket, None)

    def _idle(self) -> list[Out]:
        """What is with Dask and nobody has begun."""
        return [out for out in self.out.values() if out.worker is None and not out.through]

    def _out_of(self, job: int) -> list[Out]:
        return [out for out in self.out.values() if out.pending.order.task.job == job]

    def _take_back(self, out: Out, reason: str) -> None:
        self._removed(out.ticket)
        self._cluster.recall(out.ticket)
        if out.worker is not None:
            self._cluster.kill(out.worker, reason)

    # -- what Dask says ---------------------------------------------------------------

    def begun(self, ticket: int, worker: str, now: float) -> None:
        """A worker has begun with a task."""
        out = self.out.get(ticket)
        if out is None:
            self._cluster.let_finish(ticket, worker)
            return
        out.worker, out.begun, out.through = worker, now, False
        self._held.add(ticket)
        limit = out.pending.order.time_limit
        limit.begin(now)
        self._cluster.watch(limit, out.pending.order.task.job)
        self._listener.task_started(out.pending.order.task)

    def through(self, ticket: int) -> None:
        """The worker is at this ticket no more; its answer is on the way."""
        if (out := self.out.get(ticket)) is not None:
            out.worker, out.through = None, True
            self._held.discard(ticket)

    def answered(self, ticket: int, data: bytes | None, reason: str | None, now: float) -> None:
        """The answer to a ticket; one that is not out any more is passed over."""
        if ticket in self.out and not self.out[ticket].begun:
            self.begun(ticket, "", now)  # the word of its begin was lost
        out = self._removed(ticket)
        if out is not None:
            self._pace += 0.1 * (now - out.begun - self._pace)
            self._end(out.pending, None if data is None else Raw(data), reason)

    def came_back(self, ticket: int) -> None:
        """Dask does not know of the task any more: it waits again, and has lost nothing."""
        out = self._removed(ticket)
        if out is not None:
            self._cluster.recall(ticket)
            self._waiting.prepend(out.pending)

    def given_up(self, ticket: int, attempt: Attempt | None) -> None:
        """Dask will not try the task again: too many workers that had it are gone."""
        if (out := self.out.get(ticket)) is not None:
            if not out.tried:
                self._lose(out, attempt)
            self.came_back(ticket)

    def lost(self, worker: str, tickets: Iterable[int], attempt: Attempt | None) -> None:
        """A worker is gone that had these tickets; an `attempt` failed, unless we have ended it.

        That costs what it had begun. Where the word of that has died with the worker, it was
        the ticket that it had for longest: perhaps one that is out no more, which Dask has
        tried again before it heard of that.
        """
        first = min(filter(None, tickets), default=0)
        begun = self.begun_on(worker)
        if not begun and first in self.out and self.out[first].worker is None:
            begun = [self.out[first]]
        for out in begun:
            self._lose(out, attempt)

    def _lose(self, out: Out, attempt: Attempt | None) -> None:
        out.worker = None
        if attempt is None:
            return
        out.tried = True
        out.pending.attempts += (attempt,)
        tries = len(out.pending.attempts)
        note_attempt(out.pending.order.task, attempt, tries)
        if tries < out.pending.order.max_attempts:
            self.retried += 1
            return
        self._removed(out.ticket)
        self._cluster.recall(out.ticket)
        self._end(out.pending, None, used_up(attempt, tries))

    def _end(self, pending: Pending, data: Raw | None, reason: str | None) -> None:
        self._listener.task_ended(Outcome(pending.order.task, data, reason, pending.attempts))
