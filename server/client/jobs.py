"""What a client holds of the server's: a job, a batch of jobs, an answer."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from server.client.transport import Json, Transport, checked
from server.client_errors import ClientError, JobCancelled, JobFailed, Refused, TimedOut, UnknownJob

LONG_POLL = 20.0
"""Seconds that one request waits for a job at most: proxies cut longer ones off."""

WATCHED_POLL = 0.5
"""The same where somebody is told of the progress meanwhile."""

OnProgress = Callable[[float], object]
"""Is told the share of the work that is done, from 0 to 1."""


class Answer:
    """What a job has found out: `data` as the statistic's own sentence says, and as a table."""

    def __init__(self, transport: Transport, job_id: int, data: Json) -> None:
        self.job_id = job_id
        self.data = data
        self._transport = transport

    def __repr__(self) -> str:
        return f"<answer of job {self.job_id}>"

    @property
    def columns(self) -> list[str]:
        """The names of the table's columns."""
        return list(self._table["columns"])

    @property
    def rows(self) -> list[list[Json]]:
        """The table's rows, each with a cell for each column; None where it has no figure."""
        return list(self._table["rows"])

    def records(self) -> list[dict[str, Json]]:
        """The table's rows, each by the names of the columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def to_pandas(self) -> Any:
        """The table as a pandas DataFrame; ImportError where pandas is not installed."""
        import pandas

        return pandas.DataFrame(self.rows, columns=self.columns)

    def to_polars(self) -> Any:
        """The table as a polars DataFrame; ImportError where polars is not installed."""
        import polars

        options: dict[str, Any] = {"infer_schema_length": None, "strict": False}
        return polars.DataFrame(self.rows, schema=self.columns, orient="row", **options)

    def csv(self) -> str:
        """The table as CSV, made by the server: full precision, and harmless in a spreadsheet."""
        reply = self._transport.send("GET", f"/api/jobs/{self.job_id}/table?format=csv")
        if not reply.headers.get("Content-Type", "").startswith("text/csv"):
            with _known(self.job_id):
                checked(self._transport.url, reply)
        return reply.content.decode()

    def chart(self) -> dict[str, Json] | None:
        """The picture of the answer as a Vega-Lite specification; None where none fits it."""
        found: dict[str, Json] | None = self._about_job("chart")
        return found

    @cached_property
    def _table(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = self._about_job("table")
        return found

    def _about_job(self, what: str) -> Json:
        with _known(self.job_id):
            return self._transport.get(f"/api/jobs/{self.job_id}/{what}")["data"]


class Job:
    """A job of the server, known by its number. Safe for any number of threads."""

    def __init__(self, transport: Transport, job_id: int) -> None:
        self.id = job_id
        self._transport = transport

    def __repr__(self) -> str:
        return f"<job {self.id} at {self._transport.url}>"

    def wait(self, timeout: float | None = None, on_progress: OnProgress | None = None) -> Answer:
        """The job's answer, as soon as it has ended.

        Raises JobFailed or JobCancelled where it ends so, TimedOut where it has not ended after
        `timeout` seconds, UnknownJob where there is none. A restart of the server only takes time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        share = 0.0
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            found = self._ask(WATCHED_POLL if on_progress else LONG_POLL, left)
            if found["status"] != "running":
                return self._outcome(found)
            share = max(share, found.get("progress", 0.0))  # after a restart it begins anew
            if on_progress:
                on_progress(share)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimedOut(self.id, timeout or 0.0)

    def _ask(self, poll: float, left: float | None) -> Json:
        """What the server says of the result within `poll` seconds, or those that are left."""
        wait, patience = poll, self._transport.patience
        if left is not None:
            wait, patience = min(wait, left), min(patience, left)
        path = f"/api/get_results/{self.id}?wait={wait:.3f}"
        with _known(self.id):
            return self._transport.get(path, wait=wait, patience=patience)

    def _outcome(self, found: Json) -> Answer:
        if found["status"] == "done":
            return Answer(self._transport, self.id, found["data"])
        if found["reason"] == "cancelled":
            raise JobCancelled(self.id)
        raise JobFailed(self.id, found["reason"])

    def answer(self) -> Answer:
        """The job's answer where it has ended; as `wait`, without waiting."""
        return self.wait(timeout=0)

    def progress(self) -> float:
        """The share of the job that is done: 1 where it has ended, however it did."""
        with _known(self.id):
            found = self._transport.get(f"/api/get_results/{self.id}")
        share: float = found.get("progress", 0.0) if found["status"] == "running" else 1.0
        return share

    def record(self) -> dict[str, Json]:
        """All that the server knows about the job: its state, request, times, attempts."""
        with _known(self.id):
            found: dict[str, Json] = self._transport.get(f"/api/jobs/{self.id}")["data"]
        return found

    def cancel(self) -> bool:
        """Cancel the job, whether it waits or runs.

        Whether it is cancelled now, by this call or an earlier one; not where it had ended.
        """
        reply = self._transport.send("DELETE", f"/api/jobs/{self.id}")
        if reply.status == 409:
            return bool(self.record()["state"] == "cancelled")
        with _known(self.id):
            checked(self._transport.url, reply)
        return True


