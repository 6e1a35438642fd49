"""What runs in a Dask worker: it gets the columns once, and then tasks that carry only names.

A worker that has the columns of a server offers a resource that is named after them, and
that server's tasks ask for it. So none of them can come to a worker with other columns.
"""

import asyncio
import faulthandler
import hashlib
import os
import platform
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from dask.typing import Key
from distributed import Status, Worker, WorkerPlugin, get_worker

from server.dask_columns import MOST, ColumnStore, default_folder
from server.memory import keep_freed
from server.messages import Task
from server.stats.statistic import Statistic
from server.table import Table
from server.worker import compute, describe

PACKAGES = ("distributed", "msgspec", "numpy", "scipy")
"""What must be the same everywhere, beside Python and this program, for the same digits."""

GRACE = 2.0
"""Seconds beyond a job's time limit after which a worker ends itself, if nobody else does."""

DESERTED_SECONDS = 5.0
"""How long a worker is at what nobody wants any more; a server that is there ends it sooner."""

LAST_WORD_SECONDS = 2.0
"""How long the word may take that a worker is about to leave."""

LONGEST_TOLD = 8192
"""Bytes of an answer that goes to the server as an event; the scheduler keeps the last ones."""

_LONGEST_STORY = 20_000


class Wanted(msgspec.Struct, frozen=True):
    """What a server wants of its workers.

    `columns` is the digest of its region, `folder` where a host keeps them (None: the usual
    place), `catalogue` the module of the statistics, `versions` what the server runs with.
    """

    columns: str
    catalogue: str
    folder: str | None
    versions: dict[str, str]

    @property
    def resource(self) -> str:
        """The name of what a worker offers that has all this."""
        had = (self.columns, self.catalogue, sorted(self.versions.items()))
        return f"sportiv-{hashlib.sha256(msgspec.json.encode(had)).hexdigest()[:24]}"


class Presence(msgspec.Struct, frozen=True):
    """A worker's answer: that it is ready, or what it `lacks`, or why it is `unfit`.

    It lacks the columns in the folder of this name; `nanny` tells whether somebody starts it
    again when it has ended.
    """

    pid: int
    threads: int
    nanny: bool
    lacks: str | None = None
    unfit: str | None = None


class Errand(msgspec.Struct, frozen=True):
    """One task on its way: `topic` is where to tell of it, `seconds` how long it may take."""

    topic: str
    ticket: int
    resource: str
    seconds: float
    task: Task


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised: in a line, and with its traceback."""

    reason: str
    story: str = ""


class NotHere(Exception):
    """The worker does not have the columns that a task is about."""


@dataclass(slots=True)
class _Held:
    table: Table
    statistics: Mapping[str, Statistic]
    used: float  # when the last task came that is about it


_held: dict[str, _Held] = {}  # by the resource; lives as long as the worker's process


@cache
def versions() -> dict[str, str]:
    """What this process computes with."""
    found = {"Python": platform.python_version(), "the statistics": _digest_of_statistics()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def _digest_of_statistics() -> str:
    folder = Path(__file__).parent
    paths = [folder / "table.py", *sorted((folder / "stats").glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str | None:
    """In which versions a worker differs from its server, in words; None where in none."""
    told = [
        f"{name} {theirs.get(name, 'none')} instead of {mine}"
        for name, mine in ours.items()
        if theirs.get(name) != mine
    ]
    return f"it has {', '.join(told)}" if told else None


# -- the columns ----------------------------------------------------------------------


async def prepare(wanted: Wanted, dask_worker: Worker) -> Presence:
    """Attach the columns and offer to compute over them, unless something is in the way."""
    threads = dask_worker.state.nthreads
    about = (os.getpid(), threads, dask_worker.nanny is not None)
    if unfit := difference(versions(), wanted.versions):
        return Presence(*about, unfit=unfit)
    if wanted.resource not in _held:
        try:
            statistics = import_module(wanted.catalogue).STATISTICS
            store = _store(wanted)
            table = await asyncio.to_thread(store.attach, wanted.columns)
        except (ImportError, OSError) as error:
            return Presence(*about, unfit=describe(error))
        if table is None:
            return Presence(*about, lacks=store.identity())
        await _let_go(dask_worker)
        keep_freed()  # a nanny has its worker give back each freed page at once
        if Lifeline.name not in dask_worker.plugins:
            await dask_worker.plugin_add(Lifeline(), name=Lifeline.name)
        _held[wanted.resource] = _Held(table, statistics, time.monotonic())
    if dask_worker.state.total_resources.get(wanted.resource) != threads:
        await dask_worker.set_resources(**{wanted.resource: threads})
        # The scheduler looks for work that nobody could do when a worker comes, and this one
        # had come before it could: so it leaves for a moment, and comes again.
        dask_worker.status = Status.paused
        dask_worker.status = Status.running
    return Presence(*about)


async def _let_go(worker: Worker) -> None:
    """Make room for one more table: what was of no use for longest is offered no longer.

    Its servers are told by the topic of its name.
    """
    while len(_held) >= MOST:
        oldest = min(_held, key=lambda resource: _held[resource].used)
        await worker.set_resources(**{oldest: 0})
        _held.pop(oldest, None)
        worker.log_event(oldest, worker.address)


async def begin_columns(wanted: Wanted, size: int) -> str:
    """As `ColumnStore.begin`."""
    return await asyncio.to_thread(_store(wanted).begin, wanted.columns, size)


async def add_columns(wanted: Wanted, name: str, piece: bytes, at: int) -> None:
    """As `ColumnStore.add`."""
    await asyncio.to_thread(_store(wanted).add, name, piece, at)


async def end_columns(wanted: Wanted, name: str) -> None:
    """As `ColumnStore.end`."""
    await asyncio.to_thread(_store(wanted).end, name, wanted.columns)


def _store(wanted: Wanted) -> ColumnStore:
    return ColumnStore(default_folder() if wanted.folder is None else Path(wanted.folder))


# -- tasks ----------------------------------------------------------------------------

_errands = msgspec.json.Decoder(Errand)


def run_errand(packed: bytes) -> bytes | Failed | None:
    """The task's value as JSON, or how it failed; None where the server was told of it.

    Tells the server when it begins and when it is through. With that goes a short value, which
    saves the server the way to fetch it. NotHere where the task has come to a worker without
    its columns. Ends the process where the task outlasts its time by far: then its server
    cannot reach this worker, or is gone.
    """
    errand, worker = _errands.decode(packed), get_worker()
    worker.log_event(errand.topic, [errand.ticket, worker.address, None])
    held = _held.get(errand.resource)
    if held is None:
        raise NotHere(errand.resource)
    held.used = time.monotonic()
    with _alarm(errand.seconds + GRACE, alone=worker.state.nthreads == 1):
        answer = _computed(held, errand.task)
    told = b"" if isinstance(answer, Failed) or len(answer) > LONGEST_TOLD else answer
    worker.log_event(errand.topic, [errand.ticket, worker.address, told])
    return None if told else answer


def _computed(held: _Held, task: Task) -> bytes | Failed:
    try:
        return compute(held.table, held.statistics, task)
    except MemoryError:
        return Failed("out of memory")
    except BaseException as error:  # also SystemExit: it is the task that ends, not the worker
        return Failed(describe(error), _story(error))


@contextmanager
def _alarm(seconds: float, *, alone: bool) -> Iterator[None]:
    """End the process where this takes longer; a process has only one such alarm."""
    if alone:
        faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        if alone:
            faulthandler.cancel_dump_traceback_later()


def _story(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(error, limit=-8)
    except Exception:
        lines = traceback.format_tb(error.__traceback__, limit=-8)
    return "".join(lines).encode("utf-8", "backslashreplace").decode()[-_LONGEST_STORY:]


async def leave() -> None:
    """End this process, which has nobody else to end it."""
    os._exit(1)


class Lifeline(WorkerPlugin):
    """Ends this process where its one thread computes on for a server that is gone.

    Other servers are told, as when their columns are let go, so that it costs them no attempt.
    """

    name = "sportiv-lifeline"

    def setup(self, worker: Worker) -> None:
        """Dask has added this to the worker."""
        self._worker = worker

    def transition(self, key: Key, start: str, finish: str, **_: object) -> None:
        """The state of a task has changed: look after one that is taken back while it runs."""
        if (start, finish) == ("executing", "released") and "-sportiv-" in str(key):
            asyncio.get_running_loop().call_later(DESERTED_SECONDS, self._look_after, key)

    def _look_after(self, key: Key) -> None:
        state = self._worker.state
        task = state.tasks.get(key)
        if task is not None and task.state == "cancelled" and state.nthreads == 1:
            for resource in _held:
                self._worker.log_event(resource, self._worker.address)
            asyncio.get_running_loop().call_later(LAST_WORD_SECONDS, os._exit, 1)
