"""HTTP: routes, answers, and the one place where errors become answers."""

import logging
import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from server import metrics
from server.catalogue import parse_object
from server.chart_library import ChartLibrary
from server.dashboard import Dashboard
from server.documents import PAGE_POLICY, Documents
from server.errors import (
    BadRequest,
    BodyTooLarge,
    LengthRequired,
    ShuttingDown,
    SportivError,
    Unauthorized,
    UnknownJob,
    UnsupportedMedia,
)
from server.facts import Facts
from server.guard import Guard, add_headers
from server.http_input import (
    STATES,
    batch_items,
    choice,
    idempotency_key,
    only_known,
    preferred_wait,
    wait_of_address,
    whole_number,
)
from server.job_state import JobState
from server.jobs import Jobs
from server.page_views import add_page
from server.problems import as_problem
from server.request_log import about_request, watch_requests
from server.settings import Settings
from server.stats.statistic import JobRequest, Json, Statistic
from server.wire import MAX_BODY, MISTAKE, RETRY_AFTER

MOST_LISTED = 10_000
"""How many jobs one answer lists at most."""

USUALLY_TOLD, MOST_TOLD = 50, 500
"""Of how many jobs one answer tells everything, unless it is asked for less or more."""

NO_JOB = 10**18 - 1
"""Above the number of every job that there can be."""

_JOB_ID = re.compile(r"(?:job_id_)?([1-9][0-9]{0,17})", re.ASCII)
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)

log = logging.getLogger("sportiv.http")


class _AnyText(BaseConverter):
    """The rest of an address whatever it holds, line ends included."""

    regex = "(?s:.*)"
    part_isolating = False


