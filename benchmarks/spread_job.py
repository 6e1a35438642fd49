"""One job spread over all workers, and what tiny jobs notice of it.

The first pair: a bootstrap of some hundred parts as a job of the server (without HTTP),
against one bare process that computes the same parts one after the other. Then tiny jobs are
asked for, one at a time, while a job of some thousand parts runs.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.measure import Chart, Comparison, Effort, Figure, Goal, against_each, alternate
from benchmarks.scratch import new_folder
from server.errors import AlreadyEnded
from server.gathering import FAN_IN
from server.interpreter import computing_environment, module_command
from server.job_state import JobState
from server.jobs import Jobs
from server.loader import load_region
from server.runtime import serving
from server.settings import Settings
from server.shared_data import attach_table
from server.stats import STATISTICS
from server.stats.statistic import JobRequest, Json, QuestionRequest, Statistic

HEAVY = STATISTICS["bootstrap_ci"]
TINY = STATISTICS["global_mean"]
RESAMPLES = 2_000_000
MANY_RESAMPLES = 10_000_000
PAUSE = 0.01
TINY_JOBS = 300
HUNDREDTH = 99
LONGEST = 600.0
"""Seconds after which a job is given up."""


def measure(effort: Effort) -> Iterator[Comparison]:
    """The speed-up, and the latency of tiny jobs in units of a part's time."""
    with _jobs() as jobs:
        workers = len(jobs.describe_pool()["workers"])
        question = str(jobs.catalogue.describe_questions()[0]["question"])
        request = HEAVY.request(
            question=question, n_resamples=RESAMPLES // (30 if effort.quick else 6), seed=1
        )
        parts = len(HEAVY.plan(jobs.catalogue.table, request))
        figures = alternate(
            {
                f"spread over {workers} workers": lambda: parts / _seconds(jobs, HEAVY, request),
                "one bare process": lambda: parts / _bare_process(question, request.n_resamples),
            },
            effort,
        )
        yield Comparison(
            "spread-job",
            f"One bootstrap of {parts} parts",
            "parts/s",
            tuple(figures),
            against_each(figures, at_least=0.9 * workers),
        )
        yield _tiny_jobs(jobs, question, 1 / figures[1].median, effort)


def _tiny_jobs(jobs: Jobs, question: str, part: float, effort: Effort) -> Comparison:
    request = HEAVY.request(question=question, n_resamples=MANY_RESAMPLES, seed=1)
    parts = len(HEAVY.plan(jobs.catalogue.table, request))
    tiny = QuestionRequest(question)
    heavy_id = jobs.submit(HEAVY, request)
    took = []
    for number in range(TINY_JOBS // (6 if effort.quick else 1)):
        effort.tell(f"tiny job {number + 1} beside a heavy one")
        if jobs.live.get(heavy_id) is None:
            break
        took.append(_seconds(jobs, TINY, tiny) * 1000)
        time.sleep(PAUSE)
    with suppress(AlreadyEnded):
        jobs.cancel(heavy_id)
    most = statistics.quantiles(took, n=100)[HUNDREDTH - 1]
    return Comparison(
        "tiny-beside-heavy",
        f"A tiny job while one of {parts} parts of {part * 1000:.1f} ms runs",
        "ms",
        (Figure(f"{len(took)} tiny jobs", tuple(took)),),
        (Goal("p99 against one part's time", most / (part * 1000), at_most=2.0),),
        chart=Chart.NONE,
    )


def _seconds(jobs: Jobs, statistic: Statistic, request: JobRequest) -> float:
    """From the submission of a job until it has ended."""
    begun = time.perf_counter()
    job_id = jobs.submit(statistic, request)
    assert jobs.wait(job_id, LONGEST)
    ended = time.perf_counter()
    assert dict(jobs.states(job_id - 1, 1))[job_id] is JobState.DONE
    return ended - begun


def _bare_process(question: str, resamples: int) -> float:
    """The seconds that the same parts take in a process of its own, loading not counted."""
    command = module_command("benchmarks.spread_job", question, str(resamples))
    done = subprocess.run(command, env=computing_environment(), check=True, stdout=subprocess.PIPE)
    return float(done.stdout)


def _bare_seconds(question: str, resamples: int) -> float:
    """The same parts, computed here one after the other."""
    settings = Settings.read({})
    with load_region(settings.data, settings.dataset) as region:
        table = attach_table(region.fd)
    request = HEAVY.request(question=question, n_resamples=resamples, seed=1)
    HEAVY.partial(table, request, HEAVY.plan(table, request)[0])  # warm, as the workers are
    begun = time.perf_counter()
    partials: list[Json] = [
        HEAVY.partial(table, request, part) for part in HEAVY.plan(table, request)
    ]
    assert HEAVY.merge is not None
    while len(partials) > FAN_IN:
        runs = [partials[at : at + FAN_IN] for at in range(0, len(partials), FAN_IN)]
        partials = [HEAVY.merge(request, run) for run in runs]
    HEAVY.combine(table, request, partials)
    return time.perf_counter() - begun


@contextmanager
def _jobs() -> Iterator[Jobs]:
    folder = new_folder()
    folders = {"SPORTIV_RESULTS_DIR": f"{folder}/results", "SPORTIV_LOG_DIR": f"{folder}/logs"}
    settings = Settings.read(folders | {"SPORTIV_CACHE": "0"})  # the same is asked for again
    with serving(settings, "server.stats", keep_log=False) as jobs:
        yield jobs


if __name__ == "__main__":
    print(_bare_seconds(sys.argv[1], int(sys.argv[2])))
