"""Requests to one server, tried again while that can help.

The promise: what is sent here may be sent twice without harm, because it changes nothing, or
carries an idempotency key, or says the same the second time. So an answer that was lost, a
connection that was cut, a server that is just being restarted, or one that says that it cannot
now, cost nothing but time, and of that no more than the caller's patience.
"""

import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import BadStatusLine, RemoteDisconnected
from itertools import count
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import (
    HTTPError,
    InvalidHeader,
    LocationParseError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    SSLError,
    TimeoutError,
)

from server.client_errors import Refused, Unreachable

Json = Any
"""A value that JSON can carry."""

PASSING = frozenset({502, 503, 504, 507})
"""What a server, or a proxy before it, answers that may be otherwise in a moment."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds
_LONGEST_ASKED_PAUSE = 5.0  # a queue has room, a server is back sooner than either had thought
_CONNECT_SECONDS = 10.0
_LONGEST_QUOTE = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Transport:
    """The connections to one server. Safe for any number of threads.

    `patience` is how many seconds a request may be tried again, `answer_seconds` how long one
    answer may take beyond what it was asked to wait: then it counts as lost.
    """

    def __init__(self, url: str, token: str | None, patience: float, answer_seconds: float) -> None:
        """ValueError where `url` is no address of HTTP."""
        whole = url if "://" in url else f"http://{url}"
        try:
            parts = urllib3.util.parse_url(whole)
        except LocationParseError:
            parts = urllib3.util.Url()
        if parts.scheme not in ("http", "https") or not parts.host:
            raise ValueError(f"{url!r} is no address such as http://127.0.0.1:5000")
        self.url = whole.rstrip("/")
        self.patience = patience
        self._answer_seconds = answer_seconds
        self._prefix = (parts.path or "").rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "sportiv"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        try:
            self._pool = urllib3.connection_from_url(whole, maxsize=100)
        except LocationValueError as error:
            raise ValueError(f"{url!r} is no address: {error}") from None

    def close(self) -> None:
        """Close the connections that are kept for further requests."""
        self._pool.close()

    def get(self, path: str, *, wait: float = 0.0, patience: float | None = None) -> Json:
        """The JSON object at `path`, which the server may take `wait` seconds more to give."""
        return checked(self.url, self.send("GET", path, wait=wait, patience=patience))

    def post(self, path: str, body: Json, headers: Mapping[str, str] | None = None) -> Json:
        """The JSON object that the server answers to `body`."""
        content = json.dumps(body, allow_nan=False).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        return checked(self.url, self.send("POST", path, content, sent))

    def send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        wait: float = 0.0,
        patience: float | None = None,
    ) -> Reply:
        """What the server answers, whatever that is; tried again while it is in `PASSING`.

        Raises Unreachable where none comes within the patience, and Refused where only such
        came.
        """
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        for tries, pause in enumerate(_pauses()):
            trouble: Unreachable | Refused
            try:
                reply = self._send_once(method, path, content, headers, wait)
                if reply.status not in PASSING:
                    return reply
                trouble, pause = _refusal(reply), max(pause, _asked_pause(reply))
            except _Lost as lost:
                if lost.was_kept and not tries:
                    continue
                trouble = Unreachable(self.url, str(lost))
            left = deadline - time.monotonic()
            if left <= 0:
                raise trouble
            time.sleep(min(left, pause))
        raise AssertionError("the pauses have no end")

    def _send_once(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str] | None,
        wait: float,
    ) -> Reply:
        timeout = urllib3.Timeout(
            connect=min(_CONNECT_SECONDS, self._answer_seconds), read=self._answer_seconds + wait
        )
        try:
            answer = self._pool.request(
                method,
                self._prefix + path,
                body=content,
                headers=self._headers | dict(headers or {}),
                timeout=timeout,
                retries=False,
                redirect=False,
            )
        except (SSLError, InvalidHeader) as error:
            raise Unreachable(self.url, str(error)) from error
        except HTTPError as error:
            if _is_no_http(error):
                raise Unreachable(self.url, "what listens there does not speak HTTP") from error
            raise _Lost(_in_words(error), isinstance(error, ProtocolError)) from error
        reply = Reply(answer.status, answer.headers, answer.data)
        if not _is_whole(reply):
            raise _Lost("the answer breaks off", was_kept=False)
        return reply


class _Lost(Exception):
    """No answer has come; another try may get one.

    `was_kept`: perhaps only because the server had closed a connection that was kept.
    """

    def __init__(self, reason: str, was_kept: bool) -> None:
        super().__init__(reason)
        self.was_kept = was_kept


def path_of(path: str, **arguments: object) -> str:
    """`path` with those of the arguments that are not None behind it."""
    given = {name: value for name, value in arguments.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def checked(url: str, reply: Reply) -> Json:
    """The JSON object of a good answer; Refused for an error, Unreachable for a stranger's."""
    value = _object_of(reply)
    if reply.status >= 400 and (value or reply.status not in (404, 405)):
        raise _refusal(reply)
    if value is None:
        media = reply.headers.get("Content-Type", "nothing that has a type")
        reason = f"what listens there is something else (status {reply.status}, {media})"
        raise Unreachable(url, reason)
    return value


def _is_whole(reply: Reply) -> bool:
    """Not where it is cut off among its headers, which looks like an answer without a body."""
    bounded = {"content-length", "transfer-encoding"} & {name.lower() for name in reply.headers}
    return bool(bounded) or _object_of(reply) is not None


def _object_of(reply: Reply) -> dict[str, Json] | None:
    """The object in the body, as every answer of the server is; None where it is no such one."""
    try:
        value = json.loads(reply.content)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "status" in value else None


def _refusal(reply: Reply) -> Refused:
    value = _object_of(reply) or {}
    said = value.get("reason") or f"the answer has status {reply.status}"
    return Refused(reply.status, str(said))


def _asked_pause(reply: Reply) -> float:
    """How long the server wants us to wait, within reason; not all clients as long."""
    seconds = reply.headers.get("Retry-After", "")
    asked = min(int(seconds), _LONGEST_ASKED_PAUSE) if seconds.isdecimal() else 0.0
    return asked * random.uniform(1.0, 1.2)


def _pauses() -> Iterator[float]:
    """Longer and longer pauses, each cut at random, so that clients do not come all at once."""
    for doubled in count():
        yield min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(doubled, 10)) * random.uniform(0.5, 1.0)


def _is_no_http(error: HTTPError) -> bool:
    if not isinstance(error, ProtocolError) or len(error.args) < 2:
        return False
    cause = error.args[1]
    return isinstance(cause, BadStatusLine) and not isinstance(cause, RemoteDisconnected)


def _in_words(error: HTTPError) -> str:
    """What went wrong, without the names of urllib3's own objects."""
    if isinstance(error, TimeoutError) and not isinstance(error, NewConnectionError):
        return "nothing comes in time"
    cause = error.__cause__ or (error.args[1] if len(error.args) > 1 else None)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    words = str(cause if isinstance(cause, Exception) else error).rpartition(">: ")[2]
    return words[:_LONGEST_QUOTE]