def create_app(jobs: Jobs, settings: Settings) -> Flask:
    """The WSGI application that serves `jobs`; one address for each statistic it knows."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False
    app.url_map.converters["any_text"] = _AnyText
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    watch_requests(app, jobs)

    for statistic in jobs.catalogue.statistics.values():
        app.add_url_rule(
            f"/api/{statistic.name}",
            endpoint=statistic.name,
            view_func=partial(_submit, jobs, statistic),
            methods=["POST"],
        )
    views: dict[str, Callable[..., Response]] = {
        "/api/get_results/<any_text:job_id>": _get_results,
        "/api/jobs": _list_jobs,
        "/api/history": _history,
        "/api/batch/<any_text:batch_id>": _get_batch,
        "/api/jobs/<any_text:job_id>": _describe_job,
        "/api/num_jobs": _num_jobs,
        "/api/statistics": _statistics,
        "/api/questions": _questions,
        "/api/states": _states,
        "/api/categories": _categories,
        "/api/pool": _pool,
        "/metrics": _metrics,
        "/healthz": _healthz,
        "/readyz": _readyz,
    }
    for rule, view in views.items():
        app.add_url_rule(rule, endpoint=rule, view_func=partial(view, jobs), methods=["GET"])
    documents = Documents(jobs, longest_body=MAX_BODY)
    for rule, document in {"/openapi.json": _openapi, "/docs": _docs}.items():
        app.add_url_rule(rule, endpoint=rule, view_func=partial(document, documents))
    app.add_url_rule(
        "/api/server", endpoint="server", view_func=partial(_server, Facts(jobs, settings))
    )
    app.add_url_rule(
        "/api/batch", endpoint="batch", view_func=partial(_submit_batch, jobs), methods=["POST"]
    )
    app.add_url_rule(
        "/api/graceful_shutdown",
        endpoint="graceful_shutdown",
        view_func=partial(_graceful_shutdown, jobs),
        methods=["GET", "POST"],
    )
    app.add_url_rule(
        "/api/jobs/<any_text:job_id>",
        endpoint="cancel",
        view_func=partial(_cancel, jobs),
        methods=["DELETE"],
    )
    add_page(app, Dashboard(ChartLibrary()))
    app.register_error_handler(Exception, _on_error)
    app.before_request(Guard(settings).check)
    for step in (as_problem, add_headers):
        app.after_request(step)
    return app


def _answer(
    body: Json | bytes, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A JSON answer; bytes are taken as they are."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(content, status, headers, content_type="application/json")


def _done(data: Json) -> Response:
    return _answer({"status": "done", "data": data})


# -- jobs -----------------------------------------------------------------------------


def _submit(jobs: Jobs, statistic: Statistic) -> Response:
    if jobs.draining:
        raise ShuttingDown
    g.body = body = _body()
    key = idempotency_key(request.headers.get("Idempotency-Key"))
    wanted = jobs.catalogue.request(statistic, body)
    job_id = jobs.submit(statistic, wanted, key, request_id=g.request_id)
    g.job_id = job_id
    location = {"Location": f"/api/get_results/{job_id}"}
    wait = preferred_wait(request.headers.get("Prefer"))
    if wait and jobs.wait(job_id, wait):
        applied = {"Preference-Applied": f"wait={wait:g}"}
        return _answer(jobs.result(job_id), headers=location | applied)
    accepted = {"job_id": job_id, "status": "running"}
    return _answer(accepted, HTTPStatus.ACCEPTED, location | {"Retry-After": RETRY_AFTER})


def _submit_batch(jobs: Jobs) -> Response:
    if jobs.draining:
        raise ShuttingDown
    g.body = body = _body()
    key = idempotency_key(request.headers.get("Idempotency-Key"))
    wanted = [
        _wanted(jobs, place, fields) for place, fields in enumerate(batch_items(parse_object(body)))
    ]
    ids = list(jobs.submit_all(wanted, key, is_batch=True, request_id=g.request_id))
    g.job_id = ids[0]
    headers = {"Location": f"/api/batch/{ids[0]}", "Retry-After": RETRY_AFTER}
    accepted = {"batch_id": ids[0], "job_ids": ids, "status": "running"}
    return _answer(accepted, HTTPStatus.ACCEPTED, headers)


def _wanted(jobs: Jobs, place: int, fields: dict[str, Json]) -> tuple[Statistic, JobRequest]:
    """One request of a batch, checked; an error says which one it is."""
    rest = {name: value for name, value in fields.items() if name != "statistic"}
    try:
        statistic = jobs.catalogue.statistic(fields["statistic"])
        return statistic, jobs.catalogue.checked(statistic, rest)
    except BadRequest as error:
        raise BadRequest(f"jobs[{place}]: {error}") from None


def _get_batch(jobs: Jobs, batch_id: str) -> Response:
    states, progress = jobs.batch(_job_number(batch_id))
    ended = all(state.final for _, state in states)
    return _answer(
        {
            "status": "done" if ended else "running",
            "progress": progress,
            "data": [{f"job_id_{job_id}": state.status} for job_id, state in states],
        }
    )


def _body() -> bytes:
    """The request's body, if it is declared as plain JSON of a bounded length."""
    length = request.content_length
    if length is None:
        raise LengthRequired("a body with a Content-Length is needed")
    if length > MAX_BODY:
        raise BodyTooLarge(f"the body has {length} bytes; at most {MAX_BODY} are taken")
    if request.mimetype and not _JSON_TYPE.fullmatch(request.mimetype):
        raise UnsupportedMedia(
            f"the body is declared as {request.mimetype}; send it as application/json"
        )
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMedia(f"the body is packed as {encoding}; send it as it is")
    body = request.get_data(cache=False)
    if len(body) < length:
        raise BadRequest(f"the body ends after {len(body)} of {length} bytes")
    return body


def _get_results(jobs: Jobs, job_id: str) -> Response:
    number = _job_number(job_id)
    if wait := wait_of_address(request.args):
        jobs.wait(number, wait)
    return _answer(jobs.result(number))


def _job_number(job_id: str) -> int:
    match = _JOB_ID.fullmatch(job_id)
    if match is None:
        raise UnknownJob
    return int(match[1])


def _cancel(jobs: Jobs, job_id: str) -> Response:
    number = _job_number(job_id)
    jobs.cancel(number)
    return _answer({"job_id": number, "status": "cancelled"})


def _describe_job(jobs: Jobs, job_id: str) -> Response:
    return _done(_with_links(jobs.describe(_job_number(job_id))))


def _with_links(known: dict[str, Json]) -> dict[str, Json]:
    """The record of a job, with the addresses about it."""
    number, batch = known["job_id"], known["batch"]
    links = {"result": f"/api/get_results/{number}", "self": f"/api/jobs/{number}"}
    if batch is not None:
        links["batch"] = f"/api/batch/{batch}"
    return known | {"links": links}


def _history(jobs: Jobs) -> Response:
    arguments = request.args
    only_known(arguments, ("before", "limit", "status", "statistic"))
    before = whole_number(arguments, "before", NO_JOB, 1)
    limit = whole_number(arguments, "limit", USUALLY_TOLD, 1)
    found, rest = jobs.history(before, min(limit, MOST_TOLD), **_only(jobs))
    body: dict[str, Json] = {"status": "done", "data": [_with_links(each) for each in found]}
    if rest is not None:
        body["next"] = f"/api/history?{urlencode({**arguments, 'before': rest, 'limit': limit})}"
    return _answer(body)


