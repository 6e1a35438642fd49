"""Where a job's time goes, from its POST until its file is there.

The server runs in this process, put together as `runtime` does, of its own parts: the
application, the ledger, the pool of processes, the writer. Each point on the way is noted
where one part hands the job to the next; the worker's own two come in its answer. Jobs go one
at a time through a server that is idle otherwise.
"""

import logging
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Flask
from werkzeug.test import EnvironBuilder, run_wsgi_app

from benchmarks.measure import Chart, Comparison, Effort, Figure, Goal
from benchmarks.scratch import new_folder
from benchmarks.timed_tasks import STATISTICS
from server.catalogue import Catalogue
from server.dataset import load_description
from server.end_recorder import BATCH_SECONDS
from server.endpoints import create_app
from server.jobs import Jobs
from server.loader import load_region
from server.logging_setup import logging_to
from server.messages import Task
from server.pool import Listener, Order, Outcome
from server.process_pool import ProcessPool
from server.runtime import PRIVATE, working
from server.settings import Settings
from server.shared_data import attach_table
from server.stats.statistic import JobRequest, Json, Statistic

STAGES = {
    "into the application": ("sent", "received"),
    "request checked": ("received", "checked"),
    "planned, admitted, in the ledger": ("checked", "submitted"),
    "waiting for a worker": ("submitted", "assigned"),
    "on the pipe to the worker": ("assigned", "begun"),
    "computing": ("begun", "ended"),
    "on the pipe back": ("ended", "answered"),
    "file written": ("answered", "written"),
}
"""Each with the two points between which it lies, in the order of a job's way."""

ABOUT = (
    "the server runs in the benchmark's process and is called by WSGI: what gunicorn takes to"
    " read a request from its socket is not in it"
)
LONGEST = 60.0
FEW_RESAMPLES = 1000


class Marks:
    """When the job under way has passed each point, on the monotonic clock."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.written = threading.Event()

    def begin(self) -> None:
        """The next job sets out."""
        self.at = {}
        self.written.clear()
        self.note("sent")

    def note(self, point: str) -> None:
        """The job is at this point."""
        self.at[point] = time.monotonic()


# -- where the parts hand the job on ----------------------------------------------------


class _WatchedCatalogue(Catalogue):
    def __init__(self, marks: Marks, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._marks = marks

    def request(self, statistic: Statistic, body: bytes | str) -> Any:
        """As any catalogue's."""
        self._marks.note("received")
        request = super().request(statistic, body)
        self._marks.note("checked")
        return request


class _WatchedPool(ProcessPool):
    def __init__(self, marks: Marks, listener: Listener, **options: Any) -> None:
        super().__init__(_WatchingListener(listener, marks), **options)
        self._marks = marks

    def submit(self, order: Order) -> None:
        """As any pool's."""
        self._marks.note("submitted")
        super().submit(order)


@dataclass(frozen=True, slots=True)
class _WatchingListener:
    listener: Listener
    marks: Marks

    def task_started(self, task: Task) -> None:
        """Note it and hand it on."""
        self.marks.note("assigned")
        self.listener.task_started(task)

    def task_ended(self, outcome: Outcome) -> None:
        """Note it, and the worker's own points, and hand it on."""
        self.marks.note("answered")
        assert outcome.data is not None, outcome.reason
        answer = msgspec.json.decode(outcome.data)
        self.marks.at |= {point: answer[point] for point in ("begun", "ended")}
        self.listener.task_ended(outcome)


class _EndWatcher(logging.Handler):
    """Notes the line that the log gets when a job's file is in place."""

    def __init__(self, marks: Marks) -> None:
        super().__init__()
        self._marks = marks

    def emit(self, record: logging.LogRecord) -> None:
        """The job has ended."""
        if "state" in getattr(record, "fields", {}):
            self._marks.note("written")
            self._marks.written.set()


# -- a server of these parts --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Server:
    app: Flask
    jobs: Jobs
    marks: Marks

    def post(self, statistic: str, request: dict[str, Json]) -> dict[str, float]:
        """Post a job and wait until its file is there; when it passed each point."""
        path = f"/api/{statistic}"
        environ = EnvironBuilder(path, method="POST", json=request).get_environ()
        self.marks.begin()
        content, status, _ = run_wsgi_app(self.app, environ)
        self.marks.note("accepted")
        assert status.startswith("202"), b"".join(content)
        assert self.marks.written.wait(LONGEST)
        return self.marks.at

    def seconds_until_recorded(self) -> float:
        """From the file of the last job until the ledger knows its end, and no job is left."""
        while list(self.jobs.live):
            time.sleep(0.0005)
        return time.monotonic() - self.marks.at["written"]


