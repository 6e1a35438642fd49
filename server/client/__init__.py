"""A client for programs in Python: `from server.client import Client`.

    with Client("http://127.0.0.1:5000") as client:
        answer = client.ask("best5", question="Percent of adults ... who have obesity")
        print(answer.data, answer.to_pandas())

It needs urllib3 and nothing else of the server's. Every job that it submits has a key of its
own, so that trying again after a lost answer, or while the server is restarted, never makes a
second one. Every error is a `ClientError`.
"""

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from server.client.jobs import Answer, Batch, Job, OnProgress
from server.client.transport import Json, Transport, path_of
from server.client_errors import (
    ClientError,
    JobCancelled,
    JobFailed,
    Refused,
    TimedOut,
    UnknownJob,
    Unreachable,
)

__all__ = [
    "Answer",
    "Batch",
    "Client",
    "ClientError",
    "Job",
    "JobCancelled",
    "JobFailed",
    "Refused",
    "TimedOut",
    "UnknownJob",
    "Unreachable",
]

URL = "http://127.0.0.1:5000"
"""Where a server listens that was not told otherwise."""

MOST_IN_BATCH = 100
"""How many jobs the server takes in one request."""


LONGEST_BATCH = 60_000
"""Of how many bytes a request for many jobs is at most, with room for what holds them together."""

_PLACE = re.compile(r"jobs\[(\d+)\]", re.ASCII)


class Client:
    """One server's jobs and facts. Safe for any number of threads; close it, or use `with`.

    `token` is the server's secret where it has one; without it, `SPORTIV_TOKEN` of the
    environment. For `patience` seconds a request is tried again where no answer came or the
    server could not now; `answer_seconds` is when an answer counts as lost.
    """

    def __init__(
        self,
        url: str = URL,
        token: str | None = None,
        patience: float = 60.0,
        *,
        answer_seconds: float = 30.0,
    ) -> None:
        """Connects to nobody yet; ValueError where `url` is no address."""
        secret = os.environ.get("SPORTIV_TOKEN") if token is None else token
        self._transport = Transport(url, secret, patience, answer_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept; jobs go on without them."""
        self._transport.close()

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    # -- jobs -----------------------------------------------------------------------------

    def submit(self, statistic: str, *, key: str | None = None, **fields: Json) -> Job:
        """A new job; the same `key` with the same fields gives the same job again.

        Refused says what was wrong with the fields, and what there is.
        """
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        accepted = self._transport.post(f"/api/{statistic}", fields, headers)
        return Job(self._transport, accepted["job_id"])

    def ask(
        self,
        statistic: str,
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
        **fields: Json,
    ) -> Answer:
        """Submit a job and wait for its answer; as `submit` and `Job.wait`."""
        return self.submit(statistic, **fields).wait(timeout, on_progress)

    def batch(self, requests: Iterable[Mapping[str, Json]], *, key: str | None = None) -> Batch:
        """The jobs of all `requests`, each `{"statistic": "best5", "question": ...}`.

        They are accepted together or not at all. More than 100 go in several batches: where a
        later one is refused, the jobs of those before it are cancelled. Refused names the
        request as `jobs[7]`, counted from 0.
        """
        key = key or uuid.uuid4().hex
        batches: list[int] = []
        jobs: list[int] = []
        for number, content in enumerate(_in_batches(requests)):
            headers = {"Idempotency-Key": f"{key}-{number}"}
            try:
                accepted = self._transport.post("/api/batch", {"jobs": content}, headers)
            except Refused as refused:
                for job_id in jobs:
                    self.job(job_id).cancel()
                raise Refused(refused.status, _moved(refused.reason, len(jobs))) from None
            batches.append(accepted["batch_id"])
            jobs += accepted["job_ids"]
        return Batch(self._transport, batches, jobs)

    def job(self, job_id: int) -> Job:
        """The job of this number; whether there is one, its methods say."""
        return Job(self._transport, job_id)

    def jobs(
        self,
        *,
        after: int = 0,
        limit: int | None = None,
        status: str | None = None,
        statistic: str | None = None,
    ) -> dict[int, str]:
        """`{number: status}` of the jobs above `after`, by number: all, or `limit` at most."""
        wanted = {"status": status, "statistic": statistic}
        pages = self._pages(path_of("/api/jobs", after=after, limit=limit, **wanted))
        found: dict[int, str] = {}
        for entry in pages:
            for name, state in entry.items():
                found[int(name.removeprefix("job_id_"))] = state
            if limit is not None and len(found) >= limit:
                break
        return found

    def history(
        self,
        *,
        limit: int = 50,
        before: int | None = None,
        status: str | None = None,
        statistic: str | None = None,
    ) -> list[dict[str, Json]]:
        """The records of the newest jobs, those below `before`: the newest first."""
        wanted = {"before": before, "status": status, "statistic": statistic}
        records: list[dict[str, Json]] = []
        for record in self._pages(path_of("/api/history", limit=min(limit, 500), **wanted)):
            records.append(record)
            if len(records) >= limit:
                break
        return records

    # -- what there is ----------------------------------------------------------------------

    def statistics(self) -> list[dict[str, Json]]:
        """Every statistic with its sentence and its fields."""
        return list(self._data("/api/statistics"))

    def questions(self) -> list[dict[str, Json]]:
        """Every question with its rows, its years and its direction."""
        return list(self._data("/api/questions"))

    def states(self) -> list[str]:
        """The names of the states."""
        return list(self._data("/api/states"))

    def categories(self) -> list[dict[str, Json]]:
        """Every category with its strata."""
        return list(self._data("/api/categories"))

    def pool(self) -> dict[str, Json]:
        """The workers, and how much waits for them."""
        return dict(self._data("/api/pool"))

    def server(self) -> dict[str, Json]:
        """Facts about the server: its version, table, limits."""
        return dict(self._data("/api/server"))

    def health(self, *, patience: float = 0.0) -> dict[str, Json]:
        """`{"status": "ok"}`, or `degraded` or `error` with a reason; not tried again by itself."""
        try:
            return dict(self._transport.get("/healthz", patience=patience))
        except Refused as refused:
            return {"status": "error", "reason": refused.reason}

    def shutdown(self) -> bool:
        """Have the server take no new jobs from now on; whether all that it has are done."""
        found = self._transport.post("/api/graceful_shutdown", {})
        return bool(found["status"] == "done")

    def _data(self, path: str) -> Json:
        return self._transport.get(path)["data"]

    def _pages(self, path: str | None) -> Iterator[Json]:
        """The entries of a list that goes on at the address that each page names as `next`."""
        while path:
            page = self._transport.get(path)
            yield from page["data"]
            path = page.get("next")


def _moved(reason: str, by: int) -> str:
    """A reason that begins with the place of a request, with the place so much further on."""
    place = _PLACE.match(reason)
    return f"jobs[{int(place[1]) + by}]{reason[place.end() :]}" if place else reason


def _in_batches(requests: Iterable[Mapping[str, Json]]) -> Iterator[list[Mapping[str, Json]]]:
    """The requests in their order, as many together as one request to the server may hold."""
    together: list[Mapping[str, Json]] = []
    length = 0
    for request in requests:
        size = len(json.dumps(dict(request))) + 2
        if together and (len(together) == MOST_IN_BATCH or length + size > LONGEST_BATCH):
            yield together
            together, length = [], 0
        together.append(dict(request))
        length += size
    if together:
        yield together