def _only(jobs: Jobs) -> dict[str, Any]:
    """Which jobs the address asks for: see `job_view.listed`."""
    statistics = {name: name for name in jobs.catalogue.statistics}
    return {
        "states": choice(request.args, "status", STATES) or frozenset(JobState),
        "statistic": choice(request.args, "statistic", statistics),
    }


def _list_jobs(jobs: Jobs) -> Response:
    arguments = request.args
    only_known(arguments, ("after", "limit", "status", "statistic"))
    after = whole_number(arguments, "after", 0, 0)
    limit = whole_number(arguments, "limit", MOST_LISTED, 1)
    states = jobs.states(after, min(limit, MOST_LISTED), **_only(jobs))
    body = {
        "status": "done",
        "data": [{f"job_id_{job_id}": state.status} for job_id, state in states],
    }
    if len(states) == min(limit, MOST_LISTED):
        rest = {**arguments, "after": states[-1][0], "limit": limit}
        body["next"] = f"/api/jobs?{urlencode(rest)}"
    return _answer(body)


def _num_jobs(jobs: Jobs) -> Response:
    unfinished = jobs.unfinished
    return _answer({"status": "done", "data": unfinished, "num_jobs": unfinished})


def _graceful_shutdown(jobs: Jobs) -> Response:
    return _answer({"status": "done" if jobs.drain() else "running"})


# -- what there is --------------------------------------------------------------------


def _statistics(jobs: Jobs) -> Response:
    return _done(jobs.catalogue.describe_statistics())


def _questions(jobs: Jobs) -> Response:
    return _done(jobs.catalogue.describe_questions())


def _states(jobs: Jobs) -> Response:
    return _done(jobs.catalogue.states())


def _categories(jobs: Jobs) -> Response:
    return _done(jobs.catalogue.categories())


def _openapi(documents: Documents) -> Response:
    return _answer(documents.openapi)


def _docs(documents: Documents) -> Response:
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return Response(documents.page, headers=headers, content_type="text/html; charset=utf-8")


def _pool(jobs: Jobs) -> Response:
    return _done(jobs.describe_pool())


def _metrics(jobs: Jobs) -> Response:
    return Response(jobs.metrics.text(), content_type=metrics.CONTENT_TYPE)


def _server(facts: Facts) -> Response:
    return _done(facts.now())


def _healthz(jobs: Jobs) -> Response:
    if trouble := jobs.storage_trouble:
        return _unavailable(f"degraded: {trouble}")
    trouble = jobs.pool_trouble
    if not jobs.can_compute:
        return _unavailable(f"degraded: {trouble or 'no worker is ready'}")
    return _answer({"status": "degraded", "reason": trouble} if trouble else {"status": "ok"})


def _readyz(jobs: Jobs) -> Response:
    if jobs.draining:
        return _unavailable("shutting down")
    return _healthz(jobs)


def _unavailable(reason: str) -> Response:
    headers = {"Retry-After": RETRY_AFTER}
    return _answer(_error_body(reason), HTTPStatus.SERVICE_UNAVAILABLE, headers)


# -- errors -----------------------------------------------------------------------


def _on_error(error: Exception) -> Response:
    """The answer to any error, in the one shape that all have."""
    match error:
        case ShuttingDown():
            where = request.method, request.path
            log.error("refused after the shutdown began: %s %s", *where, extra=about_request())
            status, body = error.status, {"job_id": -1} | _error_body(str(error))
        case SportivError():
            status, body = error.status, _error_body(str(error))
        case HTTPException():
            status, body = error.code or 500, _error_body(_http_reason(error))
        case _:
            where = request.method, request.path
            log.error("%s %s failed", *where, exc_info=error, extra=about_request())
            status, body = 500, _error_body(MISTAKE)
    answer = _answer(body, status)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE):
        answer.headers["Retry-After"] = str(getattr(error, "retry_after", RETRY_AFTER))
    if isinstance(error, Unauthorized):
        answer.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, HTTPException):
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def _error_body(reason: str) -> dict[str, Json]:
    return {"status": "error", "reason": reason}


def _http_reason(error: HTTPException) -> str:
    if error.code == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {request.path}"
    if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        return f"{request.method} is not allowed at {request.path}; allowed: {allowed}"
    return error.description or error.name
