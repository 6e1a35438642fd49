"""Figures about the server, for Prometheus to read: counters that are fed, gauges that are read.

What happens is told (`observe_job`, `observe_request`: a dictionary's look-up and an addition
each), what is there at a moment is asked for only when somebody reads. Nothing is global:
each `Metrics` has a registry of its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.job_state import JobState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

JOB_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
"""The upper bounds of the histograms of jobs."""

REQUEST_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
"""The upper bounds of the histogram of HTTP requests."""

NO_ROUTE = "none"
"""The route of requests to addresses that there are not."""

_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS"))


class ObservedJob(Protocol):
    """What is looked at of a job."""

    statistic: str
    accepted_at: float
    started_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What there is at one moment."""

    jobs_unfinished: int
    jobs_waiting: int
    tasks_waiting: int
    workers_alive: int
    workers_busy: int
    result_locks: int
    shared_bytes: int
    workers_replaced: int  # since the start, as the next one
    tasks_retried: int


_GAUGES = {
    "jobs_unfinished": "Jobs that have not ended.",
    "jobs_waiting": "Jobs of which no task has begun.",
    "tasks_waiting": "Tasks that no worker has yet.",
    "workers_alive": "Workers that are there, in whatever state.",
    "workers_busy": "Workers that are at a task.",
    "result_locks": "Entries of the map of result locks.",
    "shared_bytes": "The shared region's size.",
}
_COUNTS = {
    "workers_replaced": "Workers that have come for others who died, hung or retired.",
    "tasks_retried": "Attempts at tasks after one that cost a worker's life.",
}


class Metrics:
    """The metrics of one server. Safe for any number of threads.

    `read` gives the figures of the moment; it is called when somebody reads, and not before.
    """

    def __init__(self, read: Callable[[], Figures]) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_Reader(read))
        self._accepted = Counter(
            "sportiv_jobs_accepted",
            "Jobs accepted, or taken up again.",
            ["statistic"],
            registry=registry,
        )
        self._ended = Counter(
            "sportiv_jobs_ended",
            "Jobs that have ended, by how: done, failed or cancelled.",
            ["statistic", "outcome"],
            registry=registry,
        )
        self._waited = Histogram(
            "sportiv_job_waiting_seconds",
            "From a job's acceptance until its first task began.",
            ["statistic"],
            buckets=JOB_SECONDS,
            registry=registry,
        )
        self._ran = Histogram(
            "sportiv_job_running_seconds",
            "From the beginning of a job's first task until its end.",
            ["statistic"],
            buckets=JOB_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            "sportiv_http_requests",
            "HTTP requests answered, by route and status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "sportiv_http_request_seconds",
            "From an HTTP request's arrival until its answer is ready.",
            ["route"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        # Finding a child by its labels takes longer than adding to it.
        self._accepted_of = lru_cache(None)(self._accepted.labels)
        self._ended_of = lru_cache(None)(self._ended.labels)
        self._waited_of = lru_cache(None)(self._waited.labels)
        self._ran_of = lru_cache(None)(self._ran.labels)
        self._requests_of = lru_cache(None)(self._requests.labels)
        self._request_seconds_of = lru_cache(None)(self._request_seconds.labels)

    def observe_job(self, job: ObservedJob, state: JobState, now: float) -> None:
        """The job has come into `state` at `now`, in seconds since 1970; told once for each state.

        QUEUED stands for its acceptance, also where it is taken up again.
        """
        if state is JobState.QUEUED:
            self._accepted_of(job.statistic).inc()
        elif state is JobState.RUNNING:
            self._waited_of(job.statistic).observe(max(0.0, now - job.accepted_at))
        else:
            self._ended_of(job.statistic, state).inc()
            if job.started_at is not None:
                self._ran_of(job.statistic).observe(max(0.0, now - job.started_at))

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered; `route` is the rule of its address, never the address."""
        method = method if method in _METHODS else "other"
        self._requests_of(method, route, status).inc()
        self._request_seconds_of(route).observe(seconds)

    def text(self) -> bytes:
        """All metrics, in Prometheus's text format."""
        return generate_latest(_WithoutBirthdays(self._registry))


class _WithoutBirthdays(Collector):
    """A registry's metrics without the `_created` sample that each counter and histogram adds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [each for each in metric.samples if "_created" not in each.name]
            yield metric


class _Reader(Collector):
    """Makes metrics of the figures of the moment."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        figures = self._read()
        for name, sentence in _GAUGES.items():
            yield GaugeMetricFamily(f"sportiv_{name}", sentence, getattr(figures, name))
        for name, sentence in _COUNTS.items():
            yield CounterMetricFamily(f"sportiv_{name}", sentence, getattr(figures, name))
