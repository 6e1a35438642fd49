"""The small protocol that every pool keeps, and what it tells about tasks and workers.

A pool takes tasks and tells a listener how each one ended. It knows nothing of jobs, files
or HTTP.
"""

import logging
from dataclasses import dataclass
from typing import Protocol

import msgspec

from server.channel import MAX_FRAME
from server.logging_setup import fields
from server.messages import Task, TaskKind

LATER_STEPS = (TaskKind.MERGE, TaskKind.COMBINE)
"""The kinds of tasks whose jobs have had their turns: they go before others."""

log = logging.getLogger("sportiv.pool")


class Attempt(msgspec.Struct, frozen=True):
    """One try at a task that cost its worker's life.

    `exit_code` is None where the worker was killed by `signal`, and both are None where
    nobody could learn how it ended. `cause` is the likely reason in words, `stage` what the
    worker was at.
    """

    pid: int
    exit_code: int | None
    signal: int | None
    cause: str
    stage: str = ""


@dataclass(eq=False, slots=True)
class TimeLimit:
    """How long one job may take, over all its tasks and all their attempts.

    The orders of a job share it. Only the pool, which knows when the first of them begins,
    calls `begin`; `begun` is on the monotonic clock.
    """

    seconds: float
    begun: float | None = None

    def begin(self, now: float) -> None:
        """A task of the job begins; where it is not the first one, this changes nothing."""
        if self.begun is None:
            self.begun = now

    def deadline(self, started: float) -> float:
        """When a task of the job that was begun at `started` has to be done."""
        return (started if self.begun is None else self.begun) + self.seconds

    def over(self, now: float) -> bool:
        """Whether the job's time has run out, so that none of its tasks may begin any more."""
        return self.begun is not None and now >= self.begun + self.seconds

    def __str__(self) -> str:
        """The reason for which a job fails at its limit."""
        return f"time limit of {self.seconds:g} s"


class Order(msgspec.Struct, frozen=True):
    """A task with the limits under which it runs: its job's time, and its own attempts.

    Jobs of a higher `priority` (0 to 9) have more turns.
    """

    task: Task
    time_limit: TimeLimit
    max_attempts: int
    priority: int = 5


LONGEST_TASK = MAX_FRAME - 4096
"""How many bytes a task's request and work may have together."""


def check_length(order: Order) -> None:
    """ValueError where the order's task is too long to be sent to a worker."""
    length = len(memoryview(order.task.request)) + len(memoryview(order.task.work))
    if length > LONGEST_TASK:
        raise ValueError(f"the task has {length} bytes, more than {LONGEST_TASK}")


class Outcome(msgspec.Struct, frozen=True):
    """How a task ended: with `data` (JSON), or without and for a `reason`.

    `attempts` are those that failed before; a task that ended well at once has none.
    """

    task: Task
    data: msgspec.Raw | None
    reason: str | None = None
    attempts: tuple[Attempt, ...] = ()


def note_attempt(task: Task, attempt: Attempt, tries: int) -> None:
    """Tell the log of an attempt at the task that has failed, the last of so many."""
    about = fields(
        worker=attempt.pid, job=task.job, statistic=task.statistic, request_id=task.request_id
    )
    story = f"{attempt.cause}, {attempt.stage}"
    log.warning("job %d part %d attempt %d: %s", task.job, task.part, tries, story, extra=about)


def used_up(attempt: Attempt, tries: int) -> str:
    """The reason for which a task fails whose attempts are used up, the last of so many."""
    return f"its worker died in each of {tries} attempts; in the last, {attempt.cause}"


class WorkerInfo(msgspec.Struct, frozen=True):
    """One worker as it is now; `memory` is its private memory in bytes.

    `state` is starting, idle, busy, or leaving: it gets no more tasks, and another is there
    or on the way.
    """

    pid: int
    state: str
    job: int | None
    tasks_done: int
    memory: int


class PoolCounts(msgspec.Struct, frozen=True):
    """What has happened in a pool since it was whole for the first time.

    `replaced` are workers that have become ready in the place of others; `retried` are
    attempts at tasks after one that cost a worker's life.
    """

    replaced: int
    retried: int


class Listener(Protocol):
    """Who hears from a pool.

    Called from the pool's own threads, and by a thread that submits before `submit` returns; so
    each call is short, and nobody submits with a lock that is taken here.
    """

    def task_started(self, task: Task) -> None:
        """A worker has begun with `task`; after a worker's death, begun again."""

    def task_ended(self, outcome: Outcome) -> None:
        """The task has ended; called exactly once for each task that was submitted."""


class Pool(Protocol):
    """Replicated workers behind one queue.

    Every task submitted ends in exactly one call of the listener's `task_ended`, unless it
    was cancelled or the pool was closed first; whoever submitted it keeps it until then.
    """

    backend: str

    @property
    def trouble(self) -> str | None:
        """Why the pool is not whole and does not become so in a moment; None where it does."""

    def submit(self, order: Order) -> None:
        """Queue a task; returns at once. ValueError where it is too long for a pipe."""

    def cancel(self, job: int) -> None:
        """Forget the tasks of `job`; returns at once.

        Those that no worker has begun never begin. One that is being computed is stopped
        where it can be. Of none of them an outcome comes any more.
        """

    def workers(self) -> list[WorkerInfo]:
        """Every worker that is alive."""

    def waiting(self) -> int:
        """How many tasks no worker has yet."""

    def counts(self) -> PoolCounts:
        """How often workers were replaced and tasks tried again."""

    def close(self, timeout: float) -> None:
        """End every worker: gently within `timeout` seconds, then by force."""
