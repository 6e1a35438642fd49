"""When something is due that nobody will tell of, and doing it then."""

import math
import time
from collections.abc import Iterator

from server.crew import Worker, is_exiting
from server.deadlines import Deadline, deadline_of
from server.dispatch import Dispatch
from server.pool import Order
from server.staff import Staff

KNOWN_SECONDS = 0.05
"""For how long the next deadline counts as known; one that has come since may be kept so late."""


class Lookout:
    """The deadlines of a pool. Owned by its supervisor, as are the staff and the tasks it watches.

    The supervisor waits no longer than `seconds`, and calls `look` at `next_look` or later.
    """

    def __init__(self, staff: Staff, dispatch: Dispatch) -> None:
        self._staff = staff
        self._dispatch = dispatch
        self._known_at = -math.inf
        self.next_look = math.inf  # the next deadline, as of `_known_at`, or an earlier moment
        self.waits_until = math.inf  # when the supervisor goes on at the latest

    def seconds(self) -> float | None:
        """Seconds until something may be due; None if nothing is.

        To know it means to look at every worker, which is not done for every message. What was
        to be looked at remains so, though it may have been settled: a look too many costs less
        than a supervisor that has to be woken for every deadline that comes.
        """
        now = time.monotonic()
        if self._dispatch.is_uneven() or now >= self._known_at + KNOWN_SECONDS:
            self._known_at = now
            kept = self.next_look if self.next_look > now else math.inf
            self.next_look = self.waits_until = min(kept, self._next_deadline())
        else:
            self.waits_until = min(self.next_look, self._known_at + KNOWN_SECONDS)
        return None if self.waits_until == math.inf else max(0.0, self.waits_until - now)

    def must_know(self, order: Order, now: float) -> bool:
        """Whether something is due because of the order before the supervisor goes on."""
        due = self._dispatch.next_moment()
        limit = order.time_limit.deadline(now)
        return (limit if due is None else min(limit, due)) < self.waits_until

    def look(self, now: float) -> Iterator[Worker]:
        """Do what is due; gives each worker that turns out to be gone, whatever its pipe says."""
        self._known_at = -math.inf
        self._dispatch.take_back(now)
        self._dispatch.end_what_waits_too_long(now)
        yield from self._kill_who_is_late(now)

    def _kill_who_is_late(self, now: float) -> Iterator[Worker]:
        for worker in list(self._staff.workers):
            deadline = self._deadline(worker)
            if deadline is None or now < deadline.when:
                continue
            if worker.kill_reason is None:
                worker.kill(deadline.reason, deadline.ticket)
            elif is_exiting(worker.pid):
                yield worker  # a child that it has left behind holds its pipe
            else:
                worker.kill()

    def _next_deadline(self) -> float:
        deadlines = [self._deadline(worker) for worker in self._staff.workers]
        due = [deadline.when for deadline in deadlines if deadline is not None]
        others = (self._dispatch.next_moment(), self._staff.next_start())
        return min((*due, *(moment for moment in others if moment is not None)), default=math.inf)

    def _deadline(self, worker: Worker) -> Deadline | None:
        return deadline_of(worker, self._dispatch.begun(worker))
