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
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from server.errors import StorageError, StorageFull
from server.job_state import JobState
from server.reserve import Reserve
from server.settings import Durability

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice
    statistic   TEXT NOT NULL,
    request     TEXT NOT NULL,                      -- JSON
    fingerprint TEXT NOT NULL,                      -- of the table that was asked
    state       TEXT NOT NULL,                      -- queued, until the job has ended
    accepted_at REAL NOT NULL,                      -- seconds since 1970, GMT
    started_at  REAL,
    ended_at    REAL,
    reason      TEXT,                               -- why it did not end well
    attempts    TEXT NOT NULL DEFAULT '[]',         -- JSON: workers that died at it
    checksum    INTEGER                             -- of the result file; null where there is none
);
CREATE INDEX IF NOT EXISTS not_ended ON jobs (id) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;
PRAGMA user_version = 2;
"""

_VERSION = 2
_UPGRADES = {1: "ALTER TABLE jobs ADD COLUMN checksum INTEGER"}
"""What makes a file of version n one of version n + 1."""


ROOM = 512 * 1024
"""Bytes that are held back on the disk, so that the end of a job can be recorded on a full one."""

_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One job as the ledger knows it. `request` and `attempts` are JSON texts.

    `checksum` is that of the result file, as `result_store.checksum` makes it; None where no
    file was written, or by a version that took none.
    """

    id: int
    statistic: str
    request: str
    fingerprint: str
    state: JobState
    accepted_at: float
    started_at: float | None
    ended_at: float | None
    reason: str | None
    attempts: str
    checksum: int | None


_END = """
UPDATE jobs SET
    state = json_extract(ended.value, '$.state'),
    fingerprint = json_extract(ended.value, '$.fingerprint'),
    started_at = json_extract(ended.value, '$.started_at'),
    ended_at = json_extract(ended.value, '$.ended_at'),
    reason = json_extract(ended.value, '$.reason'),
    attempts = json_extract(ended.value, '$.attempts'),
    checksum = json_extract(ended.value, '$.checksum')
FROM json_each(?) AS ended WHERE jobs.id = json_extract(ended.value, '$.id')
"""

_REOPEN = """
UPDATE jobs SET state = 'queued', started_at = NULL, ended_at = NULL, reason = NULL,
    attempts = '[]', checksum = NULL
WHERE id = ? AND state = 'done'
"""