@contextmanager
def _serving() -> Iterator[_Server]:
    marks = Marks()
    folder = new_folder()
    private = folder / "results" / PRIVATE
    private.mkdir(parents=True)
    settings = Settings.read({"SPORTIV_RESULTS_DIR": f"{folder}/results", "SPORTIV_CACHE": "0"})
    with (
        logging_to(folder / "logs", keep=False),
        load_region(settings.data, settings.dataset) as region,
    ):
        table = attach_table(region.fd, populate=True)
        description = load_description(settings.dataset)
        catalogue = _WatchedCatalogue(marks, table, description, STATISTICS)

        def make_pool(listener: Listener) -> ProcessPool:
            return _WatchedPool(
                marks,
                listener,
                workers=settings.workers,
                table_fd=region.fd,
                catalogue="benchmarks.timed_tasks",
                worker_memory=settings.worker_memory,
            )

        with working(settings, private, catalogue, make_pool) as jobs, _watched_log(marks):
            yield _Server(create_app(jobs, settings), jobs, marks)


@contextmanager
def _watched_log(marks: Marks) -> Iterator[None]:
    watcher, logger = _EndWatcher(marks), logging.getLogger("sportiv.jobs")
    logger.addHandler(watcher)
    try:
        yield
    finally:
        logger.removeHandler(watcher)


# -- the measurement ----------------------------------------------------------------------


def measure(effort: Effort) -> Iterator[Comparison]:
    """The stages of a tiny job, then those of a heavy one."""
    with _serving() as server:
        question = str(server.jobs.catalogue.describe_questions()[0]["question"])
        tiny = {"question": question}
        heavy = tiny | {"n_resamples": _most_resamples(server, question), "seed": 1}
        yield _stages(server, "tiny", "global_mean", tiny, int(200 * effort.seconds), effort)
        yield _stages(server, "heavy", "bootstrap_ci", heavy, int(15 * effort.seconds), effort)


def _most_resamples(server: _Server, question: str) -> int:
    """So many that the job is about as large as one of a single part gets."""
    statistic, table = STATISTICS["bootstrap_ci"], server.jobs.catalogue.table
    resamples = FEW_RESAMPLES
    while len(statistic.plan(table, _resampled(question, 2 * resamples))) == 1:
        resamples *= 2
    return resamples


def _resampled(question: str, resamples: int) -> JobRequest:
    return STATISTICS["bootstrap_ci"].request(question=question, n_resamples=resamples)


def _stages(
    server: _Server, name: str, statistic: str, request: dict[str, Json], jobs: int, effort: Effort
) -> Comparison:
    values: dict[str, list[float]] = {stage: [] for stage in STAGES}
    accepted, recorded = [], []
    for run in range(effort.runs + 1):
        effort.tell(f"{name} job, run {run} of {effort.runs}" if run else f"{name} job, warming up")
        ways = [server.post(statistic, request) for _ in range(max(3, jobs))]
        if not run:
            continue
        for stage, (first, last) in STAGES.items():
            values[stage].append(1e6 * statistics.median(at[last] - at[first] for at in ways))
        accepted.append(1e6 * statistics.median(at["accepted"] - at["sent"] for at in ways))
        recorded.append(1e3 * server.seconds_until_recorded())
    figures = _figures(values)
    of_stage = {figure.name: figure.median for figure in figures}
    whole = sum(of_stage.values())
    return Comparison(
        f"stages-{name}",
        f"Where the time of one {name} job goes ({statistic})",
        "\N{MICRO SIGN}s",
        figures,
        (Goal("computing against the whole", of_stage["computing"] / whole),),
        chart=Chart.STACK,
        axis="ms of computing",
        notes=(ABOUT, _about_answer(whole, accepted), _about_record(recorded)),
    )


def _figures(values: dict[str, list[float]]) -> tuple[Figure, ...]:
    milliseconds = round(statistics.median(values["computing"]) / 1000, 2)
    return tuple(Figure(stage, tuple(each), milliseconds) for stage, each in values.items())


def _about_answer(whole: float, accepted: list[float]) -> str:
    return (
        f"from POST to file {whole:,.0f} \N{MICRO SIGN}s; the client has its 202 after"
        f" {statistics.median(accepted):,.0f} \N{MICRO SIGN}s, while the job goes on"
    )


def _about_record(recorded: list[float]) -> str:
    return (
        f"the ledger knows the end {statistics.median(recorded):.0f} ms after the file is there:"
        f" it is told of many at once, after {1000 * BATCH_SECONDS:.0f} ms at most"
    )
