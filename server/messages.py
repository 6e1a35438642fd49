"""What crosses the pipe between the server and a worker: small frozen structs, as JSON.

The server sends `Assign`, `Forget` and `Stop`; a worker answers each `Assign` with exactly
one of `Result`, `Failure`, `OutOfMemory` or `Skipped`, in the order in which it was
assigned, and sends `Ready` or `Unfit` once before that and `Grown` and `LogLine` at any time.
A `ticket` numbers one assignment; the pool never uses it twice, so that a late answer fits
nothing else.
"""

from enum import StrEnum

import msgspec


class TaskKind(StrEnum):
    """What a worker does with a task's `work`."""

    WHOLE = "whole"  # the one part of a job of one part: partial and combine in one go
    PARTIAL = "partial"  # one part of several; `work` is the part
    MERGE = "merge"  # several neighbouring partials into one; `work` is the list of them
    COMBINE = "combine"  # the last step of a job of several; `work` is the list of partials


class Task(msgspec.Struct, frozen=True, array_like=True):
    """What one worker gets. `request` and `work` are JSON that the statistic understands.

    `request_id` is that of the client's request that the job has come with, for the log.
    """

    job: int
    part: int
    kind: TaskKind
    statistic: str
    request: msgspec.Raw
    work: msgspec.Raw
    request_id: str = ""


class Assign(msgspec.Struct, frozen=True, array_like=True, tag="assign"):
    """Do this task."""

    ticket: int
    task: Task


class Forget(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    """Another worker has this ticket now: skip it, unless it has been started."""

    ticket: int


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="stop"):
    """Leave; what has been assigned and not begun is not wanted any more."""


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """The worker has attached the columns and takes tasks."""


class Unfit(msgspec.Struct, frozen=True, array_like=True, tag="unfit"):
    """The worker cannot start, for a reason that the next one will meet as well."""

    reason: str


class Result(msgspec.Struct, frozen=True, array_like=True, tag="result"):
    """The task's value as JSON."""

    ticket: int
    data: msgspec.Raw


class Failure(msgspec.Struct, frozen=True, array_like=True, tag="failure"):
    """The task raised, or its value cannot be encoded; trying again would not help."""

    ticket: int
    reason: str


class OutOfMemory(msgspec.Struct, frozen=True, array_like=True, tag="out of memory"):
    """The task took more memory than the worker may have; the worker leaves after this answer."""

    ticket: int


class Grown(msgspec.Struct, frozen=True, array_like=True, tag="grown"):
    """After its last task the worker keeps `size` bytes more than at first: more than it should."""

    size: int


class Skipped(msgspec.Struct, frozen=True, array_like=True, tag="skipped"):
    """The task was forgotten before it was started."""

    ticket: int


class LogLine(msgspec.Struct, frozen=True, array_like=True, tag="log"):
    """One line for the server's log, perhaps with a traceback of several lines.

    `level` is a level number of `logging`; `job` and `request_id` where it is about a task.
    """

    level: int
    text: str
    trace: str = ""
    job: int | None = None
    request_id: str = ""


ToWorker = Assign | Forget | Stop
FromWorker = Ready | Unfit | Result | Failure | OutOfMemory | Skipped | Grown | LogLine

encode = msgspec.json.Encoder().encode
decode_to_worker = msgspec.json.Decoder(ToWorker).decode
decode_from_worker = msgspec.json.Decoder(FromWorker).decode
