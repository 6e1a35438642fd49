"""Who may call: a token where one is set, and no web page of another site.

A browser sends requests to this machine for any page that it shows, and takes any name for
this machine's that the page's owner points to it. It says whose page asks in headers that a
page cannot forge; other clients, such as curl, do not send those, and pass.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from flask import Response, request

from server.errors import Forbidden, Unauthorized
from server.settings import Settings
from server.wire import HEADERS

OPEN = frozenset({"/healthz", "/readyz"})
"""Addresses that answer everybody, so that whatever watches the server needs no token."""

_PAGE = re.compile(r"/(assets/.*)?", re.DOTALL)
"""Addresses of the page for people: it holds nothing secret, and asks its reader for the token."""

_CHANGING_READS = frozenset({"/api/graceful_shutdown"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Guard:
    """Lets the request under way pass, or raises Unauthorized or Forbidden."""

    def __init__(self, settings: Settings) -> None:
        self._token = settings.token
        self._open_reads = settings.open_reads
        self._own_names = {"localhost", settings.bind.host.lower()}

    def check(self) -> None:
        """For Flask's `before_request`."""
        if request.path in OPEN:
            return
        changing = request.method not in _READING or request.path in _CHANGING_READS
        if self._token is None:
            self._check_host()
        elif changing or not (self._open_reads or _PAGE.fullmatch(request.path)):
            self._check_token()
        if changing:
            _check_site()
            _check_origin()

    def _check_token(self) -> None:
        authorization = request.headers.get("Authorization", "")
        if not _given_token(authorization):
            raise Unauthorized("this needs the server's token: Authorization: Bearer <token>")
        if not self._has_token(authorization):
            raise Unauthorized("this is not the server's token")

    def _has_token(self, authorization: str) -> bool:
        given = _given_token(authorization)
        return self._token is not None and bool(given) and self._token.equals(given)

    def _check_host(self) -> None:
        """Against names that another site has pointed to this machine (DNS rebinding)."""
        host = request.environ.get("HTTP_HOST")
        if host is None or self.knows(host):
            return
        raise Forbidden(
            f"the request is for the host {host!r}; without SPORTIV_TOKEN this server answers "
            "to its address, to localhost and to the name in SPORTIV_BIND"
        )

    def knows(self, host: str) -> bool:
        """Whether a `Host` header names this server, and not what another site calls it."""
        name = _name_of(host)
        return name in self._own_names or _is_address(name)

    def lets_in(self, host: str, authorization: str | None) -> bool:
        """Whether any request that no browser sends may pass with these two headers."""
        if self._token is None:
            return self.knows(host)
        return authorization is not None and self._has_token(authorization)


def _check_site() -> None:
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("none", "same-origin"):
        raise Forbidden(
            f"a web page of another site may not do this (Sec-Fetch-Site is {site!r}; "
            "only 'same-origin' and 'none' pass)"
        )


def _check_origin() -> None:
    origin = request.headers.get("Origin")
    if origin is None:
        return
    scheme = request.scheme
    host = request.environ.get("HTTP_HOST", "").lower().removesuffix(_DEFAULT_PORTS[scheme])
    if not host or origin.lower() != f"{scheme}://{host}":
        raise Forbidden(f"a web page of another site may not do this (Origin is {origin!r})")


def _given_token(authorization: str) -> str:
    """The token of an `Authorization` header; empty where it holds none."""
    scheme, _, given = authorization.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def _name_of(host: str) -> str:
    """The name in a `Host` header, without its port; empty where it holds none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def add_headers(answer: Response) -> Response:
    """For Flask's `after_request`: the headers that every answer has."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer
