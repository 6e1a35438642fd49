"""The one place where errors become answers."""

import logging
from http import HTTPStatus

from flask import Response, request
from werkzeug.exceptions import HTTPException

from server.errors import ShuttingDown, SportivError, Unauthorized
from server.replies import error_body, reply
from server.request_log import about_request
from server.wire import MISTAKE, RETRY_AFTER

log = logging.getLogger("sportiv.http")


def on_error(error: Exception) -> Response:
    """The answer to any error, in the one shape that all have."""
    match error:
        case ShuttingDown():
            where = request.method, request.path
            log.error("refused after the shutdown began: %s %s", *where, extra=about_request())
            status, body = error.status, {"job_id": -1} | error_body(str(error))
        case SportivError():
            status, body = error.status, error_body(str(error))
        case HTTPException():
            status, body = error.code or 500, error_body(_http_reason(error))
        case _:
            where = request.method, request.path
            log.error("%s %s failed", *where, exc_info=error, extra=about_request())
            status, body = 500, error_body(MISTAKE)
    answer = reply(body, status)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE):
        answer.headers["Retry-After"] = str(getattr(error, "retry_after", RETRY_AFTER))
    if isinstance(error, Unauthorized):
        answer.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, HTTPException):
        allowed = getattr(error, "valid_methods", None)
        if allowed:
            answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def _http_reason(error: HTTPException) -> str:
    if error.code == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {request.path}"
    if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        return f"{request.method} is not allowed at {request.path}; allowed: {allowed}"
    return error.description or error.name
