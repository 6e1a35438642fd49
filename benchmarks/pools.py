"""Threads or processes? The same jobs on this project's pools, and on others'.

Four kinds of work on every pool and number of workers, then each statistic that the server
knows. Every side is a process of its own (`side_process`), and every answer must be the same.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Raw

from benchmarks.contenders import Place, is_installed
from benchmarks.cpu_tasks import STATISTICS as KINDS
from benchmarks.free_threaded import found_here
from benchmarks.measure import Chart, Comparison, Effort, Figure, Goal, alternate
from benchmarks.side_process import Load, SideProcess
from server.catalogue import Catalogue
from server.dataset import load_description
from server.errors import BadRequest, UnknownName
from server.loader import load_region
from server.machine import Machine
from server.messages import TaskKind
from server.settings import Settings
from server.shared_data import attach_table
from server.stats import STATISTICS

OURS, THREADS, BARE = "process pool", "thread pool", "bare process"
LIMIT = "bare processes"
IDEAL = "ideal: workers times one bare process"
FREE_THREADS = "thread pool, free-threaded"
OTHERS = ("ProcessPoolExecutor", "multiprocessing.Pool", "loky")
AGAINST_THREADS = {"python-loop": 1.9, "choice": 2.5, "permutations": 2.0}
"""How much faster than threads processes are meant to be, with two workers."""

SHARE, SHARE_OF_MOST, SHARE_OF_STATISTICS = 0.1, 0.4, 0.04
"""Of `Effort.seconds`: how long a run is to take, since there are so many.