_COLUMNS = ", ".join(JobRecord.__struct_fields__)


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended, as `Ledger.end` records it."""

    id: int
    state: JobState
    fingerprint: str
    started_at: float | None
    ended_at: float
    reason: str | None = None
    attempts: str = "[]"
    checksum: int | None = None


@dataclass(eq=False, slots=True)
class _Acceptance:
    """One call of `accept`, while it waits for its commit."""

    row: tuple[str, str, str, str, float]
    id: int | None = None
    error: Exception | None = None


class Ledger:
    """The SQLite file of one results folder. A context manager; safe for any number of threads.

    With `Durability.FULL` a commit is flushed to the disk before it counts; otherwise it
    is with the operating system, which outlives the processes but not a loss of power.
    """

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path = path
        self._synchronous = "FULL" if durability is Durability.FULL else "NORMAL"
        self._accepting: deque[_Acceptance] = deque()
        self._commit_lock = threading.Lock()  # guards _writer and _last_id
        self._read_lock = threading.Lock()  # guards _reader

    def __enter__(self) -> Self:
        """Open the file, making it where it is missing; StorageError where that fails."""
        with _as_storage_error(f"cannot open the ledger {self._path}"), ExitStack() as opened:
            self._path.touch(0o600)  # SQLite gives its other files the same permissions
            self._writer = opened.enter_context(closing(self._connect()))
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute(f"PRAGMA synchronous = {self._synchronous}")
            self._check_whole()
            self._bring_up_to_date()
            self._files = self._identities()
            self._last_id = self._greatest_id()
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
        if version > _VERSION:
            raise sqlite3.DatabaseError(f"it was written by a newer server (version {version})")
        for older in range(version or _VERSION, _VERSION):
            self._writer.execute(_UPGRADES[older])
        self._writer.executescript(_SCHEMA)

    def _greatest_id(self) -> int:
        """The last id that was ever given, whether its job is still here or not."""
        row = self._writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        return row[0] if row else 0

    # -- writing ----------------------------------------------------------------------

    def accept(self, statistic: str, request: str, fingerprint: str, now: float) -> int:
        """Record a new job; its id, once the record is durable.

        Ids are 1, 2, 3, ... in the order of acceptance, also over restarts. StorageError
        where the disk refuses: then nothing is recorded and no id is used.
        """
        mine = _Acceptance((statistic, request, fingerprint, JobState.QUEUED, now))
        self._accepting.append(mine)
        with self._commit_lock:
            if mine.id is None and mine.error is None:
                self._accept_all()
        if mine.error is not None:
            raise _storage_error("the job cannot be recorded", mine.error) from mine.error
        assert mine.id is not None
        return mine.id

    def _accept_all(self) -> None:
        """Commit what waits; the lock is held, so every acceptance is in exactly one batch.

        One statement, which is its own transaction: each further one would let go of the
        interpreter lock and queue for it again.
        """
        batch = [self._accepting.popleft() for _ in range(len(self._accepting))]
        first = self._last_id + 1
        rows = [(job_id, *each.row) for job_id, each in enumerate(batch, start=first)]
        places = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(rows))
        try:
            self.check_in_place()
            self._writer.execute(
                "INSERT INTO jobs (id, statistic, request, fingerprint, state, accepted_at)"
                f" VALUES {places}",
                [value for row in rows for value in row],
            )
        except Exception as error:
            for each in batch:
                each.error = error
            if isinstance(error, sqlite3.IntegrityError):
                self._last_id = self._greatest_id()  # somebody else has written to the file
        else:
            self._last_id += len(batch)
            for row, each in zip(rows, batch, strict=True):
                each.id = row[0]

    def end(self, endings: Sequence[Ending]) -> None:
        """Record, in one commit, how these jobs ended; StorageError where the disk refuses."""
        rows = msgspec.json.encode(endings).decode()
        with _as_storage_error("the end of a job cannot be recorded"), self._commit_lock:
            self.check_in_place()
            self._write_at_any_cost(_END, rows)

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
        with _as_storage_error("the job cannot be recorded"), self._commit_lock:
            self.check_in_place()
            return self._writer.execute(_REOPEN, [job_id]).rowcount > 0

    def remove(self, job_ids: Sequence[int]) -> None:
        """Forget those of these jobs that have ended, in one commit; no id is given again."""
        with _as_storage_error("old jobs cannot be removed"), self._commit_lock:
            self.check_in_place()
            self._writer.execute(
                "DELETE FROM jobs"
                " WHERE ended_at IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
                [msgspec.json.encode(job_ids).decode()],
            )

    def check_in_place(self) -> None:
        """OSError where a file has been removed: SQLite would go on writing to what is gone."""
        if self._identities() != self._files:
            raise FileNotFoundError(
                errno.ENOENT, "a file of the ledger has been removed", self._path
            )

    def _identities(self) -> list[tuple[int, int] | None]:
        """What tells the file and its log from others that take their names."""
        return [_identity(path) for path in (self._path, f"{self._path}-wal")]

    # -- reading ----------------------------------------------------------------------

    def record(self, job_id: int) -> JobRecord | None:
        """What is known of the job; None where no job has this id."""
        rows = self._read(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", job_id)
        return _record(rows[0]) if rows else None

    def unfinished(self) -> list[JobRecord]:
        """Every job that was accepted and has not ended, by id."""
        rows = self._read(f"SELECT {_COLUMNS} FROM jobs WHERE state = 'queued' ORDER BY id")
        return [_record(row) for row in rows]

    def states(self, after: int, limit: int) -> list[tuple[int, JobState]]:
        """(id, state) of up to `limit` jobs with an id above `after`, by id."""
        rows = self._read(
            "SELECT id, state FROM jobs WHERE id > ? ORDER BY id LIMIT ?", after, limit
        )
        return [(job_id, JobState(state)) for job_id, state in rows]

    def ended(self, after: int, limit: int) -> list[JobRecord]:
        """Up to `limit` jobs that have ended, with an id above `after`, by id."""
        rows = self._read(
            f"SELECT {_COLUMNS} FROM jobs"
            " WHERE id > ? AND ended_at IS NOT NULL ORDER BY id LIMIT ?",
            *(after, limit),
        )
        return [_record(row) for row in rows]

    def ended_before(self, moment: float, limit: int) -> list[int]:
        """The ids of up to `limit` jobs that ended before `moment`, the oldest first."""
        rows = self._read(
            "SELECT id FROM jobs WHERE ended_at < ? ORDER BY ended_at, id LIMIT ?", moment, limit
        )
        return [job_id for (job_id,) in rows]

    def first_ended(self, limit: int) -> list[int]:
        """The ids of up to `limit` jobs that have ended, those accepted first."""
        rows = self._read(
            "SELECT id FROM jobs WHERE ended_at IS NOT NULL ORDER BY id LIMIT ?", limit
        )
        return [job_id for (job_id,) in rows]

    def count_ended(self) -> int:
        """How many jobs on record have ended."""
        return int(self._read("SELECT count(*) FROM jobs WHERE ended_at IS NOT NULL")[0][0])

    def _read(self, query: str, *values: float) -> list[tuple[Any, ...]]:
        with _as_storage_error("the ledger cannot be read"), self._read_lock:
            return self._reader.execute(query, values).fetchall()


def _record(row: tuple[Any, ...]) -> JobRecord:
    fields = dict(zip(JobRecord.__struct_fields__, row, strict=True))
    try:
        return msgspec.convert(fields, JobRecord)
    except msgspec.ValidationError as error:
        raise StorageError(f"the ledger's row of job {row[0]} makes no sense: {error}") from error


@contextmanager
def _as_storage_error(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _storage_error(what, error) from error


def _storage_error(what: str, error: Exception) -> StorageError:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    full |= getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return (StorageFull if full else StorageError)(f"{what}: {error}")


def _identity(path: Path | str) -> tuple[int, int] | None:
    """What tells the file at `path` from another one that takes its name; None without one."""
    try:
        status = os.stat(path)  # noqa: PTH116 - one call per commit
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
