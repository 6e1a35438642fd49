"""All clients' connections: what each waits for, until when, and whose turn it is to go."""

import math
import selectors
import time
from collections.abc import Callable

from server.connection import Connection


class Connections:
    """The connections of one server, in the hands of its main thread.

    Registers them with the poller, which it borrows; owns their sockets until it closes them.
    """

    def __init__(self, poller: selectors.BaseSelector) -> None:
        self._poller = poller
        self._all: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, conn: Connection) -> None:
        """One more."""
        self._all.add(conn)

    def wait(
        self, conn: Connection, event: int, then: Callable[[Connection], None], seconds: float
    ) -> None:
        """Have `then(conn)` called at the event, and the connection be late after so long."""
        conn.deadline = time.monotonic() + seconds
        conn.on_event = then
        if conn.watched == event:
            return
        change = self._poller.modify if conn.watched else self._poller.register
        change(conn.socket, event, conn)
        conn.watched = event

    def wait_no_more(self, conn: Connection) -> None:
        """Wait for nothing on this connection, however long that takes."""
        conn.deadline = math.inf
        if conn.watched:
            self._poller.unregister(conn.socket)
            conn.watched = 0

    def close(self, conn: Connection) -> None:
        """Close one, and forget it."""
        self.wait_no_more(conn)
        conn.socket.close()
        self._all.discard(conn)

    def late(self, now: float) -> list[Connection]:
        """Those that have waited for long enough."""
        return [each for each in self._all if each.deadline <= now]

    def first_due(self) -> Connection | None:
        """The one that will be late first; None where none waits for its client."""
        waiting = (each for each in self._all if each.deadline < math.inf)
        return min(waiting, key=lambda each: each.deadline, default=None)

    def cap_idle(self, deadline: float) -> None:
        """Let those from which nothing has come be late by then."""
        for conn in self._all:
            if not conn.received and conn.deadline < math.inf:
                conn.deadline = min(conn.deadline, deadline)

    @property
    def unsent(self) -> int:
        """How many bytes of answers wait for their clients."""
        return sum(len(each.sock.content) for each in self._all)
