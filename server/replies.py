"""Answers as Flask has them: JSON with a status and headers."""

from http import HTTPStatus

import msgspec
from flask import Response

from server.stats.statistic import Json
from server.wire import RETRY_AFTER


def reply(body: Json | bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer; bytes are taken as they are."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(content, status, headers, content_type="application/json")


def done(data: Json) -> Response:
    """The answer to a question that has one at once."""
    return reply({"status": "done", "data": data})


def error_body(reason: str) -> dict[str, Json]:
    """The one shape that all errors have."""
    return {"status": "error", "reason": reason}


def unavailable(reason: str) -> Response:
    """503, to be tried again soon."""
    headers = {"Retry-After": RETRY_AFTER}
    return reply(error_body(reason), HTTPStatus.SERVICE_UNAVAILABLE, headers)
