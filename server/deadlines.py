"""What is due without anyone's word: when a worker is killed, and when a job's time is over."""

from heapq import heappop, heappush
from typing import Any, NamedTuple

from server.crew import Worker
from server.messages import TaskKind
from server.pool import Order
from server.scheduler import Assignment

SKIP_TIMEOUT = 0.2
"""Seconds that a worker has to pass over what was taken back from it, or to end it."""


class Deadline(NamedTuple):
    """When a worker is to be killed, why, and for which ticket, if one is the reason."""

    when: float
    reason: str
    ticket: int | None


def deadline_of(worker: Worker, item: Assignment[Any] | None) -> Deadline | None:
    """The next deadline of a worker that is at `item`; None where it has none.

    For one that was killed it is when to look whether it is gone.
    """
    if worker.look_at is not None:
        return Deadline(worker.look_at, "", None)
    if not worker.ready:
        return Deadline(worker.ready_by, "was not ready in time", None)
    found = []
    if worker.leave_by is not None:
        found.append(Deadline(worker.leave_by, "did not leave in time", None))
    if item is not None and item.started is not None:
        found.append(_deadline_of_task(item, item.started))
    return min(found, default=None)


def _deadline_of_task(item: Assignment[Any], started: float) -> Deadline:
    if item.taken_back:
        unwanted = "computes what is not wanted any more"
        return Deadline(started + SKIP_TIMEOUT, unwanted, item.ticket)
    limit = item.task.order.time_limit
    return Deadline(limit.deadline(started), str(limit), item.ticket)


class JobEnds:
    """When the time of each job is over that may have tasks waiting then."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []

    def add(self, order: Order, now: float) -> None:
        """The first task of a job is begun; a job of one task has no other that could wait."""
        if order.task.kind is not TaskKind.WHOLE:
            heappush(self._heap, (order.time_limit.deadline(now), order.task.job))

    def next(self) -> float | None:
        """When the next one's time is over; None where there is none."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> int | None:
        """A job whose time is over; None where there is none."""
        if not self._heap or self._heap[0][0] > now:
            return None
        return heappop(self._heap)[1]
