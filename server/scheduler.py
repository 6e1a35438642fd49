"""Which task goes to which worker next: state only, no I/O, no clock, no thread.

The pool tells what happened (a task came, a worker answered, died) and asks what to do
(`next_assignment`, `recall`, `take_back`). A worker holds up to `DEPTH` tasks so that it never
waits for the server. While there is a backlog and a worker's tasks turn out to be tiny, it
holds up to `TINY_DEPTH`. What a worker holds and has not begun can be taken back: for an idle
worker, or for a task whose turn is earlier. The worker is told to forget it, and still
answers for it, so that both sides count alike.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from server.turns import Turn, Turns

DEPTH = 2
"""Tasks in one worker's hands: the one it computes and the next."""

TINY_DEPTH = 16
"""Tasks in one worker's hands while they take less than `TINY_SECONDS` each."""

TINY_SECONDS = 0.001

PATIENCE = 0.002
"""Seconds a task may lie unstarted with one worker while another is idle."""

STALE_SECONDS = 0.25
"""A worker that has been at one task for so long holds no other one: it might hang."""

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
    turn: Turn
    assigned: float
    started: float | None = None
    taken_back: bool = False


@dataclass(slots=True)
class _Hand(Generic[TaskT]):
    """What one worker holds, in the order in which it will answer."""

    held: deque[Assignment[TaskT]] = field(default_factory=deque)
    load: int = 0  # how many of them it is at or still to do
    seconds: float = TINY_SECONDS  # of a task, a moving average

    @property
    def since(self) -> float:
        """When it came to the task that it is at."""
        started = self.held[0].started
        assert started is not None, "the first task in a hand is begun"
        return started

    def is_stale(self, now: float) -> bool:
        """Whether it has been at its task for long."""
        return bool(self.held) and now - self.since >= STALE_SECONDS

    def unstarted(self) -> list[Assignment[TaskT]]:
        """What it has not begun and is still to do, in its order."""
        return [item for item in list(self.held)[1:] if not item.taken_back]


