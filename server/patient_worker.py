"""gunicorn's threaded worker, with no thread ever waiting for a client.

The main thread waits for all clients at once: it receives each request, up to its last byte,
sends what a client has not taken yet, and closes. A thread of the pool gets a request that is
whole, and leaves an answer. So clients that send slowly, take slowly, say nothing or never
close cost a connection and some memory, for a bounded time, but never a thread.

    accept ─▶ receiving ── whole ─▶ computing (a thread) ─▶ sending ─▶ receiving the next
                  │ late: 408                                  │ late      or leaving
                  ▼                                            ▼
               leaving ── the client has closed, or late ─▶ closed
"""

import contextlib
import errno
import logging
import math
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn.http import wsgi
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData
from gunicorn.workers.gthread import ThreadWorker

from server.connection import Connection, Unsent
from server.connections import Connections
from server.express import Express, Passenger
from server.refusal import refusal
from server.wire import MAX_BODY, MAX_HEAD, SERVER

RECEIVE_SECONDS = 10.0
"""How long a request may take to arrive, where no setting says otherwise."""

SEND_SECONDS = 30.0
SLOWEST = 8 * 1024
"""A client has SEND_SECONDS to take an answer, and one more for each so many bytes."""

LEAVE_SECONDS = 2.0
"""How long a client may take to close after the last answer on its connection."""

LOOK_SECONDS = 0.5
"""How often the worker looks for clients that are late, and tells gunicorn that it is there."""

MOST_UNSENT = 64 * 2**20
"""How many bytes of answers may wait for slow clients, all together."""

ACCEPTED_AT_ONCE = 64
"""How many connections are taken before others have their turn."""

