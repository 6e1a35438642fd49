"""The loop inside a worker process: task in, outcome out.

A worker knows the columns, the statistics and its end of a pipe; it writes no file and
starts no process. It ends when told to, when the server's end of the pipe or of the
lifeline is closed, when its memory does not suffice for a task, or when a task kills it.
"""

import faulthandler
import logging
import math
import os
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NoReturn

import msgspec

from server.channel import MAX_FRAME, Channel
from server.memory import MemoryLimit, kept_memory
from server.messages import (
    Assign,
    Failure,
    Forget,
    FromWorker,
    Grown,
    LogLine,
    OutOfMemory,
    Ready,
    Result,
    Skipped,
    Stop,
    Task,
    TaskKind,
    Unfit,
    decode_to_worker,
    encode,
)
from server.shared_data import attach_table
from server.stats.statistic import Statistic
from server.table import Table

_LONGEST_DATA = MAX_FRAME - 1024
_ROOM_FOR_ANSWER = 6 * MAX_FRAME  # its JSON while that grows, and the copies of that
_NO_LIMIT = nullcontext()
_LONGEST_REASON = 2000
_LONGEST_STORY = 20_000

_LOOK_EVERY = 0.02
"""Seconds between two looks at the worker's own memory; one takes some ten microseconds."""

Statistics = Mapping[str, Statistic]


def main(descriptors: Sequence[int], statistics: Statistics, memory: int | None = None) -> NoReturn:
    """Serve tasks until told to stop; leaves the process and never returns.

    `descriptors` are, in this order, the worker's end of its pipe, the reading end of the
    lifeline and the shared region of the columns. `memory` is how many bytes it may take
    for its tasks, beyond what it has when it is ready; None where as many as there are.

    Keeps its end of the pipe open until it is gone, so that the server may take an end of
    file from a living worker for the misbehaviour of a task.

    An exception that is no `Exception` (SystemExit, KeyboardInterrupt) ends the worker
    with that exit code, as it would end any program.
    """
    code = 1
    channel_fd, lifeline_fd, table_fd = descriptors
    try:
        faulthandler.enable()
        threading.Thread(
            target=_watch_lifeline, args=(lifeline_fd,), name="lifeline", daemon=True
        ).start()
        channel = Channel(socket.socket(fileno=channel_fd))
        if (table := _attach(channel, table_fd)) is not None:
            limit = _NO_LIMIT if memory is None else MemoryLimit(memory, _ROOM_FOR_ANSWER)
            _send(channel, LogLine(logging.INFO, "attached the columns, ready"), Ready())
            growth = _Growth(math.inf if memory is None else memory / 2)
            _serve(channel, partial(compute, table, statistics, limit=limit), growth)
        code = 0
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except (EOFError, BrokenPipeError):
        code = 0  # the server is gone, or has no use for this worker
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code & 0xFF)


def _watch_lifeline(lifeline_fd: int) -> None:
    """Leave at once when the server is gone, also in the middle of a task."""
    os.read(lifeline_fd, 1)
    os._exit(0)


def _attach(channel: Channel, table_fd: int) -> Table | None:
    """The columns; None, and the server knows why, where they cannot be had."""
    try:
        table = attach_table(table_fd)
    except Exception as error:
        _send(channel, Unfit(f"cannot attach the columns: {describe(error)}"))
        return None
    os.close(table_fd)
    return table


class _Growth:
    """Notices when the worker keeps more than `most` bytes beyond what it had at first."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._first = kept_memory()
        self._next_look = 0.0

    def noticed(self) -> int:
        """How many bytes more it keeps, the first time that these are too many; else 0."""
        now = time.monotonic()
        if now < self._next_look or self._most == math.inf:
            return 0
        self._next_look = now + _LOOK_EVERY
        try:
            size = kept_memory() - self._first
        except OSError:
            return (
                0  # a task has left no descriptor to look with: the worker may fail, not this one
            )
        if size <= self._most:
            return 0
        self._most = math.inf
        return size


def _serve(channel: Channel, compute: Callable[[Task], bytes], growth: _Growth) -> None:
    assigned: deque[Assign] = deque()
    forgotten: set[int] = set()
    while True:
        arrived = channel.receive() if not assigned else channel.receive_now()
        for message in map(decode_to_worker, arrived):
            match message:
                case Assign():
                    assigned.append(message)
                case Forget(ticket):
                    forgotten.add(ticket)
                case Stop():
                    return
        if assigned:
            ticket, task = (assignment := assigned.popleft()).ticket, assignment.task
            if ticket in forgotten:
                forgotten.discard(ticket)
                _send(channel, Skipped(ticket))
            else:
                try:
                    _send(channel, *_answer(compute, ticket, task))
                except MemoryError:
                    _send(channel, OutOfMemory(ticket))
                    return
                if size := growth.noticed():
                    _send(channel, Grown(size))


def _send(channel: Channel, *messages: FromWorker) -> None:
    channel.send(map(encode, messages))


def _answer(compute: Callable[[Task], bytes], ticket: int, task: Task) -> tuple[FromWorker, ...]:
    """The answer to one assignment, behind a line for the log where it went wrong.

    Raises MemoryError where there is not enough memory for the task or its answer.
    """
    try:
        return (Result(ticket, msgspec.Raw(compute(task))),)
    except MemoryError:
        raise
    except Exception as error:
        reason = describe(error)
        story = _encodable("".join(_traceback(error)))[-_LONGEST_STORY:]
        place = f"job {task.job} part {task.part}"
        line = LogLine(logging.ERROR, f"{place} raised {reason}", story, task.job, task.request_id)
        return line, Failure(ticket, reason)


def compute(
    table: Table,
    statistics: Statistics,
    task: Task,
    *,
    limit: AbstractContextManager[None] = _NO_LIMIT,
) -> bytes:
    """The value of `task` as JSON; `limit` holds while the statistic is at it.

    Raises what the statistic raises, and ValueError where the value is too long to be sent.
    """
    with limit:
        value = _value(table, statistics, task)
    data = msgspec.json.encode(value)
    if len(data) > _LONGEST_DATA:
        raise ValueError(f"the result has {len(data)} bytes, more than {_LONGEST_DATA}")
    return data


def _value(table: Table, statistics: Statistics, task: Task) -> object:
    statistic = statistics[task.statistic]
    request = msgspec.json.decode(task.request, type=statistic.request)
    work = msgspec.json.decode(task.work)
    match task.kind:
        case TaskKind.WHOLE:
            return statistic.combine(table, request, [statistic.partial(table, request, work)])
        case TaskKind.PARTIAL:
            return statistic.partial(table, request, work)
        case TaskKind.MERGE:
            assert statistic.merge is not None, "only a statistic with one is asked for it"
            return statistic.merge(request, work)
        case TaskKind.COMBINE:
            return statistic.combine(table, request, work)


def describe(error: BaseException) -> str:
    """The error's type and text in one bounded line, whatever its arguments are."""
    try:
        text = _encodable(" ".join(str(error).split()))
    except Exception:
        text = "(its text cannot be had)"
    name = type(error).__name__
    return f"{name}: {text}"[:_LONGEST_REASON] if text else name


def _traceback(error: BaseException) -> list[str]:
    try:
        return traceback.format_exception(error, limit=-8)
    except Exception:
        return traceback.format_tb(error.__traceback__, limit=-8)


def _encodable(text: str) -> str:
    """`text` with whatever UTF-8 cannot carry written out."""
    return text.encode("utf-8", "backslashreplace").decode()
