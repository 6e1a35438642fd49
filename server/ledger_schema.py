"""What the ledger holds: its table, what became of older ones, and the structs of its rows."""

import msgspec

from server.job_state import JobState

SCHEMA = """
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
    checksum    INTEGER,                            -- of the result file; null where there is none
    idempotency_key TEXT,                           -- what the client calls its request
    request_digest  TEXT,                           -- of what came with that key
    batch       INTEGER,                            -- the first job that was accepted with it
    cached_from INTEGER,                            -- the job whose answer it was given
    request_id  TEXT                                -- of the request that it came with
);
CREATE INDEX IF NOT EXISTS not_ended ON jobs (id) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_key ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_batch ON jobs (batch) WHERE batch IS NOT NULL;
PRAGMA user_version = 3;
"""

VERSION = 3

UPGRADES = {
    1: ("ALTER TABLE jobs ADD COLUMN checksum INTEGER",),
    2: (
        "ALTER TABLE jobs ADD COLUMN idempotency_key TEXT",
        "ALTER TABLE jobs ADD COLUMN request_digest TEXT",
        "ALTER TABLE jobs ADD COLUMN batch INTEGER",
        "ALTER TABLE jobs ADD COLUMN cached_from INTEGER",
        "ALTER TABLE jobs ADD COLUMN request_id TEXT",
    ),
}
"""What makes a file of version n one of version n + 1."""


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is accepted; `request` is a JSON text."""

    statistic: str
    request: str
    fingerprint: str
    accepted_at: float
    idempotency_key: str | None = None
    request_digest: str | None = None
    cached_from: int | None = None
    request_id: str | None = None


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One job as the ledger knows it. `request` and `attempts` are JSON texts.

    `checksum` is that of the result file, as `result_store.checksum` makes it; None where no
    file was written, or by a version that took none. `batch` is the number of the batch that
    it was accepted with, `cached_from` the job whose answer it was given, `request_id` that of
    the request which it came with.
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
    idempotency_key: str | None = None
    request_digest: str | None = None
    batch: int | None = None
    cached_from: int | None = None
    request_id: str | None = None


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


END = """
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

REOPEN = """
UPDATE jobs SET state = 'queued', started_at = NULL, ended_at = NULL, reason = NULL,
    attempts = '[]', checksum = NULL
WHERE id = ? AND state = 'done'
"""
