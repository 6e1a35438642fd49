"""Errors as RFC 9457 has them, for clients that ask for `application/problem+json`."""

from http import HTTPStatus

import msgspec
from flask import Response, request

PROBLEM = "application/problem+json"
_JSON = "application/json"


def as_problem(answer: Response) -> Response:
    """For Flask's `after_request`: an error in that form, if the client prefers it.

    What else the usual form has, such as `job_id`, stays beside RFC 9457's own members.
    """
    if answer.status_code < 400 or answer.mimetype != _JSON or not _preferred():
        return answer
    usual = msgspec.json.decode(answer.get_data())
    usual.pop("status")
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(answer.status_code).phrase,
        "status": answer.status_code,
        "detail": usual.pop("reason"),
    }
    answer.set_data(msgspec.json.encode(problem | usual))
    answer.content_type = PROBLEM
    return answer


def _preferred() -> bool:
    """Whether the client names the form, and does not like plain JSON better."""
    accepted = request.accept_mimetypes
    named = any(name.lower() == PROBLEM and quality > 0 for name, quality in accepted)
    return named and accepted[PROBLEM] >= accepted[_JSON]
