"""Which task goes to which worker next: state only, no I/O, no clock, no thread.

The pool tells what happened (a task came, a worker answered, died) and asks what to do
(`next_assignment`, `take_back`). A worker holds up to `DEPTH` tasks so that it never waits
for the server. While there is a backlog and a worker's tasks turn out to be tiny, it holds up
to `TINY_DEPTH`. An idle worker is given what another one holds and has not started: that
one is told to forget it, and still answers for it, so that both sides count alike.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

DEPTH = 2
"""Tasks in one worker's hands: the one it computes and the next."""

TINY_DEPTH = 16
"""Tasks in one worker's hands while they take less than `TINY_SECONDS` each."""

TINY_SECONDS = 0.001

PATIENCE = 0.002
"""Seconds a task may lie unstarted with one worker while another is idle."""

TaskT = TypeVar("TaskT")
WorkerT = TypeVar("WorkerT", bound=Hashable)


class OutOfStep(Exception):
    """A worker has answered for something that it was not about to answer for."""


@dataclass(slots=True)
class Assignment(Generic[TaskT]):
    """A task in a worker's hands.

    `started` is when the worker came to it, as far as its answers tell; None while others
    lie before it. `taken_back` where the task is no longer this worker's.
    """

    ticket: int
    task: TaskT
    assigned: float
    started: float | None = None
    taken_back: bool = False


@dataclass(slots=True)
class _Hand(Generic[TaskT]):
    """What one worker holds, in the order in which it will answer."""

    held: deque[Assignment[TaskT]] = field(default_factory=deque)
    seconds: float = TINY_SECONDS  # of a task, a moving average


class Scheduler(Generic[TaskT, WorkerT]):
    """Tasks waiting, and tasks in the hands of workers. Owned by one thread."""

    def __init__(self) -> None:
        self.waiting: deque[TaskT] = deque()
        self._hands: dict[WorkerT, _Hand[TaskT]] = {}
        self._taking: dict[WorkerT, _Hand[TaskT]] = {}  # those of them that get tasks
        self._next_ticket = 0

    def submit(self, task: TaskT) -> None:
        """A new task, behind all others."""
        self.waiting.append(task)

    def retry(self, task: TaskT) -> None:
        """A task whose worker died, before all others."""
        self.waiting.appendleft(task)

    def add_worker(self, worker: WorkerT) -> None:
        """A worker that takes tasks from now on."""
        self._hands[worker] = self._taking[worker] = _Hand()

    def withdraw(self, worker: WorkerT) -> list[Assignment[TaskT]]:
        """A worker that gets no more tasks: what it has not begun waits again, before all others.

        Those assignments are given; the worker still answers for them, and for what it is
        computing.
        """
        self._taking.pop(worker, None)
        hand = self._hands.get(worker)
        untouched = [item for item in list(hand.held)[1:] if not item.taken_back] if hand else []
        for item in reversed(untouched):
            item.taken_back = True
            self.retry(item.task)
        return untouched

    def remove_worker(self, worker: WorkerT) -> tuple[Assignment[TaskT] | None, list[TaskT]]:
        """A worker that is gone: what it was computing, and what it had not begun.

        Both leave out what was taken back from it before.
        """
        self._taking.pop(worker, None)
        hand = self._hands.pop(worker, None)
        held = list(hand.held) if hand else []
        begun = held[0] if held and not held[0].taken_back else None
        return begun, [item.task for item in held[1:] if not item.taken_back]

    def begun(self, worker: WorkerT) -> Assignment[TaskT] | None:
        """What `worker` is computing, taken back or not; None where it is idle or unknown."""
        hand = self._hands.get(worker)
        return hand.held[0] if hand and hand.held else None

    def next_assignment(self, now: float) -> tuple[WorkerT, Assignment[TaskT]] | None:
        """The next task for the least loaded worker; None while all have enough."""
        if not self.waiting or not self._taking:
            return None
        worker, hand = min(self._taking.items(), key=lambda item: len(item[1].held))
        if len(hand.held) >= DEPTH:
            found = self._hungry()
            if found is None:
                return None
            worker, hand = found
        return worker, self._assign(hand, self.waiting.popleft(), now)

    def _hungry(self) -> tuple[WorkerT, _Hand[TaskT]] | None:
        """A worker of tiny tasks that has room, as long as there is a backlog for all."""
        if len(self.waiting) < len(self._taking):
            return None
        for worker, hand in self._taking.items():
            if len(hand.held) < TINY_DEPTH and hand.seconds < TINY_SECONDS:
                return worker, hand
        return None

    def _assign(self, hand: _Hand[TaskT], task: TaskT, now: float) -> Assignment[TaskT]:
        self._next_ticket += 1
        item = Assignment(self._next_ticket, task, now, None if hand.held else now)
        hand.held.append(item)
        return item

    def answered(self, worker: WorkerT, ticket: int, now: float) -> Assignment[TaskT] | None:
        """The worker has answered for `ticket`: the assignment this settles.

        None where the task is no longer this worker's. Raises OutOfStep where the answer
        is for anything but the first thing that the worker holds.
        """
        hand = self._hands.get(worker)
        if hand is None or not hand.held or hand.held[0].ticket != ticket:
            raise OutOfStep(f"an answer for ticket {ticket}, which is not due")
        item = hand.held.popleft()
        if item.started is not None and not item.taken_back:
            hand.seconds += 0.25 * (now - item.started - hand.seconds)
        if hand.held:
            hand.held[0].started = now
        return None if item.taken_back else item

    def cancel(
        self, of_job: Callable[[TaskT], bool]
    ) -> Iterator[tuple[WorkerT, Assignment[TaskT], bool]]:
        """Drop the tasks for which `of_job` holds; those in the hands of workers are given.

        With each whether the worker is at it already. The assignment stays with the worker,
        as no longer its own, until that one answers for it.
        """
        self.waiting = deque(task for task in self.waiting if not of_job(task))
        for worker, hand in self._hands.items():
            for place, item in enumerate(hand.held):
                if not item.taken_back and of_job(item.task):
                    item.taken_back = True
                    yield worker, item, place == 0

    def take_back(self, now: float) -> Iterator[tuple[WorkerT, Assignment[TaskT]]]:
        """Unstarted tasks that idle workers could begin, each from the worker that holds it.

        The task waits again, first in the queue; the assignment stays with the worker
        until that one answers for it.
        """
        idle = self._idle()
        if self.waiting or not idle:
            return
        for worker, hand in self._hands.items():
            for item in list(hand.held)[:0:-1]:
                if not idle:
                    return
                if not item.taken_back and now - item.assigned >= PATIENCE:
                    item.taken_back = True
                    self.retry(item.task)
                    idle -= 1
                    yield worker, item

    def take_back_at(self) -> float | None:
        """When `take_back` could next give something; None while nobody is idle."""
        if self.waiting or not self._idle():
            return None
        return min(
            (
                item.assigned + PATIENCE
                for hand in self._hands.values()
                for item in list(hand.held)[1:]
                if not item.taken_back
            ),
            default=None,
        )

    def _idle(self) -> int:
        return sum(not hand.held for hand in self._taking.values())
