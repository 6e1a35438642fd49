"""What a client reads of a job that is no finished answer: how far it is, or all about it."""

import math

import msgspec

from server.ledger import JobRecord
from server.live_jobs import Job
from server.result_store import RUNNING
from server.stats.statistic import Json


def running_content(job: Job | None) -> bytes:
    """The answer about a job that has not ended; with its progress, where it has several parts."""
    if job is None or job.gathering.parts < 2:
        return RUNNING
    return msgspec.json.encode({"status": "running", "progress": _progress(job)})


def described(record: JobRecord, job: Job | None) -> dict[str, Json]:
    """Everything about a job: what the ledger knows, and, while it lives, what memory does."""
    fields = msgspec.structs.asdict(record)
    for name in ("request", "attempts"):
        fields[name] = msgspec.json.decode(fields[name])
    del fields["checksum"]
    job_id = fields.pop("id")
    known = {"job_id": job_id, **fields, "progress": 1.0 if record.state.final else 0.0}
    return known if job is None else known | _described_live(job)


def _described_live(job: Job) -> dict[str, Json]:
    return {
        "state": job.state,
        "started_at": job.started_at,
        "ended_at": None if job.end is None else job.end.ended_at,
        "reason": None if job.end is None else job.end.reason,
        "attempts": msgspec.to_builtins(job.attempts),
        "parts": job.gathering.parts,
        "progress": 1.0 if job.state.final else _progress(job),
    }


def _progress(job: Job) -> float:
    """The share of the parts that are done; less than 1 before the job has ended."""
    return min(math.floor(job.gathering.progress * 10_000) / 10_000, 0.9999)