The longest is with as many workers as there are cores, of which the goals speak: where a run has
few tasks, a part of it has only one worker at work.
"""

LEAST_ROUNDS = 2
"""How many tasks each worker gets in a run, however long they take."""

LEAST_IN_FLIGHT = 16
ABOUT_SIDES = (
    "each side is a process of its own, with one BLAS thread a worker; workers of other pools"
    " attach the columns when they start, forked by a forkserver (loky starts its own)"
)

QUICK_STEP = 6
"""Where it is to go quickly, only one statistic of so many is looked at."""


def measure(effort: Effort) -> Iterator[Comparison]:
    """A comparison for each kind of work, and one of all statistics."""
    settings = Settings.read({})
    with load_region(served_data(settings), settings.dataset) as region:
        yield from _kinds(region.fd, effort)
        yield _every_statistic(region.fd, settings, effort)


def served_data(settings: Settings) -> Path:
    """The newest real table in the folder that SPORTIV_TEST_DATA names, else what is served."""
    folder = os.environ.get("SPORTIV_TEST_DATA")
    real = sorted(Path(folder).glob("*.csv.gz")) if folder else []
    return real[-1] if real else settings.data


def worker_counts(cores: int) -> list[int]:
    """1, 2, 4 ... and the number of cores."""
    return sorted({*(2**power for power in range(cores.bit_length())), cores})


# -- kinds of work --------------------------------------------------------------------


def _kinds(table_fd: int, effort: Effort) -> Iterator[Comparison]:
    python, about_python = found_here()
    figures: dict[str, list[Figure]] = defaultdict(list)
    cores = Machine().cores()
    for workers in worker_counts(cores):
        share = SHARE_OF_MOST if workers == cores else SHARE
        place = Place(workers, table_fd, "benchmarks.cpu_tasks")
        with ExitStack() as opened:
            sides = _sides(opened, place, python)
            for kind in KINDS:
                load = _sized(_load(kind), sides[LIMIT], workers, share * effort.seconds)
                figures[kind] += _rates(sides, load, workers, effort)
    missing = tuple(f"{name} is not installed" for name in OTHERS if not is_installed(name))
    for kind, found in figures.items():
        yield _compared(kind, found, (about_python, *missing))


def _sides(opened: ExitStack, place: Place, python: str | None) -> dict[str, SideProcess]:
    def open_side(contender: str, **options: str) -> SideProcess:
        return opened.enter_context(SideProcess(contender, place, **options))

    present = (OURS, THREADS, *filter(is_installed, OTHERS))
    sides = {name: open_side(name) for name in present}
    if python is not None:
        sides[FREE_THREADS] = open_side(THREADS, python=python)
    return sides | {LIMIT: open_side(BARE)}


def _load(kind: str) -> Load:
    return Load(kind, Raw(b"{}"), 1, 1)


def _sized(load: Load, side: SideProcess, workers: int, seconds: float) -> Load:
    """The load with as many tasks as take about so many seconds, equally many a worker."""
    one = msgspec.structs.replace(load, count=workers, in_flight=workers)
    side.run(one)  # warming up
    rounds = int(seconds / side.run(one).seconds)
    return msgspec.structs.replace(
        load, count=workers * max(LEAST_ROUNDS, rounds), in_flight=max(LEAST_IN_FLIGHT, 4 * workers)
    )


def _rates(
    sides: Mapping[str, SideProcess], load: Load, workers: int, effort: Effort
) -> list[Figure]:
    """Tasks a second on each side; AssertionError where one gives another answer."""
    answers: set[str] = set()

    def rate(side: SideProcess) -> float:
        done = side.run(load)
        answers.update(done.answers)
        return load.count / done.seconds

    figures = alternate(
        {name: partial(rate, side) for name, side in sides.items()}, effort, workers
    )
    assert len(answers) == 1, f"{load.statistic} has several answers: {sorted(answers)}"
    return figures


def _compared(kind: str, figures: list[Figure], notes: tuple[str, ...]) -> Comparison:
    at = {(figure.name, figure.at): figure for figure in figures}
    counts = sorted({figure.at for figure in figures if figure.at is not None})
    one = at[LIMIT, 1]
    ideal = [
        Figure(IDEAL, tuple(value * workers for value in one.values), workers) for workers in counts
    ]
    return Comparison(
        f"pools-{kind}",
        f"{KINDS[kind].summary}: tasks of {1000 / one.median:.0f} ms",
        "tasks/s",
        (*figures, *ideal),
        tuple(_goals(kind, at, counts)),
        chart=Chart.LINES,
        axis="workers",
        notes=(ABOUT_SIDES, *notes),
    )


def _goals(
    kind: str, at: Mapping[tuple[str, float | None], Figure], counts: list[float]
) -> Iterator[Goal]:
    """With all workers against the limit and others; with two against threads, as is meant."""
    most = counts[-1]
    ours = at[OURS, most].median
    text = f"{OURS} against {{}}, {most:g} workers"
    yield Goal(text.format(LIMIT), ours / at[LIMIT, most].median, at_least=0.95)
    for name in (*OTHERS, FREE_THREADS):
        if (name, most) in at:
            yield Goal(text.format(name), ours / at[name, most].median)
    if 2 in counts:
        ours, limit = (at[name, 2].median / at[THREADS, 2].median for name in (OURS, LIMIT))
        yield Goal(f"{OURS} against {THREADS}, 2 workers", ours, AGAINST_THREADS.get(kind))
        yield Goal(f"{LIMIT} against {THREADS}, 2 workers", limit)


# -- every statistic ------------------------------------------------------------------


def _every_statistic(table_fd: int, settings: Settings, effort: Effort) -> Comparison:
    workers = Machine().cores()
    place = Place(workers, table_fd, "server.stats")
    names = (OURS, THREADS, OTHERS[0])
    figures, goals = [], []
    with ExitStack() as opened:
        sides = {name: opened.enter_context(SideProcess(name, place)) for name in names}
        loads = list(_loads(table_fd, settings))
        for load in loads[:: QUICK_STEP if effort.quick else 1]:
            sized = _sized(load, sides[OURS], workers, SHARE_OF_STATISTICS * effort.seconds)
            found = _rates(sides, sized, workers, effort)
            figures += [Figure(f"{load.statistic}: {each.name}", each.values) for each in found]
            ours, threads = found[0].median, found[1].median
            goals.append(Goal(f"{load.statistic}: {OURS} against {THREADS}", ours / threads))
    return Comparison(
        "pools-statistics",
        f"Every statistic's example on {workers} workers",
        "tasks/s",
        tuple(figures),
        tuple(goals),
        chart=Chart.NONE,
        notes=("of a job of several parts, its first part",),
    )


def _loads(table_fd: int, settings: Settings) -> Iterator[Load]:
    """The first task of each statistic's example; of those that the table has the names for."""
    table = attach_table(table_fd)
    catalogue = Catalogue(table, load_description(settings.dataset), STATISTICS)
    for statistic in STATISTICS.values():
        try:
            request = catalogue.checked(statistic, dict(statistic.example))
        except (BadRequest, UnknownName):
            continue
        parts = statistic.plan(table, request)
        kind = TaskKind.WHOLE if len(parts) == 1 else TaskKind.PARTIAL
        text, work = (Raw(msgspec.json.encode(each)) for each in (request, parts[0]))
        yield Load(statistic.name, text, 1, 1, kind, work)
