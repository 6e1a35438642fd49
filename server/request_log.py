"""What is seen of each HTTP request: its id, its line in the log, its place in the metrics."""

import logging
import random
import re
import time
from dataclasses import dataclass
from functools import cache, partial

from flask import Flask, Response, g, request

from server.jobs import Jobs
from server.logging_setup import fields
from server.metrics import NO_ROUTE, Metrics

HEADER = "X-Request-Id"

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_LONGEST_LOGGED = 2000

_random = random.Random()
"""Seeded by the system once. Ids must differ, not be secret, and the system takes long for each."""

log = logging.getLogger("sportiv.http")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what became of it."""

    method: str
    path: str
    query: str
    body: bytes
    route: str  # the rule of its address
    job: int | None
    status: int
    request_id: str
    seconds: float


def watch_requests(app: Flask, jobs: Jobs) -> None:
    """Give every request an id, `g.request_id`, and every answer that id and its line in the log.

    Its time goes into the metrics of `jobs`. To be called before anything else that looks at
    requests is added to the app: so it begins before the others, and ends after them.
    """
    app.before_request(_begin)
    app.after_request(partial(_end, jobs))


def about_request() -> dict[str, object]:
    """The `extra=` of a line of the log about the request that is being answered."""
    return fields(method=request.method, path=request.path, request_id=g.request_id)


def request_id(given: str | None) -> str:
    """The client's own id where it has given one of 1 to 64 letters, digits, `.`, `_`, `-`."""
    return given if given and _GIVEN.fullmatch(given) else f"{_random.getrandbits(128):032x}"


def _begin() -> None:
    g.begun = time.perf_counter()
    g.request_id = request_id(request.headers.get(HEADER))


def _end(jobs: Jobs, answer: Response) -> Response:
    answer.headers[HEADER] = g.request_id
    note(
        jobs.metrics,
        Exchange(
            request.method,
            request.path,
            request.query_string.decode("latin-1"),
            g.get("body", b""),
            NO_ROUTE if request.url_rule is None else _shown(request.url_rule.rule),
            g.get("job_id"),
            answer.status_code,
            g.request_id,
            time.perf_counter() - g.begun,
        ),
    )
    return answer


@cache
def _shown(rule: str) -> str:
    """A rule without its converters, as the documentation writes addresses."""
    return re.sub(r"<\w+:", "<", rule)


def note(metrics: Metrics, exchange: Exchange) -> None:
    """Put a request that has been answered into the metrics and the log."""
    metrics.observe_request(exchange.method, exchange.route, exchange.status, exchange.seconds)
    log.info(
        "%s %s %s%s -> %d",
        exchange.method,
        f"{exchange.path}?{exchange.query}" if exchange.query else exchange.path,
        exchange.body[:_LONGEST_LOGGED].decode("utf-8", "backslashreplace"),
        "" if exchange.job is None else f" job {exchange.job}",
        exchange.status,
        extra=fields(
            method=exchange.method,
            path=exchange.path,
            status=exchange.status,
            job=exchange.job,
            request_id=exchange.request_id,
            duration_ms=round(1000 * exchange.seconds, 3),
        ),
    )
