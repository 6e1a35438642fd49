"""What the ledger says about jobs: every question that is put to it."""

import errno
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from server.errors import StorageError, StorageFull
from server.job_state import JobState
from server.ledger_schema import JobRecord

_COLUMNS = ", ".join(JobRecord.__struct_fields__)


class LedgerReader:
    """The reading half of a ledger, over a connection of its own. Safe for any number of threads.

    Every method raises StorageError where the file cannot be read.
    """

    def __init__(self) -> None:
        self._reader: sqlite3.Connection
        self._read_lock = threading.Lock()  # guards _reader

    def record(self, job_id: int) -> JobRecord | None:
        """What is known of the job; None where no job has this id."""
        rows = self._read(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", job_id)
        return _record(rows[0]) if rows else None

    def unfinished(self) -> list[JobRecord]:
        """Every job that was accepted and has not ended, by id."""
        rows = self._read(f"SELECT {_COLUMNS} FROM jobs WHERE state = 'queued' ORDER BY id")
        return [_record(row) for row in rows]

    def states(
        self,
        after: int,
        limit: int,
        *,
        states: Collection[JobState] = tuple(JobState),
        statistic: str | None = None,
    ) -> list[tuple[int, JobState]]:
        """(id, state) of up to `limit` jobs with an id above `after`, by id.

        Only those in one of these states, and of this statistic, where one is given.
        """
        rows = self._read(
            "SELECT id, state FROM jobs WHERE id > ? AND (? IS NULL OR statistic = ?)"
            " AND state IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
            *(after, statistic, statistic, msgspec.json.encode(list(states)).decode(), limit),
        )
        return [(job_id, JobState(state)) for job_id, state in rows]

    def newest(
        self,
        before: int,
        limit: int,
        *,
        states: Collection[JobState] = tuple(JobState),
        statistic: str | None = None,
        also: Collection[int] = (),
        never: Collection[int] = (),
    ) -> list[JobRecord]:
        """Up to `limit` jobs with an id below `before`, the newest first, in one read.

        Only those in one of these states or among `also`, and none of `never`; and only those
        of this statistic, where one is given.
        """
        lists = (msgspec.json.encode(list(each)).decode() for each in (states, also, never))
        rows = self._read(
            f"SELECT {_COLUMNS} FROM jobs WHERE id < ? AND (? IS NULL OR statistic = ?)"
            " AND (state IN (SELECT value FROM json_each(?))"
            " OR id IN (SELECT value FROM json_each(?)))"
            " AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT ?",
            *(before, statistic, statistic, *lists, limit),
        )
        return [_record(row) for row in rows]

    def with_key(self, key: str) -> JobRecord | None:
        """The first job that came with this idempotency key; None where none is kept."""
        rows = self._read(
            f"SELECT {_COLUMNS} FROM jobs WHERE idempotency_key = ? ORDER BY id LIMIT 1", key
        )
        return _record(rows[0]) if rows else None

    def of_batch(self, batch: int) -> list[tuple[int, JobState]]:
        """(id, state) of the jobs of a batch that are kept, by id."""
        rows = self._read("SELECT id, state FROM jobs WHERE batch = ? ORDER BY id", batch)
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

    def _read(self, query: str, *values: float | str | None) -> list[tuple[Any, ...]]:
        with as_storage_error("the ledger cannot be read"), self._read_lock:
            return self._reader.execute(query, values).fetchall()


def _record(row: tuple[Any, ...]) -> JobRecord:
    fields = dict(zip(JobRecord.__struct_fields__, row, strict=True))
    try:
        return msgspec.convert(fields, JobRecord)
    except msgspec.ValidationError as error:
        raise StorageError(f"the ledger's row of job {row[0]} makes no sense: {error}") from error


@contextmanager
def as_storage_error(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise storage_error(what, error) from error


def storage_error(what: str, error: Exception) -> StorageError:
    """The error as this project has it; StorageFull where the disk has no room."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    full |= getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return (StorageFull if full else StorageError)(f"{what}: {error}")
