"""The small protocol that every pool keeps, and what it tells about tasks and workers.

A pool takes tasks and tells a listener how each one ended. It knows nothing of jobs, files
or HTTP.
"""

from typing import Protocol

import msgspec

from server.channel import MAX_FRAME
from server.messages import Task


class Attempt(msgspec.Struct, frozen=True):
    """One try at a task that cost its worker's life.

    `exit_code` is None where the worker was killed by `signal`, and both are None where
    nobody could learn how it ended. `cause` is the likely reason in words.
    """

    pid: int
    exit_code: int | None
    signal: int | None
    cause: str


class Order(msgspec.Struct, frozen=True):
    """A task with the limits under which it runs: seconds per attempt, and attempts."""

    task: Task
    time_limit: float
    max_attempts: int


LONGEST_TASK = MAX_FRAME - 4096
"""How many bytes a task's request and work may have together."""


def check_length(order: Order) -> None:
    """ValueError where the order's task is too long to be sent to a worker."""
    length = len(bytes(order.task.request)) + len(bytes(order.task.work))
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


class WorkerInfo(msgspec.Struct, frozen=True):
    """One worker as it is now; `memory` is its private memory in bytes."""

    pid: int
    state: str
    job: int | None
    tasks_done: int
    memory: int


class Listener(Protocol):
    """Who hears from a pool. Called from the pool's own threads, so each call is short."""

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
        """What keeps the pool from being whole, in words; None where nothing does."""

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

    def close(self, timeout: float) -> None:
        """End every worker: gently within `timeout` seconds, then by force."""
