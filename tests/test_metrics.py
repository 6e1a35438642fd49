"""What is told is counted, what there is is read when somebody asks, and nothing is global."""

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.job_state import JobState
from server.metrics import JOB_SECONDS, Figures, Metrics

NOTHING = Figures(
    jobs_unfinished=0,
    jobs_waiting=0,
    tasks_waiting=0,
    workers_alive=0,
    workers_busy=0,
    result_locks=0,
    shared_bytes=0,
    workers_replaced=0,
    tasks_retried=0,
)
HISTOGRAMS = ("waiting", "running")


@dataclass
class Observed:
    """A job as the metrics see it."""

    statistic: str = "best5"
    accepted_at: float = 100.0
    started_at: float | None = None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: NOTHING)


def read(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample; None where there is none."""
    return read(metrics).get((f"sportiv_{name}", frozenset(labels.items())))


def live(metrics: Metrics, *states: tuple[JobState, float], **about: Any) -> None:
    """The life of a job, told state by state."""
    job = Observed(**about)
    for state, moment in states:
        if state is JobState.RUNNING:
            job.started_at = moment
        metrics.observe_job(job, state, moment)


@pytest.mark.parametrize("outcome", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_a_job_is_counted_when_accepted_and_by_its_outcome(
    metrics: Metrics, outcome: JobState
) -> None:
    live(metrics, (JobState.QUEUED, 100.0), (JobState.RUNNING, 101.0), (outcome, 104.0))
    assert value(metrics, "jobs_accepted_total", statistic="best5") == 1
    assert value(metrics, "jobs_ended_total", statistic="best5", outcome=outcome) == 1
    for other in set(JobState) - {outcome}:
        assert value(metrics, "jobs_ended_total", statistic="best5", outcome=other) is None


def test_waiting_lasts_until_the_start_and_running_until_the_end(metrics: Metrics) -> None:
    live(metrics, (JobState.QUEUED, 100.0), (JobState.RUNNING, 100.2), (JobState.DONE, 107.2))
    found = [value(metrics, f"job_{each}_seconds_sum", statistic="best5") for each in HISTOGRAMS]
    assert found == [pytest.approx(0.2), pytest.approx(7.0)]
    for each, seconds in zip(HISTOGRAMS, (0.2, 7.0), strict=True):
        for bound in JOB_SECONDS:
            name, le = f"job_{each}_seconds_bucket", repr(bound)
            assert value(metrics, name, statistic="best5", le=le) == (seconds <= bound)


def test_a_job_that_never_began_has_neither_waited_nor_run(metrics: Metrics) -> None:
    live(metrics, (JobState.QUEUED, 100.0), (JobState.CANCELLED, 104.0))
    assert value(metrics, "jobs_ended_total", statistic="best5", outcome="cancelled") == 1
    for each in HISTOGRAMS:
        assert value(metrics, f"job_{each}_seconds_count", statistic="best5") is None


def test_a_clock_that_was_set_back_makes_no_negative_times(metrics: Metrics) -> None:
    live(metrics, (JobState.QUEUED, 100.0), (JobState.RUNNING, 90.0), (JobState.DONE, 80.0))
    for each in HISTOGRAMS:
        assert value(metrics, f"job_{each}_seconds_sum", statistic="best5") == 0


def test_requests_are_counted_by_method_route_and_status(metrics: Metrics) -> None:
    for status, seconds in ((200, 0.1), (200, 0.2), (404, 0.3)):
        metrics.observe_request("GET", "/api/jobs/<job_id>", status, seconds)
    route = {"route": "/api/jobs/<job_id>"}
    name = "http_requests_total"
    assert value(metrics, name, method="GET", status="200", **route) == 2
    assert value(metrics, name, method="GET", status="404", **route) == 1
    assert value(metrics, "http_request_seconds_count", **route) == 3
    assert value(metrics, "http_request_seconds_sum", **route) == pytest.approx(0.6)


def test_methods_that_clients_invent_make_no_more_samples(metrics: Metrics) -> None:
    metrics.observe_request("GET", "none", 405, 0.1)
    before = len(read(metrics))
    for number in range(50):
        metrics.observe_request(f"BREW{number}", "none", 405, 0.1)
    invented = value(metrics, "http_requests_total", method="other", route="none", status="405")
    assert invented == 50
    assert len(read(metrics)) <= before + 2


def test_what_there_is_is_read_when_somebody_asks_and_not_before() -> None:
    asked: list[int] = []

    def figures() -> Figures:
        asked.append(len(asked))
        names = Figures.__dataclass_fields__
        return Figures(**{name: number + len(asked) for number, name in enumerate(names)})

    metrics = Metrics(figures)
    metrics.observe_request("GET", "/healthz", 200, 0.1)
    assert asked == []
    for reading in (1, 2):
        found = read(metrics)
        for number, name in enumerate(Figures.__dataclass_fields__):
            name += "_total" * name.endswith(("replaced", "retried"))
            assert found[f"sportiv_{name}", frozenset()] == number + reading


def test_two_servers_in_one_process_count_apart_and_nothing_is_global(metrics: Metrics) -> None:
    other = Metrics(lambda: NOTHING)
    live(metrics, (JobState.QUEUED, 100.0))
    assert value(other, "jobs_accepted_total", statistic="best5") is None
    assert b"sportiv" not in prometheus_client.generate_latest(prometheus_client.REGISTRY)


def test_there_are_only_samples_that_say_something(metrics: Metrics) -> None:
    live(metrics, (JobState.QUEUED, 100.0), (JobState.RUNNING, 101.0), (JobState.DONE, 102.0))
    metrics.observe_request("GET", "/healthz", 200, 0.1)
    assert b"_created" not in metrics.text()


def test_no_event_of_many_threads_is_lost(metrics: Metrics) -> None:
    def work() -> None:
        for _ in range(500):
            live(metrics, (JobState.QUEUED, 100.0), (JobState.DONE, 101.0))
            metrics.observe_request("GET", "/healthz", 200, 0.001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "jobs_accepted_total", statistic="best5") == 2000
    assert value(metrics, "jobs_ended_total", statistic="best5", outcome="done") == 2000
    assert value(metrics, "http_request_seconds_count", route="/healthz") == 2000


def test_the_readme_lists_every_metric(metrics: Metrics) -> None:
    page = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = page.partition("\n## Seeing in\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(sportiv_\w+)`", table))
    kinds = {"counter": "_total", "gauge": "", "histogram": ""}
    shown = re.findall(r"^# TYPE (\w+) (\w+)$", metrics.text().decode(), re.MULTILINE)
    assert {name.removesuffix("_total") + kinds[kind] for name, kind in shown} == listed
