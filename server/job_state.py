"""The states of a job and every change between them.

                 ┌──────────────────────────────┐
                 │                              ▼
    QUEUED ──▶ RUNNING ──▶ DONE               FAILED
       │          │                             ▲
       │          └───────▶ CANCELLED           │
       │                        ▲               │
       └────────────────────────┴───────────────┘

A job is QUEUED from its acceptance until a worker begins with its first task. DONE, FAILED
and CANCELLED are final. A queued job fails where it can no longer be run, for instance
because the table has changed since it was accepted.

A server that takes up a job of an earlier one begins with it as QUEUED again; so does one
that finds the result of a DONE job damaged, for then the job counts as never having ended.
"""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether a job in this state has ended."""
        return not EDGES[self]

    @property
    def status(self) -> str:
        """What clients of the first version read: running, done or error."""
        return {JobState.DONE: "done", JobState.FAILED: "error", JobState.CANCELLED: "error"}.get(
            self, "running"
        )


EDGES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED}),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""Every change of state that a job may make."""


class IllegalChange(Exception):
    """A change of state that is not an edge; always a fault of the server's own code."""


def change(current: JobState, to: JobState) -> JobState:
    """The state after going from `current` to `to`; IllegalChange where there is no edge."""
    if to not in EDGES[current]:
        raise IllegalChange(f"a job cannot go from {current} to {to}")
    return to
