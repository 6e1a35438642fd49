"""Telling the commonest requests from all others, by the bytes alone.

A plain request asks for one of two things, and has no header but a few whose meaning is
known here in full. Whatever is only a little unusual is not plain, and takes the long way
through gunicorn's parser and Flask, which knows all of HTTP.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

LONGEST_HEAD = 2048
"""No request with more bytes of headers is plain."""

_LINE = re.compile(
    rb"(?:POST (?P<post>/api/[a-z0-9_]{1,64})"
    rb"|GET (?P<get>/api/get_results/(?:job_id_)?(?P<job>[1-9][0-9]{0,17}))) HTTP/1\.1\r\n"
)
_HEADER = re.compile(rb"([A-Za-z-]{1,40}): ?([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)\r\n")
_LENGTH = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_WAIT = re.compile(r"wait=([1-9]|[1-5][0-9]|60)")
_CONTENT_TYPE = re.compile(r"application/json(; ?charset=utf-8)?", re.I)

_HARMLESS = frozenset(
    (
        *("host", "user-agent", "accept", "accept-encoding", "accept-language", "connection"),
        *("cache-control", "pragma", "content-type", "content-length", "authorization"),
        *("x-request-id", "prefer"),
        # A reverse proxy's: they matter only beside `Origin`, which is not plain.
        *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
    )
)
"""A header that is none of these may change what a request means."""


@dataclass(frozen=True, slots=True)
class Headers:
    """What the headers of a plain request say."""

    host: str
    authorization: str | None
    request_id: str | None
    wait: int  # seconds that the client prefers to wait for the result
    length: int  # of the body, 0 where there is none


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """`POST` of a job (`job` is None), or `GET` of a job's result."""

    path: str
    headers: Headers
    body: bytes
    job: int | None

    @property
    def statistic(self) -> str:
        """The last step of the path: of a POST, the statistic's name."""
        return self.path.rpartition("/")[2]


def plain_request(request: bytes) -> PlainRequest | None:
    """What these bytes of one whole request ask for; None where that is not plain."""
    line = _LINE.match(request)
    end = request.find(b"\r\n\r\n", 0, LONGEST_HEAD)
    if line is None or end < 0:
        return None
    headers = _headers(request[line.end() : end + 2])
    body = request[end + 4 :]
    if headers is None or headers.length != len(body) or bool(body) is not (line["job"] is None):
        return None
    path = (line["post"] or line["get"]).decode()
    job = None if line["job"] is None else int(line["job"])
    return PlainRequest(path, headers, body, job)


@lru_cache(maxsize=1024)
def _headers(lines: bytes) -> Headers | None:
    """What a block of header lines says; a client on a kept connection mostly sends the same."""
    fields: dict[str, str] = {}
    at = 0
    while match := _HEADER.match(lines, at):
        name = match[1].decode().lower()
        if name in fields or name not in _HARMLESS:
            return None
        fields[name] = match[2].decode()
        at = match.end()
    if at < len(lines) or "host" not in fields:
        return None
    if fields.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    wait = _WAIT.fullmatch(fields["prefer"]) if "prefer" in fields else None
    if "prefer" in fields and wait is None:
        return None
    length = fields.get("content-length", "")
    if length and not (
        _LENGTH.fullmatch(length) and _CONTENT_TYPE.fullmatch(fields.get("content-type", ""))
    ):
        return None
    given = fields.get("authorization"), fields.get("x-request-id")
    return Headers(fields["host"], *given, int(wait[1]) if wait else 0, int(length or 0))