NO_ROOM_SECONDS = 0.05
"""How long to pause where the system has no room for a connection, and none can be closed."""

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CHUNK = 64 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
log = logging.getLogger("sportiv.http")


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module. `receive_seconds` and `express` may be set before it runs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.receive_seconds = RECEIVE_SECONDS
        self.express: Express | None = None
        self._connections: Connections
        self._boarding: list[Passenger] = []  # who goes the short way, from the next `_depart` on
        self._next_look = 0.0
        self._next_notice = 0.0

    def init_process(self) -> None:
        """Begin; gunicorn has no setting for the name that it gives to clients."""
        wsgi.SERVER = SERVER
        super().init_process()

    def run(self) -> None:
        """Serve until told to stop."""
        self._connections = Connections(self.poller)
        super().run()

    # -- the main thread --------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take the connections that wait at `listener`, so many at most before others' events."""
        server = listener.getsockname()
        for _ in range(ACCEPTED_AT_ONCE):
            if not self._accept_one(listener, server):
                return

    def _accept_one(self, listener: socket.socket, server: Any) -> bool:
        """Take a connection; whether there was one."""
        try:
            client_socket, client = listener.accept()
        except ConnectionAbortedError:
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            log.error("a connection has to wait: %s", error)
            if not self._make_room():
                time.sleep(NO_ROOM_SECONDS)
            return False
        conn = Connection(client_socket, client, server)
        self._connections.add(conn)
        self.nr_conns = len(self._connections)
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        self._connections.wait(conn, selectors.EVENT_READ, self._receive, self.receive_seconds)
        return True

    def _make_room(self) -> bool:
        """Close the connection that would be closed first; whether there was one to be closed."""
        first = self._connections.first_due()
        if first is not None:
            self._close(first)
        return first is not None

    def _close(self, conn: Connection) -> None:
        self._connections.close(conn)
        self.nr_conns = len(self._connections)

    def _receive(self, conn: Connection) -> None:
        try:
            data = conn.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._close(conn)
            return
        if not data:
            self._received_all(conn)
            return
        if not conn.received:
            conn.deadline = min(conn.deadline, time.monotonic() + self.receive_seconds)
        headers_were_here = conn.waits_for_body
        conn.received += data
        if conn.has_request():
            self._hand_over(conn)
        elif conn.too_long:
            self._refuse(conn, LimitRequestHeaders(f"more than {MAX_HEAD} bytes of headers"))
        elif not headers_were_here and conn.asks_to_go_on():
            with contextlib.suppress(OSError):  # it will be seen by the next look at the socket
                conn.socket.send(_CONTINUE)

    def _received_all(self, conn: Connection) -> None:
        """The client sends no more: half a request gets its answer, if it has all headers."""
        if conn.waits_for_body:
            conn.whole = False
            self._hand_over(conn)
        else:
            self._close(conn)

    def _hand_over(self, conn: Connection) -> None:
        """Have a request answered. What else may come meanwhile is looked at, but not read."""
        conn.deadline = math.inf
        conn.on_event = self._connections.wait_no_more
        conn.take_request()
        passenger = None
        if self.express is not None and conn.whole and self.alive:
            passenger = self.express.passenger(conn, conn.request)
        if passenger is None:
            self.enqueue_req(conn)
        else:
            self._boarding.append(passenger)

    def _depart(self) -> None:
        """Let those go who have come since the last time."""
        passengers, self._boarding = self._boarding, []
        late = passengers if self.express is None else self.express.take(passengers)
        for each in late:
            self.enqueue_req(each.sender)

    def express_arrives(self, passengers: Sequence[Passenger]) -> None:
        """Send the answers; called from the threads of the short way, at the end of each turn."""
        for each in passengers:
            if each.answer is not None:
                conn = each.sender
                conn.sock = Unsent(each.answer)
                with contextlib.suppress(OSError):  # gone; the main thread will see it
                    conn.send()
        self.method_queue.defer(self._go_on, passengers)

    def _go_on(self, passengers: Sequence[Passenger]) -> None:
        for each in passengers:
            if each.prefers_to_wait:
                self._enqueue(partial(self._tell_long_result, each), each.sender)
            elif each.answer is None:
                self.enqueue_req(each.sender)
            else:
                each.sender.reusable = True
                self._after_answer(each.sender)

    def _enqueue(self, work: Callable[[], bool], conn: Connection) -> None:
        """As `enqueue_req`, for what is to be done instead of `handle`."""
        future = self.tpool.submit(work)
        future.add_done_callback(
            lambda done: self.method_queue.defer(self.finish_request, conn, done)
        )

    def finish_request(self, conn: Connection, future: Any) -> None:
        """Go on with a connection whose request has been dealt with."""
        failed = future.cancelled() or future.exception() is not None
        conn.reusable = not failed and future.result()
        self._after_answer(conn)

    def _after_answer(self, conn: Connection) -> None:
        if size := len(conn.sock.content):
            if self._connections.unsent > MOST_UNSENT:
                log.warning("an answer of %d bytes is dropped: clients take theirs slowly", size)
                self._close(conn)
            else:
                seconds = SEND_SECONDS + size / SLOWEST
                self._connections.wait(conn, selectors.EVENT_WRITE, self._send, seconds)
        else:
            self._answered(conn)

    def _send(self, conn: Connection) -> None:
        try:
            conn.send()
        except OSError:
            self._close(conn)
            return
        if not conn.sock.content:
            self._connections.wait_no_more(conn)
            self._answered(conn)

    def _answered(self, conn: Connection) -> None:
        if not (conn.reusable and self.alive):
            self._leave(conn)
        elif conn.has_request():
            self._hand_over(conn)
        else:
            seconds = self.receive_seconds if conn.received else self.cfg.keepalive
            self._connections.wait(conn, selectors.EVENT_READ, self._receive, seconds)

    def _refuse(self, conn: Connection, error: Exception) -> None:
        """Answer a request that is not even handed over."""
        self._connections.wait_no_more(conn)
        self.handle_error(None, conn.sock, conn.client, error)
        with contextlib.suppress(OSError):
            conn.send()
        self._leave(conn)

    def _leave(self, conn: Connection) -> None:
        """Close when the client has: closed at once, it might not read its last answer."""
        try:
            conn.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        conn.leaving = True
        conn.received.clear()
        self._connections.wait(conn, selectors.EVENT_READ, self._ignore, LEAVE_SECONDS)

    def _ignore(self, conn: Connection) -> None:
        try:
            data = conn.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.received += data
        if not data or len(conn.received) > MAX_BODY + MAX_HEAD:
            self._close(conn)

    # -- gunicorn's loop calls these, whenever something has happened, or every second ----

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Deal with whatever has happened within `timeout` seconds."""
        for key, _ in self.poller.select(timeout):
            if isinstance(key.data, Connection):
                key.data.on_event(key.data)
            else:
                key.data(key.fileobj)
        if self._boarding:
            self._depart()

    def notify(self) -> None:
        """Tell the arbiter that this worker lives; it need not be told, by a file, all the time."""
        now = time.monotonic()
        if now >= self._next_notice:
            self._next_notice = now + LOOK_SECONDS
            super().notify()

    def murder_keepalived(self, force: bool = False) -> None:
        """Close what is late."""
        now = time.monotonic()
        if now >= self._next_look or force:
            self._next_look = now + LOOK_SECONDS
            for conn in self._connections.late(now):
                self._end_late(conn)

    def murder_pending(self) -> None:
        """Nothing: there is one kind of connection here."""

    def _end_late(self, conn: Connection) -> None:
        if conn.received and not conn.sock.content and not conn.leaving:
            self._refuse(conn, TimeoutError("the request took too long to arrive"))
        else:
            self._close(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        self._connections.cap_idle(deadline)

    # -- a thread of the pool ---------------------------------------------------------

    def handle(self, conn: Connection) -> bool:
        """Answer the request that is here; whether another one may follow."""
        request = None
        again = False
        conn.sock = Unsent()
        try:
            # To the parser the connection ends with this request, so it never waits.
            parser = http.get_parser(self.cfg, [conn.request], conn.client)
            request = next(parser)
            request._expected_100_continue = False  # said by the main thread
            if not conn.whole:
                request.force_close()
            again = self.handle_request(request, conn) and conn.whole
            again = again and parser.finish_body() and not parser.unreader.buf.getvalue()
        except (NoMoreData, StopIteration):
            again = False
        except Exception as error:
            self.handle_error(request, conn.sock, conn.client, error)
            again = False
        with contextlib.suppress(OSError):  # gone; the main thread will see it
            conn.send()
        return again

    def _tell_long_result(self, passenger: Passenger) -> bool:
        """Answer who has waited for its result on the short way, but is not told it there."""
        conn = passenger.sender
        assert self.express is not None
        self.express.tell_long_result(passenger)
        conn.sock = Unsent(passenger.answer or b"")
        with contextlib.suppress(OSError):  # gone; the main thread will see it
            conn.send()
        return True

    def handle_error(self, request: Any, client: Unsent, address: Any, error: Exception) -> None:
        """Answer what never reached the application, in the shape that all errors have."""
        client.content[:] = refusal(error)