class Batch:
    """Jobs that were submitted together, in the order in which they were asked for."""

    def __init__(self, transport: Transport, ids: Sequence[int], jobs: Sequence[int]) -> None:
        self.ids = tuple(ids)
        self.jobs = tuple(Job(transport, job_id) for job_id in jobs)
        self._transport = transport

    def __repr__(self) -> str:
        return f"<batch of {len(self.jobs)} jobs at {self._transport.url}>"

    def __len__(self) -> int:
        return len(self.jobs)

    def progress(self) -> float:
        """The share of all the jobs' work that is done, of those that are still kept."""
        parts = [self._transport.get(f"/api/batch/{batch_id}") for batch_id in self.ids]
        weights = [max(1, len(part["data"])) for part in parts]
        done = sum(part["progress"] * n for part, n in zip(parts, weights, strict=True))
        share: float = done / max(1, sum(weights))
        return share

    def outcomes(
        self, timeout: float | None = None, on_progress: OnProgress | None = None
    ) -> list[Answer | ClientError]:
        """How each job has ended: its answer, or the error that `Job.wait` raises.

        What has not ended after `timeout` seconds in all is TimedOut. Raises only what concerns
        them all, such as Unreachable.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        found: list[Answer | ClientError] = []
        for job in self.jobs:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            found.append(_ended(job, left, _share_of(len(self), len(found), on_progress)))
            if on_progress:
                on_progress(len(found) / len(self))
        return found

    def wait(
        self, timeout: float | None = None, on_progress: OnProgress | None = None
    ) -> list[Answer]:
        """Every job's answer; raises the first error among `outcomes` when all have ended."""
        answers = []
        for outcome in self.outcomes(timeout, on_progress):
            if isinstance(outcome, ClientError):
                raise outcome
            answers.append(outcome)
        return answers


def _share_of(jobs: int, ended: int, on_progress: OnProgress | None) -> OnProgress | None:
    """What a job's own progress is for the whole batch, when so many have ended before it."""
    if on_progress is None:
        return None
    return lambda share: on_progress((ended + share) / jobs)


def _ended(job: Job, left: float | None, on_progress: OnProgress | None) -> Answer | ClientError:
    try:
        return job.wait(left, on_progress)
    except (JobFailed, JobCancelled, TimedOut, UnknownJob) as error:
        return error


@contextmanager
def _known(job_id: int) -> Iterator[None]:
    """Within, what the server does not find is the job: UnknownJob instead of its Refused."""
    try:
        yield
    except Refused as refused:
        if refused.status == 404:
            raise UnknownJob(job_id) from None
        raise
