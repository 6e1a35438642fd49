"""A client's connection: when a request has come whole, and what has not gone yet."""

import contextlib
import math
import re
import socket
from collections.abc import Callable
from typing import Any

from server.wire import MAX_BODY, MAX_HEAD

_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding)[ \t]*:([^\r\n]*)", re.I)
_EXPECTING = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.I)


def body_length(head: bytes) -> int | None:
    """How long the body behind these headers is; None where they do not say it plainly.

    `head` ends with the empty line. Whoever gets None must not read on behind the headers:
    it is not known where the next request begins.
    """
    found = _FRAMING.findall(head)
    if not found:
        return 0
    (name, value), *more = found
    text = value.strip(b" \t")
    plain = name.lower() == b"content-length" and text.isdigit() and len(text) <= 18
    return int(text) if plain and not more else None


class Unsent:
    """An answer on its way; to gunicorn it is the socket that it writes to."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)

    def sendall(self, data: bytes) -> None:
        """Keep `data` for the client."""
        self.content += data

    def shutdown(self, how: int) -> None:
        """Leave the connection to the main thread: gunicorn must not wait for its end here."""
        raise OSError("the main thread closes")

    def close(self) -> None:
        """As `shutdown`."""


def _nothing(conn: "Connection") -> None:
    """What happens on an event before the first wait."""


class Connection:
    """A client's connection: what has come, what has not gone yet, and until when it may wait.

    The main thread's, but for the time in which a thread of the pool computes the answer.
    """

    def __init__(self, client_socket: socket.socket, client: Any, server: Any) -> None:
        client_socket.setblocking(False)
        self.socket = client_socket
        self.client = client
        self.server = server
        self.sock = Unsent()
        self.deadline = math.inf
        self.received = bytearray()
        self.reusable = False  # whether another request may follow on this connection
        self.whole = False
        self.leaving = False  # nothing is read from it any more
        self.request = b""  # the one that is being answered
        self.watched = 0  # the event of its socket that the main thread waits for
        self.on_event: Callable[[Connection], None] = _nothing
        self._wanted: int | None = None

    def has_request(self) -> bool:
        """Whether a request is here, or as much of it as the server is going to read."""
        if self._wanted is None:
            while self.received.startswith(b"\r\n"):
                del self.received[:2]
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = body_length(bytes(self.received[: end + 4]))
            self.whole = length is not None and length <= MAX_BODY
            self._wanted = end + 4 + (length or 0 if self.whole else 0)
        return len(self.received) >= self._wanted

    @property
    def waits_for_body(self) -> bool:
        """Whether the headers are here, and a body that the server is going to read is not."""
        return self._wanted is not None and len(self.received) < self._wanted

    @property
    def too_long(self) -> bool:
        """Whether there are more bytes of headers than the server takes."""
        return self._wanted is None and len(self.received) > MAX_HEAD

    def asks_to_go_on(self) -> bool:
        """Whether the client waits for a word before it sends the body."""
        return self.waits_for_body and _EXPECTING.search(self.received) is not None

    def take_request(self) -> None:
        """Set the request apart, to be answered; what came behind it stays for the next one."""
        self.request = bytes(self.received[: self._wanted])
        del self.received[: self._wanted]
        self._wanted = None

    def send(self) -> None:
        """Send as much as the client takes now; OSError where it has gone."""
        if content := self.sock.content:
            with contextlib.suppress(BlockingIOError):
                del content[: self.socket.send(content)]
