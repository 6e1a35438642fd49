"""The durable record of every job: what was asked, and how it ended.

Concurrent acceptances share one commit: whoever holds the commit lock takes along
everything that waits by then, so that ten requests at once cost one flush, and a lone one
costs no detour over another thread.
"""

import errno
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from server.job_state import JobState
from server.ledger_reader import LedgerReader, as_storage_error, storage_error
from server.ledger_schema import END, REOPEN, SCHEMA, UPGRADES, VERSION, Ending, NewJob
from server.reserve import Reserve
from server.settings import Durability

ROOM = 512 * 1024
"""Bytes that are held back on the disk, so that the end of a job can be recorded on a full one."""

LOCKED_SECONDS = 0.2
"""How long another program that holds the file is waited for; so long all who record wait too."""

_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


_NEW = (*NewJob.__struct_fields__, "state", "batch")
"""The columns that a job has from its acceptance on, beside its id."""

_MOST_ROWS = 30_000 // (len(_NEW) + 1)
"""How many jobs one statement can record: SQLite bounds the values that it takes."""


@dataclass(eq=False, slots=True)
class _Acceptance:
    """One call of `accept_all`, while it waits for its commit."""

    jobs: Sequence[NewJob]
    is_batch: bool
    ids: range | None = None
    error: Exception | None = None

    def rows(self, first: int) -> Iterator[tuple[Any, ...]]:
        """The values of each job's row, the ids counting from `first`."""
        batch = first if self.is_batch else None
        for job_id, job in enumerate(self.jobs, start=first):
            yield (job_id, *msgspec.structs.astuple(job), JobState.QUEUED, batch)


