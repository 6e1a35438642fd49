"""What a client reads of jobs, but for the answers: how far they are, lists, all about one."""

import math
from collections.abc import Collection

import msgspec

from server.job_state import JobState
from server.ledger import Ledger
from server.ledger_schema import JobRecord
from server.live_jobs import Job, LiveJobs
from server.pool import WorkerInfo
from server.result_store import RUNNING
from server.stats.statistic import Json


def running_content(job: Job | None) -> bytes:
    """The answer about a job that has not ended; with its progress, where it has several parts."""
    if job is None or job.gathering.parts < 2:
        return RUNNING
    return msgspec.json.encode({"status": "running", "progress": _progress(job)})


def listed(
    ledger: Ledger,
    live: LiveJobs,
    after: int,
    limit: int,
    *,
    states: Collection[JobState] = tuple(JobState),
    statistic: str | None = None,
) -> list[tuple[int, JobState]]:
    """(id, state) of up to `limit` jobs above id `after`, by id.

    Only those in one of these states, and of this statistic, where one is given.
    """
    # First what lives: a job that ends meanwhile is in the ledger by then.
    known = {job.id: job.state for job in live}
    on_record = {JobState.QUEUED, *states}  # the ledger has all jobs that live as queued
    found: list[tuple[int, JobState]] = []
    while len(found) < limit:
        page = ledger.states(after, limit, states=on_record, statistic=statistic)
        present = [(job_id, known.get(job_id, state)) for job_id, state in page]
        found += [(job_id, state) for job_id, state in present if state in states]
        if len(page) < limit:
            break
        after = page[-1][0]
    return found[:limit]


def history(
    ledger: Ledger,
    live: LiveJobs,
    before: int,
    limit: int,
    *,
    states: Collection[JobState] = tuple(JobState),
    statistic: str | None = None,
) -> tuple[list[dict[str, Json]], int | None]:
    """Everything about up to `limit` jobs below id `before`, the newest first; as `listed`.

    And the id below which it goes on, None at the end. It takes one read, however many jobs
    there are: the ledger, which has all that live as queued, is told which of them are wanted.
    """
    # First what lives: a job that ends meanwhile is in the ledger by then.
    known = {job.id: job for job in live}
    wanted = {job_id for job_id, job in known.items() if job.state in states}
    page = ledger.newest(
        before,
        limit,
        states=states,
        statistic=statistic,
        also=wanted if JobState.QUEUED not in states else (),
        never=known.keys() - wanted,
    )
    found = [described(record, known.get(record.id)) for record in page]
    rest = page[-1].id if len(page) == limit else None
    return [each for each in found if each["state"] in states], rest


def computed_now(live: LiveJobs, workers: Collection[WorkerInfo]) -> list[dict[str, Json]]:
    """The jobs that workers are at, by id: what each is, and how far."""
    ids = sorted({worker.job for worker in workers if worker.job is not None})
    jobs = filter(None, map(live.get, ids))
    return [
        {"job_id": job.id, "statistic": job.statistic, "progress": _progress(job)} for job in jobs
    ]


def batch_of(
    ledger: Ledger, live: LiveJobs, batch: int
) -> tuple[list[tuple[int, JobState]], float]:
    """The jobs of a batch that are kept, (id, state) by id, and its progress from 0 to 1."""
    known = {job.id: job for job in live}
    jobs, shares = [], []
    for job_id, state in ledger.of_batch(batch):
        job = known.get(job_id)
        jobs.append((job_id, state if job is None else job.state))
        shares.append(1.0 if job is None or job.state.final else _progress(job))
    return jobs, sum(shares) / max(1, len(shares))


def described(record: JobRecord, job: Job | None) -> dict[str, Json]:
    """Everything about a job: what the ledger knows, and, while it lives, what memory does."""
    fields = msgspec.structs.asdict(record)
    for name in ("request", "attempts"):
        fields[name] = msgspec.json.decode(fields[name])
    for name in ("checksum", "request_digest"):
        del fields[name]
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
