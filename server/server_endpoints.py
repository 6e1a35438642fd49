"""The addresses of what there is: the table's names, the statistics, and the server itself."""

from functools import partial

from flask import Flask, Response, request

from server import metrics
from server.documents import PAGE_POLICY, Documents
from server.facts import Facts
from server.jobs import Jobs
from server.replies import done, reply, unavailable
from server.settings import Settings
from server.wire import MAX_BODY


def add_server(app: Flask, jobs: Jobs, settings: Settings) -> None:
    """Serve what can be asked about, and how the server is."""
    for rule, view in {
        "/api/statistics": _statistics,
        "/api/questions": _questions,
        "/api/states": _states,
        "/api/categories": _categories,
        "/api/pool": _pool,
        "/metrics": _metrics,
        "/healthz": _healthz,
        "/readyz": _readyz,
    }.items():
        app.add_url_rule(rule, endpoint=rule, view_func=partial(view, jobs))
    documents = Documents(jobs, longest_body=MAX_BODY)
    for rule, document in {"/openapi.json": _openapi, "/docs": _docs}.items():
        app.add_url_rule(rule, endpoint=rule, view_func=partial(document, documents))
    facts = partial(_server, Facts(jobs, settings))
    app.add_url_rule("/api/server", endpoint="/api/server", view_func=facts)
    shutdown = "/api/graceful_shutdown"
    app.add_url_rule(
        shutdown,
        endpoint=shutdown,
        view_func=partial(_graceful_shutdown, jobs),
        methods=["GET", "POST"],
    )


def _statistics(jobs: Jobs) -> Response:
    return done(jobs.catalogue.describe_statistics())


def _questions(jobs: Jobs) -> Response:
    return done(jobs.catalogue.describe_questions())


def _states(jobs: Jobs) -> Response:
    return done(jobs.catalogue.states())


def _categories(jobs: Jobs) -> Response:
    return done(jobs.catalogue.categories())


def _openapi(documents: Documents) -> Response:
    return reply(documents.openapi)


def _docs(documents: Documents) -> Response:
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return Response(documents.page, headers=headers, content_type="text/html; charset=utf-8")


def _pool(jobs: Jobs) -> Response:
    return done(jobs.describe_pool())


def _metrics(jobs: Jobs) -> Response:
    return Response(jobs.metrics.text(), content_type=metrics.CONTENT_TYPE)


def _server(facts: Facts) -> Response:
    return done(facts.now())


def _healthz(jobs: Jobs) -> Response:
    if trouble := jobs.storage_trouble:
        return unavailable(f"degraded: {trouble}")
    trouble = jobs.pool_trouble
    if not jobs.can_compute:
        return unavailable(f"degraded: {trouble or 'no worker is ready'}")
    return reply({"status": "degraded", "reason": trouble} if trouble else {"status": "ok"})


def _readyz(jobs: Jobs) -> Response:
    if jobs.draining:
        return unavailable("shutting down")
    return _healthz(jobs)


def _graceful_shutdown(jobs: Jobs) -> Response:
    only_asks = request.method == "HEAD"
    ended = jobs.draining and not jobs.unfinished if only_asks else jobs.drain()
    return reply({"status": "done" if ended else "running"})