class Scheduler(Generic[TaskT, WorkerT]):
    """Tasks waiting, and tasks in workers' hands. One thread at a time; `is_calm` for any."""

    def __init__(self, turn_of: Callable[[TaskT], tuple[int, int]]) -> None:
        """`turn_of` gives the job and the priority (0 to 9) of a task."""
        self._turns: Turns[TaskT] = Turns(turn_of)
        self._hands: dict[WorkerT, _Hand[TaskT]] = {}
        self._taking: dict[WorkerT, _Hand[TaskT]] = {}  # those of them that get tasks
        self._next_ticket = 0

    def waiting(self) -> int:
        """How many tasks are in no worker's hands."""
        return len(self._turns)

    def submit(self, task: TaskT) -> None:
        """A new task."""
        self._turns.append(task)

    def submit_next(self, task: TaskT) -> None:
        """A task that has had its turn: its worker died, or others of its job were done before."""
        self._turns.prepend(task)

    def drop_of(self, job: int) -> TaskT | None:
        """Let nobody begin the first waiting task of a job; None where none waits."""
        return self._turns.pop_of(job)

    def first(self) -> TaskT | None:
        """The waiting task whose turn it is; None where none waits."""
        found = self._turns.peek()
        return None if found is None else found[0]

    def drop_first(self) -> TaskT:
        """Let nobody begin that task."""
        task, turn = self._turns.pop()
        self._turns.settled(turn)
        return task

    def add_worker(self, worker: WorkerT) -> None:
        """A worker that takes tasks from now on."""
        self._hands[worker] = self._taking[worker] = _Hand()

    def withdraw(self, worker: WorkerT) -> list[Assignment[TaskT]]:
        """A worker that gets no more tasks: what it has not begun waits again.

        Those assignments are given; the worker still answers for them, and for what it is
        computing.
        """
        self._taking.pop(worker, None)
        hand = self._hands.get(worker)
        if hand is None:
            return []
        untouched = hand.unstarted()
        for item in reversed(untouched):
            self._reclaim(hand, item)
        return untouched

    def remove_worker(self, worker: WorkerT) -> tuple[Assignment[TaskT] | None, list[TaskT]]:
        """A worker that is gone: what it was computing, and what it had not begun.

        Both leave out what was taken back from it before.
        """
        self._taking.pop(worker, None)
        hand = self._hands.pop(worker, None)
        if hand is None:
            return None, []
        begun = hand.held[0] if hand.held and not hand.held[0].taken_back else None
        untouched = hand.unstarted()
        for item in untouched if begun is None else [begun, *untouched]:
            self._turns.settled(item.turn)
        return begun, [item.task for item in untouched]

    def begun(self, worker: WorkerT) -> Assignment[TaskT] | None:
        """What `worker` is computing, taken back or not; None where it is idle or unknown."""
        hand = self._hands.get(worker)
        return hand.held[0] if hand and hand.held else None

    def next_assignment(self, now: float) -> tuple[WorkerT, Assignment[TaskT]] | None:
        """The next task for the least loaded worker that has room; None while none has any."""
        waiting = len(self._turns)
        if not waiting:
            return None
        has_backlog = waiting >= len(self._taking)  # for all
        best, least = None, TINY_DEPTH
        for worker, hand in self._taking.items():
            load = hand.load
            if load < least and (not load or self._has_room(hand, has_backlog, now)):
                best, least = (worker, hand), load
                if not load:
                    break
        if best is None:
            return None
        worker, hand = best
        return worker, self._assign(hand, now)

    def _has_room(self, hand: _Hand[TaskT], has_backlog: bool, now: float) -> bool:
        """Whether a worker that is at work should hold one more task."""
        is_tiny = has_backlog and hand.seconds < TINY_SECONDS
        return hand.load < (TINY_DEPTH if is_tiny else DEPTH) and not hand.is_stale(now)

    def _assign(self, hand: _Hand[TaskT], now: float) -> Assignment[TaskT]:
        task, turn = self._turns.pop()
        self._next_ticket += 1
        item = Assignment(self._next_ticket, task, turn, now)
        if not hand.held:
            self._begin(item, now)
        hand.held.append(item)
        hand.load += 1
        return item

    def _begin(self, item: Assignment[TaskT], now: float) -> None:
        item.started = now
        if not item.taken_back:
            self._turns.begun()

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
        hand.load -= 1
        if hand.held:
            hand.load += hand.held[0].taken_back  # the worker comes to it all the same
            self._begin(hand.held[0], now)
        if item.taken_back:
            return None
        self._turns.settled(item.turn)
        return item

    def cancel(self, job: int) -> list[tuple[WorkerT, Assignment[TaskT], bool]]:
        """Drop the tasks of a job; those in the hands of workers are given.

        With each whether the worker is at it already. The assignment stays with the worker,
        as no longer its own, until that one answers for it.
        """
        self._turns.drop(job)
        found = []
        for worker, hand in self._hands.items():
            for place, item in enumerate(hand.held):
                if not item.taken_back and item.turn[2] == job:
                    item.taken_back = True
                    hand.load -= place > 0
                    self._turns.settled(item.turn)
                    found.append((worker, item, place == 0))
        return found

    def recall(self) -> list[tuple[WorkerT, Assignment[TaskT]]]:
        """What one worker has not begun and a task of another job, which waits, comes before.

        They wait again; the assignments stay with the worker until it answers for them. Of
        several workers it is the one that has been at its task for the longest.
        """
        first = self._turns.peek()
        if first is None:
            return []
        _, turn = first
        overtaken = [
            (worker, hand, items)
            for worker, hand in self._taking.items()
            if hand.load > 1 and (hand.held[-1].turn > turn or hand.held[-1].taken_back)
            if (items := [each for each in hand.unstarted() if _comes_after(each.turn, turn)])
        ]
        if not overtaken:
            return []
        worker, hand, items = min(overtaken, key=lambda each: each[1].since)
        for item in reversed(items):
            self._reclaim(hand, item)
        return [(worker, item) for item in items]

    def _reclaim(self, hand: _Hand[TaskT], item: Assignment[TaskT]) -> None:
        """Have an assignment that was not begun wait again; of several, the last one first."""
        item.taken_back = True
        hand.load -= 1
        self._turns.put_back(item.task, item.turn)

    def take_back(self, now: float) -> Iterator[tuple[WorkerT, Assignment[TaskT]]]:
        """Unstarted tasks that idle workers could begin, or that lie behind a long one.

        Each with the worker that holds it. The task waits again; the assignment stays with
        the worker until that one answers for it.
        """
        for worker, hand in self._hands.items():
            if hand.load > 1 and hand.is_stale(now):
                for item in reversed(hand.unstarted()):
                    self._reclaim(hand, item)
                    yield worker, item
        idle = self._idle()
        if len(self._turns) or not idle:
            return
        for worker, hand in self._hands.items():
            for item in reversed(hand.unstarted()):
                if not idle:
                    return
                if now - item.assigned >= PATIENCE:
                    self._reclaim(hand, item)
                    idle -= 1
                    yield worker, item

    def take_back_at(self) -> float | None:
        """When `take_back` could next give something; None where only an answer changes that."""
        loaded = [hand for hand in self._hands.values() if hand.load > 1]
        due = [hand.since + STALE_SECONDS for hand in loaded]
        if not len(self._turns) and self._idle():
            due += [item.assigned + PATIENCE for hand in loaded for item in hand.unstarted()]
        return min(due, default=None)

    def is_calm(self) -> bool:
        """Whether no worker is at a task, or all are, and at none that is likely to be tiny."""
        hands = list(self._taking.values())  # a copy, for threads that do not own this
        seconds = [hand.seconds for hand in hands if hand.held]
        return not seconds or (len(seconds) == len(hands) and min(seconds) >= TINY_SECONDS)

    def is_uneven(self) -> bool:
        """Whether a worker is idle while another one holds what it has not begun."""
        return any(hand.load > 1 for hand in self._hands.values()) and self._idle() > 0

    def _idle(self) -> int:
        return sum(not hand.held for hand in self._taking.values())


def _comes_after(turn: Turn, other: Turn) -> bool:
    """Whether a task should wait for one of another job; the order within a job is no matter."""
    return turn > other and turn[2] != other[2]
