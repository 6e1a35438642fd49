"""The answer to what never reaches the application, as no proper request or as one too late."""

import logging
from http import HTTPStatus

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)

from server.wire import HEADERS, MISTAKE, SERVER, error_content

_STATUS = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    InvalidResponseHeader: HTTPStatus.INTERNAL_SERVER_ERROR,
    InvalidResponseHeaderName: HTTPStatus.INTERNAL_SERVER_ERROR,
}

log = logging.getLogger("sportiv.http")


def refusal(error: Exception) -> bytes:
    """The whole answer, in the shape that all errors have; the connection is closed after it.

    The log tells of it too: in a line where the client is at fault, else with the traceback.
    """
    status = _status(error)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        reason = str(error)
        log.warning("no proper request: %s -> %d", reason, status)
    else:
        reason = MISTAKE
        log.error("a request failed", exc_info=error)
    content = error_content(reason)
    lines = [
        f"HTTP/1.1 {status} {status.phrase}",
        f"Server: {SERVER}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in HEADERS.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _status(error: Exception) -> HTTPStatus:
    if isinstance(error, TimeoutError):
        return HTTPStatus.REQUEST_TIMEOUT
    if isinstance(error, ParseException):
        return _STATUS.get(type(error), HTTPStatus.BAD_REQUEST)
    return HTTPStatus.INTERNAL_SERVER_ERROR
