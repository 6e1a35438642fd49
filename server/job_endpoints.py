"""The addresses of jobs: asked for, waited for, listed, cancelled."""

import re
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, g, request

from server.answered import answered
from server.catalogue import parse_object
from server.csv_answer import as_csv
from server.errors import (
    BadRequest,
    BodyTooLarge,
    LengthRequired,
    ShuttingDown,
    StorageError,
    UnknownJob,
    UnsupportedMedia,
)
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
from server.replies import done, reply
from server.result_store import RUNNING
from server.stats.statistic import JobRequest, Json, Statistic
from server.wire import MAX_BODY, RETRY_AFTER

MOST_LISTED = 10_000
"""How many jobs one answer lists at most."""

USUALLY_TOLD, MOST_TOLD = 50, 500
"""Of how many jobs one answer tells everything, unless it is asked for less or more."""

NO_JOB = 10**18 - 1
"""Above the number of every job that there can be."""

_JOB_ID = re.compile(r"(?:job_id_)?([1-9][0-9]{0,17})", re.ASCII)
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII)


def add_jobs(app: Flask, jobs: Jobs) -> None:
    """Serve the jobs: one address for each statistic, and those of what becomes of them."""
    for statistic in jobs.catalogue.statistics.values():
        app.add_url_rule(
            f"/api/{statistic.name}",
            endpoint=statistic.name,
            view_func=partial(_submit, jobs, statistic),
            methods=["POST"],
        )
    for method, rule, view in (
        ("POST", "/api/batch", _submit_batch),
        ("GET", "/api/batch/<any_text:batch_id>", _get_batch),
        ("GET", "/api/get_results/<any_text:job_id>", _get_results),
        ("GET", "/api/jobs", _list_jobs),
        ("GET", "/api/history", _history),
        ("GET", "/api/jobs/<job_text:job_id>", _describe_job),
        ("GET", "/api/jobs/<any_text:job_id>/table", _table),
        ("GET", "/api/jobs/<any_text:job_id>/chart", _chart),
        ("DELETE", "/api/jobs/<job_text:job_id>", _cancel),
        ("GET", "/api/num_jobs", _num_jobs),
    ):
        app.add_url_rule(
            rule, endpoint=f"{method} {rule}", view_func=partial(view, jobs), methods=[method]
        )


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
    if wait and jobs.wait(job_id, wait) and (content := _result_now(jobs, job_id)):
        applied = {"Preference-Applied": f"wait={wait:g}"}
        return reply(content, headers=location | applied)
    accepted = {"job_id": job_id, "status": "running"}
    return reply(accepted, HTTPStatus.ACCEPTED, location | {"Retry-After": RETRY_AFTER})


def _result_now(jobs: Jobs, job_id: int) -> bytes | None:
    """How the job has ended; None where its result is gone or damaged: who reads it is told.

    The job is accepted all the same, so that the answer to its request must not be an error.
    """
    try:
        content = jobs.result(job_id)
    except (UnknownJob, StorageError):
        return None
    return None if content == RUNNING else content


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
    return reply(accepted, HTTPStatus.ACCEPTED, headers)


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
    return reply(
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
    return reply(jobs.result(number))


def _job_number(job_id: str) -> int:
    match = _JOB_ID.fullmatch(job_id)
    if match is None:
        raise UnknownJob
    return int(match[1])


def _cancel(jobs: Jobs, job_id: str) -> Response:
    number = _job_number(job_id)
    jobs.cancel(number)
    return reply({"job_id": number, "status": "cancelled"})


def _describe_job(jobs: Jobs, job_id: str) -> Response:
    return done(_with_links(jobs.describe(_job_number(job_id))))


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
    return reply(body)


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
    return reply(body)


def _num_jobs(jobs: Jobs) -> Response:
    unfinished = jobs.unfinished
    return reply({"status": "done", "data": unfinished, "num_jobs": unfinished})


def _table(jobs: Jobs, job_id: str) -> Response:
    only_known(request.args, ("format",))
    wants_csv = choice(request.args, "format", {"json": False, "csv": True})
    number = _job_number(job_id)
    table = answered(jobs, number).table()
    if not wants_csv:
        return done({"columns": table.columns, "rows": table.rows})
    name = {"Content-Disposition": f'attachment; filename="job_id_{number}.csv"'}
    return Response(as_csv(table), headers=name, content_type="text/csv; charset=utf-8")


def _chart(jobs: Jobs, job_id: str) -> Response:
    return done(answered(jobs, _job_number(job_id)).chart())