class Ledger(LedgerReader):
    """The SQLite file of one results folder. A context manager; safe for any number of threads.

    With `Durability.FULL` a commit is flushed to the disk before it counts; otherwise it
    is with the operating system, which outlives the processes but not a loss of power.
    """

    def __init__(self, path: Path, durability: Durability) -> None:
        super().__init__()
        self._path = path
        self._synchronous = "FULL" if durability is Durability.FULL else "NORMAL"
        self._accepting: deque[_Acceptance] = deque()
        self._commit_lock = threading.Lock()  # guards _writer and _last_id

    def __enter__(self) -> Self:
        """Open the file, making it where it is missing; StorageError where that fails."""
        with as_storage_error(f"cannot open the ledger {self._path}"), ExitStack() as opened:
            self._path.touch(0o600)  # SQLite gives its other files the same permissions
            self._writer = opened.enter_context(closing(self._connect()))
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute(f"PRAGMA synchronous = {self._synchronous}")
            self._check_whole()
            self._bring_up_to_date()
            self._files = self._identities()
            self._last_id = self._greatest_id()
            self._writer.execute(f"PRAGMA busy_timeout = {1000 * LOCKED_SECONDS:.0f}")
            self._reader = opened.enter_context(closing(self._connect()))
            self._reserve = opened.enter_context(Reserve(self._path.with_suffix(".reserve"), ROOM))
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)

    def _check_whole(self) -> None:
        """DatabaseError where a page of the file is damaged: what it says cannot be relied on."""
        (found,) = self._writer.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)

    def _bring_up_to_date(self) -> None:
        """Make a new file's tables, or those of an older version into the present ones."""
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it was written by a newer server (version {version})")
        for older in range(version or VERSION, VERSION):
            for statement in UPGRADES[older]:
                self._writer.execute(statement)
        self._writer.executescript(SCHEMA)

    def _greatest_id(self) -> int:
        """The last id that was ever given, whether its job is still here or not."""
        row = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        return row[0] if row else 0

    # -- writing ----------------------------------------------------------------------

    def accept(
        self, statistic: str, request: str, fingerprint: str, now: float, **marks: Any
    ) -> int:
        """Record one new job; as `accept_all`."""
        job = NewJob(
            statistic=statistic,
            request=request,
            fingerprint=fingerprint,
            accepted_at=now,
            **marks,
        )
        return self.accept_all([job])[0]

    def accept_all(self, jobs: Sequence[NewJob], *, is_batch: bool = False) -> range:
        """Record new jobs, all or none; their ids, once the record is durable.

        Ids are 1, 2, 3, ... in the order of acceptance, also over restarts. Jobs of a batch
        have the id of its first one as their `batch`. StorageError where the disk refuses:
        then nothing is recorded and no id is used.
        """
        mine = _Acceptance(jobs, is_batch)
        self._accepting.append(mine)
        with self._commit_lock:
            while mine.ids is None and mine.error is None:
                self._commit_waiting()
        if mine.error is not None:
            raise storage_error("the job cannot be recorded", mine.error) from mine.error
        assert mine.ids is not None
        return mine.ids

    def _commit_waiting(self) -> None:
        """Commit what waits; the lock is held, so every acceptance is in exactly one commit.

        One statement, which is its own transaction: each further one would let go of the
        interpreter lock and queue for it again.
        """
        taken = [self._accepting.popleft()]
        count = len(taken[0].jobs)
        while self._accepting and count + len(self._accepting[0].jobs) <= _MOST_ROWS:
            taken.append(self._accepting.popleft())
            count += len(taken[-1].jobs)
        ends = accumulate((len(each.jobs) for each in taken), initial=self._last_id + 1)
        places = [range(first, end) for first, end in pairwise(ends)]
        rows = [
            row for each, ids in zip(taken, places, strict=True) for row in each.rows(ids.start)
        ]
        try:
            self.check_in_place()
            self._writer.execute(_insert(len(rows)), [value for row in rows for value in row])
        except Exception as error:
            for each in taken:
                each.error = error
            if isinstance(error, sqlite3.IntegrityError):
                self._last_id = self._greatest_id()  # somebody else has written to the file
        else:
            self._last_id += count
            for each, ids in zip(taken, places, strict=True):
                each.ids = ids

    def end(self, endings: Sequence[Ending]) -> None:
        """Record, in one commit, how these jobs ended; StorageError where the disk refuses."""
        rows = msgspec.json.encode(endings).decode()
        with as_storage_error("the end of a job cannot be recorded"), self._commit_lock:
            self.check_in_place()
            self._write_at_any_cost(END, rows)

    def _write_at_any_cost(self, statement: str, rows: str) -> None:
        """Write also where the disk is full, as long as there is a reserve to be given up."""
        try:
            self._writer.execute(statement, [rows])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _NO_ROOM or not self._reserve.release():
                raise
            self._writer.execute(statement, [rows])
        else:
            self._reserve.restore()

    def reopen(self, job_id: int) -> bool:
        """Record that a job that was done has not ended after all; whether there is such a job."""
        with as_storage_error("the job cannot be recorded"), self._commit_lock:
            self.check_in_place()
            return self._writer.execute(REOPEN, [job_id]).rowcount > 0

    def remove(self, job_ids: Sequence[int]) -> None:
        """Forget those of these jobs that have ended, in one commit; no id is given again."""
        with as_storage_error("old jobs cannot be removed"), self._commit_lock:
            self.check_in_place()
            self._writer.execute(
                "DELETE FROM jobs"
                " WHERE ended_at IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
                [msgspec.json.encode(job_ids).decode()],
            )

    def check_writable(self) -> None:
        """StorageError where nothing can be recorded now; found out by trying.

        Nothing is found out while somebody else is at it for long: a flush may take its time,
        and whoever asks how the server is must not wait for that.
        """
        if not self._commit_lock.acquire(timeout=2 * LOCKED_SECONDS):
            return
        try:
            with as_storage_error("the ledger cannot be written to"):
                self.check_in_place()
                self._writer.execute("BEGIN IMMEDIATE")
                self._writer.execute("ROLLBACK")
        finally:
            self._commit_lock.release()

    def check_in_place(self) -> None:
        """OSError where a file has been removed: SQLite would go on writing to what is gone."""
        if self._identities() != self._files:
            raise FileNotFoundError(
                errno.ENOENT, "a file of the ledger has been removed", self._path
            )

    def _identities(self) -> list[tuple[int, int] | None]:
        """What tells the file and its log from others that take their names."""
        return [_identity(path) for path in (self._path, f"{self._path}-wal")]


def _insert(count: int) -> str:
    """The statement that records so many jobs."""
    places = f"({', '.join(['?'] * (len(_NEW) + 1))})"
    return f"INSERT INTO jobs (id, {', '.join(_NEW)}) VALUES {', '.join([places] * count)}"


def _identity(path: Path | str) -> tuple[int, int] | None:
    """What tells the file at `path` from another one that takes its name; None without one."""
    try:
        status = os.stat(path)  # noqa: PTH116 - one call per commit
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
