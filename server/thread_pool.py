"""Replicated worker threads behind one queue: the same protocol as the processes, one core.

It serves for comparison, and where processes cannot be had. A thread cannot be killed: a
task beyond its job's time limit fails there too, but its thread computes on, and another
takes its place until it is done. Nor can its memory be limited: there is no memory limit
here, and a task that raises MemoryError has just failed.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec

from server.logging_setup import fields
from server.pool import Listener, Order, Outcome, PoolCounts, WorkerInfo, check_length
from server.stats.statistic import Statistic
from server.table import Table
from server.turns import Turns
from server.worker import compute, describe

log = logging.getLogger("sportiv.pool")


@dataclass(eq=False, slots=True)
class _Hand:
    """What one thread is at."""

    thread: threading.Thread
    order: Order | None = None
    deadline: float = 0.0
    tasks_done: int = 0


class ThreadPool:
    """N worker threads. A context manager: entering starts them, leaving ends them."""

    backend = "thread"

    def __init__(
        self,
        listener: Listener,
        *,
        workers: int,
        table: Table,
        statistics: Mapping[str, Statistic],
    ) -> None:
        self._listener = listener
        self._count = workers
        self._table = table
        self._statistics = statistics
        self._changed = threading.Condition()  # guards all below
        self._waiting: Turns[Order] = Turns(lambda order: (order.task.job, order.priority))
        self._hands: list[_Hand] = []
        self._replaced = 0
        self._closed = False
        self._over = False  # nobody hears of an outcome any more

    def __enter__(self) -> Self:
        with self._changed:
            for _ in range(self._count):
                self._add_thread()
        threading.Thread(target=self._keep_time, name="timekeeper", daemon=True).start()
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
        """None: threads do not die."""
        return None

    def submit(self, order: Order) -> None:
        """Queue a task; it ends in exactly one `task_ended`, unless the pool is closed first."""
        check_length(order)
        with self._changed:
            self._waiting.append(order)
            self._changed.notify_all()

    def cancel(self, job: int) -> None:
        """Forget the tasks of `job`; a thread that computes one goes on, and tells nobody."""
        with self._changed:
            self._waiting.drop(job)
            mine = [hand for hand in self._hands if hand.order and hand.order.task.job == job]
            self._replace(mine)

    def workers(self) -> list[WorkerInfo]:
        """Every thread that is alive; each has the server's process and memory, and counts none."""
        with self._changed:
            return [_describe(hand) for hand in self._hands if hand.thread.is_alive()]

    def waiting(self) -> int:
        """How many tasks no thread has yet."""
        return len(self._waiting)

    def counts(self) -> PoolCounts:
        """How many threads were left behind with their tasks; none costs its task an attempt."""
        return PoolCounts(self._replaced, 0)

    def close(self, timeout: float) -> None:
        """Let the threads leave; one that computes longer than `timeout` seconds is left behind."""
        deadline = time.monotonic() + timeout
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            threads = [hand.thread for hand in self._hands]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._over = True
        log.info("workers stopped")

    def _add_thread(self) -> None:
        hand = _Hand(threading.Thread(name="worker", daemon=True))
        hand.thread = threading.Thread(
            target=self._work, args=(hand,), name=f"worker-{len(self._hands)}", daemon=True
        )
        self._hands.append(hand)
        hand.thread.start()

    def _work(self, hand: _Hand) -> None:
        while (order := self._next(hand)) is not None:
            if hand.order is None:
                self._listener.task_ended(Outcome(order.task, None, str(order.time_limit)))
                continue
            self._listener.task_started(order.task)
            outcome = self._compute(order)
            with self._changed:
                in_time = hand in self._hands
                hand.order = None
                hand.tasks_done += 1
            if not in_time or self._over:
                return  # its task has failed already, or nobody waits for it any more
            self._listener.task_ended(outcome)

    def _next(self, hand: _Hand) -> Order | None:
        """The next task; None once the pool is closed.

        It is then in this hand, unless the time of its job is over.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) or self._closed)
            if self._closed:
                return None
            (order, turn), now = self._waiting.pop(), time.monotonic()
            self._waiting.begun()
            self._waiting.settled(turn)
            if not order.time_limit.over(now):
                order.time_limit.begin(now)
                hand.order, hand.deadline = order, order.time_limit.deadline(now)
                self._changed.notify_all()  # the timekeeper
            return order

    def _compute(self, order: Order) -> Outcome:
        try:
            data = compute(self._table, self._statistics, order.task)
        except BaseException as error:  # also SystemExit: it is the task that ends, not we
            task, reason = order.task, describe(error)
            about = fields(job=task.job, statistic=task.statistic, request_id=task.request_id)
            log.error("job %d raised %s", task.job, reason, exc_info=True, extra=about)
            return Outcome(task, None, reason)
        return Outcome(order.task, msgspec.Raw(data))

    def _keep_time(self) -> None:
        """Fail what runs longer than it may, and replace the thread that is stuck with it."""
        while True:
            with self._changed:
                if self._closed:
                    return
                late = self._take_out_late()
                if not late:
                    due = [hand.deadline for hand in self._hands if hand.order is not None]
                    wait = max(0.0, min(due) - time.monotonic()) if due else None
                    self._changed.wait(wait)
            for order in late:
                self._listener.task_ended(Outcome(order.task, None, str(order.time_limit)))

    def _take_out_late(self) -> list[Order]:
        now = time.monotonic()
        late = [hand for hand in self._hands if hand.order is not None and hand.deadline <= now]
        self._replace(late)
        return [hand.order for hand in late if hand.order is not None]

    def _replace(self, hands: list[_Hand]) -> None:
        """Put another thread in the place of each, which leaves when its task is done."""
        for hand in hands:
            self._hands.remove(hand)
            self._add_thread()
            self._replaced += 1


def _describe(hand: _Hand) -> WorkerInfo:
    order = hand.order
    state = "idle" if order is None else "busy"
    job = order.task.job if order is not None else None
    return WorkerInfo(hand.thread.native_id or 0, state, job, hand.tasks_done, 0)
