"""POSTs accepted a second, against a Flask "hello" under the same gunicorn settings."""

import json
from collections.abc import Iterator

from benchmarks.generators import about_generators, measured
from benchmarks.load import Load
from benchmarks.measure import Comparison, Effort, against_each, alternate
from benchmarks.servers import first_question, sportiv_server, under_gunicorn, wait_until_idle

CLIENTS = 8


def measure(effort: Effort) -> Iterator[Comparison]:
    """Both rates and their ratio."""
    with (
        sportiv_server(cache="0") as ours,
        under_gunicorn("benchmarks.hello:app", "/hello") as plain,
    ):
        question = {"question": first_question(ours)}

        def rate(port: int, path: str, body: dict[str, str]) -> float:
            found = measured(Load(port, path, CLIENTS, effort.seconds, json.dumps(body)))
            wait_until_idle(ours)  # or its jobs would run in the other side's turn
            return found.rate

        figures = alternate(
            {
                "POST /api/global_mean": lambda: rate(ours, "/api/global_mean", question),
                "POST to a Flask hello": lambda: rate(plain, "/hello", {"name": "reader"}),
            },
            effort,
        )
    yield Comparison(
        "posts-accepted",
        f"POSTs accepted, durability full, {CLIENTS} clients, keep-alive",
        "requests/s",
        tuple(figures),
        against_each(figures, at_least=0.8),
        notes=(about_generators(),),
    )
