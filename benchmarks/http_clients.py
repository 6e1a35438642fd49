"""What 1, 8 and 64 clients get of this project's server, in each way that they can ask it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.request import Request, urlopen

import msgspec

from benchmarks.generators import about_generators, measured
from benchmarks.http_figures import HttpFigures, Side
from benchmarks.load import Load, Measured
from benchmarks.measure import Comparison, Effort, against_each, alternate
from benchmarks.servers import first_question, sportiv_server, wait_until_idle

PATH = "/api/global_mean"
WAITS = {"Prefer": "wait=30"}
SHARE = 0.25
"""Of `Effort.seconds`: how long a run is to take, since there are many."""

CACHE_CLIENTS = 8
ABOUT_SETTINGS = "default settings, but for SPORTIV_CACHE=0 and a queue that never is full"


def measure(effort: Effort) -> Iterator[Comparison]:
    """Rates and latencies of each way, then what the cache of answers saves."""
    effort = replace(effort, seconds=SHARE * effort.seconds)
    figures = HttpFigures()
    with sportiv_server(cache="0") as computing, sportiv_server(cache="1") as caching:
        body = json.dumps({"question": first_question(computing)})
        figures.measure(_ways(_finished_job(computing, body), computing, body, effort), effort)
        yield from figures.comparisons(
            "http-clients",
            f"{PATH}, durability full",
            "operations/s",
            (),
            (ABOUT_SETTINGS, about_generators()),
        )
        yield _cache({"computed": computing, "from the cache": caching}, body, effort)


def _ways(job_id: int, port: int, body: str, effort: Effort) -> dict[str, Side]:
    def load(clients: int, **options: Any) -> Measured:
        found = measured(msgspec.structs.replace(base, clients=clients, **options))
        wait_until_idle(port)  # or jobs that nobody waited for would run in the next turn
        return found

    base = Load(port, PATH, 1, effort.seconds)
    reading: dict[str, Any] = {"body": body, "reads_result": True}
    return {
        "POST": partial(load, body=body),
        "POST that waits for the result": partial(load, headers=WAITS, **reading),
        "POST, then get_results until done": partial(load, **reading),
        "get_results of a job that is done": partial(load, path=f"/api/get_results/{job_id}"),
    }


def _finished_job(port: int, body: str) -> int:
    """The id of a job that has ended."""
    with urlopen(_post(port, body), timeout=30) as answer:
        job_id = int(json.load(answer)["job_id"])
    with urlopen(f"http://127.0.0.1:{port}/api/get_results/{job_id}?wait=30", timeout=60) as answer:
        assert json.load(answer)["status"] == "done"
    return job_id


def _post(port: int, body: str) -> Request:
    headers = {"Content-Type": "application/json"}
    return Request(f"http://127.0.0.1:{port}{PATH}", body.encode(), headers)


def _cache(ports: Mapping[str, int], body: str, effort: Effort) -> Comparison:
    def rate(port: int) -> float:
        load = Load(port, PATH, CACHE_CLIENTS, effort.seconds, body, reads_result=True)
        return measured(load).rate

    figures = alternate({name: partial(rate, port) for name, port in ports.items()}, effort)
    figures.reverse()
    return Comparison(
        "http-cache",
        f"The same question again and again, {CACHE_CLIENTS} clients that read its result",
        "answers/s",
        tuple(figures),
        against_each(figures),
        notes=(about_generators(),),
    )
