"""Whose turn it is among the tasks that wait: jobs take turns, task by task.

    job 7 ─ part 12, part 13, ...      turn (tag, served, 7)     the least turn is next
    job 8 ─ its only part              turn (tag, served, 8)

Each job has a line, and the first task of a line a tag: when it would be done if all jobs
were computed at once, each with a share that doubles with every level of priority. The tags
are on a clock of their own, which a begun task moves on by what all shares together take for
one (weighted fair queueing, Demers, Keshav & Shenker 1989). So one job of a thousand parts
holds up no other, a job of a higher priority has more turns, and none has no turn.
"""

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

TaskT = TypeVar("TaskT")

Turn = tuple[float, bool, int]
"""When a task is due: (tag, served, job), where `served` tells that the job has had a turn.

The least one is next: so of equal tags that of a job which has had none. A plain tuple,
because one is made and compared for every task.
"""


class _Line(Generic[TaskT]):
    """The tasks of one job that wait, and how many of its tasks are with workers."""

    __slots__ = ("out", "share", "step", "tasks", "turn")

    def __init__(self, job: int, priority: int, now: float) -> None:
        self.share = 1 << priority
        self.step = 1 / self.share  # what a task takes of the clock, if no other job has a share
        self.turn: Turn = (now, False, job)  # of the first task
        self.out = 0
        self.tasks: deque[TaskT] = deque()


class Turns(Generic[TaskT]):
    """The tasks that wait. Owned by one thread; its length may be asked from any.

    `turn_of` gives the job and the priority (0 to 9) of a task. Whoever takes a task out
    says when it is begun, and in the end that it is settled, or puts it back.
    """

    def __init__(self, turn_of: Callable[[TaskT], tuple[int, int]]) -> None:
        self._turn_of = turn_of
        self._lines: dict[int, _Line[TaskT]] = {}
        # The turn of every line that has tasks, the object itself; others are passed over.
        self._heap: list[Turn] = []
        self._now = 0.0
        self._shares = 0  # of all lines
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[TaskT]:
        """Every task, job by job."""
        for line in self._lines.values():
            yield from line.tasks

    # -- coming -----------------------------------------------------------------------

    def append(self, task: TaskT) -> None:
        """A new task, behind the others of its job."""
        line = self._line_of(task)
        line.tasks.append(task)
        self._length += 1
        if len(line.tasks) == 1:
            tag, served, job = line.turn
            due = self._now if served else self._now + line.step
            line.turn = (max(tag, due), served, job)
            heappush(self._heap, line.turn)

    def prepend(self, task: TaskT) -> None:
        """A task that is due now, before others of its job: it has had its turn before."""
        line = self._line_of(task)
        tag, _, job = line.turn
        self._to_front(line, task, (min(tag, self._now), False, job))

    def put_back(self, task: TaskT, turn: Turn) -> None:
        """A task that was taken out and not begun, with the turn that it had."""
        line = self._lines[turn[2]]
        line.out -= 1
        self._to_front(line, task, min(line.turn, turn))

    def _line_of(self, task: TaskT) -> _Line[TaskT]:
        """The line of the task's job."""
        job, priority = self._turn_of(task)
        line = self._lines.get(job)
        if line is None:
            line = self._lines[job] = _Line(job, priority, self._now)
            self._shares += line.share
        return line

    def _to_front(self, line: _Line[TaskT], task: TaskT, turn: Turn) -> None:
        line.tasks.appendleft(task)
        self._length += 1
        line.turn = turn
        heappush(self._heap, turn)

    # -- going ------------------------------------------------------------------------

    def peek(self) -> tuple[TaskT, Turn] | None:
        """The task whose turn it is, and its turn; None where none waits."""
        line = self._first()
        return None if line is None else (line.tasks[0], line.turn)

    def pop(self) -> tuple[TaskT, Turn]:
        """Take that task out; IndexError where none waits."""
        line = self._first()
        if line is None:
            raise IndexError("no task waits")
        turn = heappop(self._heap)
        task = line.tasks.popleft()
        self._length -= 1
        line.out += 1
        line.turn = (turn[0] + line.step, True, turn[2])
        if line.tasks:
            heappush(self._heap, line.turn)
        return task, turn

    def _first(self) -> _Line[TaskT] | None:
        heap = self._heap
        while heap:
            line = self._lines.get(heap[0][2])
            if line is not None and line.turn is heap[0] and line.tasks:
                return line
            heappop(heap)
        return None

    def begun(self) -> None:
        """A task that was taken out is being computed."""
        if self._shares:
            self._now += 1 / self._shares

    def settled(self, turn: Turn) -> None:
        """The task that was taken out with this turn has ended, or may only come back as new."""
        line = self._lines.get(turn[2])
        if line is not None:
            line.out -= 1
            self._forget_empty(line)

    def pop_of(self, job: int) -> TaskT | None:
        """Take out the first task of a job that waits, for good; None where none does."""
        line = self._lines.get(job)
        if line is None or not line.tasks:
            return None
        task = line.tasks.popleft()
        self._length -= 1
        self._forget_empty(line)
        return task

    def drop(self, job: int) -> list[TaskT]:
        """Take out every task of a job that waits; they count as settled."""
        line = self._lines.get(job)
        if line is None:
            return []
        dropped = list(line.tasks)
        line.tasks.clear()
        self._length -= len(dropped)
        self._forget_empty(line)
        return dropped

    def _forget_empty(self, line: _Line[TaskT]) -> None:
        if not line.tasks and line.out <= 0:
            del self._lines[line.turn[2]]
            self._shares -= line.share
