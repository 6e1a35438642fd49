"""Jobs a second, from POST to result read: this project's server against other designs.

One Flask application under the same gunicorn settings stands before each queue. All sides
are up at the same time; those that wait for their turn do nothing.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import msgspec

from benchmarks.generators import measured
from benchmarks.http_figures import HttpFigures, Side
from benchmarks.load import Load, Measured
from benchmarks.measure import Comparison, Effort, Goal, Skipped
from benchmarks.pools import served_data
from benchmarks.rivals.queues import ABOUT, behind_flask, installed, redis_server
from benchmarks.servers import first_question, first_version_server, sportiv_server
from server.loader import load_region
from server.machine import Machine
from server.settings import Settings
from server.shared_data import SharedRegion

OURS = "this server"
WAITING = "this server, POST that waits"
FIRST = "the first version's design"
QUEUES = ("Celery", "RQ", "Huey", "RQ, SimpleWorker")
QUICK_QUEUES = ("Celery", "Huey")
GOALS = {FIRST: 5.0, "Celery": 5.0, "RQ": 5.0, "RQ, SimpleWorker": 5.0, "Huey": 2.0}
"""How many times as many jobs a second this server is meant to do."""

GOAL_CLIENTS = 8
PATH = "/api/states_mean"
SHARE = 1 / 3
"""Of `Effort.seconds`: how long a run is to take, since there are many."""

LEAST_SECONDS = 0.12

ABOUT_CLIENTS = (
    "each client, of the bundled generator, posts a job and asks for its result until it is there:"
    " at once, then after 1, 2, 4 ... 32 ms"
)


def measure(effort: Effort) -> Iterator[Comparison]:
    """Rates, medians and p99 of all sides at each number of clients.

    Without a Redis the first version's design is the only other side.
    """
    settings = Settings.read({})
    data = served_data(settings)
    effort = replace(effort, seconds=max(LEAST_SECONDS, SHARE * effort.seconds))
    figures = HttpFigures()
    with ExitStack() as opened:
        region = opened.enter_context(load_region(data, settings.dataset))
        ours = opened.enter_context(sportiv_server(cache="0", data=str(data)))
        first = opened.enter_context(first_version_server(data, settings.dataset))
        queues, missing = _queues(opened, region, effort)
        ports = {OURS: ours, FIRST: first, **queues}
        body = json.dumps({"question": first_question(ours)})
        figures.measure(_sides(ports, body, effort), effort)
    yield from figures.comparisons(
        "http-rivals",
        f"POST {PATH} to result read, default settings, durability full",
        "jobs/s",
        tuple(_goals(figures, ports)),
        (ABOUT, ABOUT_CLIENTS, *missing),
    )


def _queues(
    opened: ExitStack, region: SharedRegion, effort: Effort
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The ports of the queues that can take part, and what is missing for others."""
    names, missing = installed(QUICK_QUEUES if effort.quick else QUEUES)
    try:
        redis = opened.enter_context(redis_server())
    except Skipped as skipped:
        return {}, (str(skipped),)
    place = f"/proc/{os.getpid()}/fd/{region.fd}"
    ports = {}
    for name in names:
        effort.tell(f"{name} starts")
        queue = behind_flask(name, redis, place, Machine().cores())
        ports[name] = opened.enter_context(queue)
    return ports, missing


def _sides(ports: Mapping[str, int], body: str, effort: Effort) -> dict[str, Side]:
    sides: dict[str, Side] = {}
    for name, port in ports.items():
        load = Load(port, PATH, 1, effort.seconds, body, reads_result=True)
        sides[name] = partial(_put, load)
    waiting = Load(
        ports[OURS], PATH, 1, effort.seconds, body, {"Prefer": "wait=30"}, reads_result=True
    )
    return sides | {WAITING: partial(_put, waiting)}


def _put(load: Load, clients: int) -> Measured:
    return measured(msgspec.structs.replace(load, clients=clients))


def _goals(figures: HttpFigures, names: Iterable[str]) -> Iterator[Goal]:
    ours = figures.median_rate(OURS, GOAL_CLIENTS)
    for name in names:
        if name != OURS:
            ratio = ours / figures.median_rate(name, GOAL_CLIENTS)
            what = f"{OURS} against {name}, {GOAL_CLIENTS} clients"
            yield Goal(what, ratio, GOALS[name])
