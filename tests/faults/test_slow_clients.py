"""Clients that are slow, silent or never close, fifty of each kind at once."""

import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from server.connection import body_length
from tests.support.raw_http import connect, push, read_all, statuses
from tests.support.servers import RunningServer, running_server, serving_pid, wait_for

pytestmark = pytest.mark.alone

AT_ONCE = 50
ROUNDS = 30
POST = b"POST /api/best5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HEADERS_FOR_EVER = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"x" * 10_000
BODY_FOR_EVER = POST + b"Content-Length: 60000\r\n\r\n" + b"x" * 50_000
WITHOUT_END = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000
LISTS = b"GET /api/statistics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
RESULTS = b"GET /api/get_results/1 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SECONDS = 1.0
"""Within how long `/healthz` is promised to answer, whatever other clients do."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("slow")) as running:
        running.data("best5", question=running.questions()[0])
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that waits only a second for a request."""
    folder = tmp_path_factory.mktemp("hasty")
    with running_server(folder, SPORTIV_RECEIVE_TIMEOUT="1") as running:
        yield running


def health_seconds(server: RunningServer) -> float:
    """How long `/healthz` takes to say that all is well."""
    begun = time.monotonic()
    assert server.ask("GET", "/healthz").json == {"status": "ok"}
    return time.monotonic() - begun


class Slow:
    """A client that begins with `first` and then sends `rest` one byte at a time."""

    def __init__(self, server: RunningServer, first: bytes, rest: bytes, *, small: bool) -> None:
        self.socket = connect(server, small=small)
        self._left = rest
        push(self.socket, first)

    def drip(self) -> None:
        """Send one more byte, where there is one."""
        self._left = self._left[push(self.socket, self._left[:1]) :]


KINDS: dict[str, tuple[bytes, bytes]] = {
    "silent": (b"", b""),
    "slow headers": (HEADERS_FOR_EVER[:20], HEADERS_FOR_EVER[20:]),
    "slow bodies": (BODY_FOR_EVER[:150], BODY_FOR_EVER[150:]),
    "bodies without end": (WITHOUT_END[:150], WITHOUT_END[150:]),
    "slow readers": (LISTS, b""),
    "slow readers of results": (RESULTS, b""),
    "never closing": (LAST, b""),
    "never closing after an error": (b"nonsense\r\n\r\n", b""),
}


@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), list(KINDS)], ids="+".join)
def test_healthz_answers_within_a_second_whatever_fifty_slow_clients_of_a_kind_do(
    server: RunningServer, kinds: list[str]
) -> None:
    with ExitStack() as stack:
        clients = [
            Slow(server, *KINDS[kind], small="slow readers" in kind)
            for kind in kinds
            for _ in range(AT_ONCE)
        ]
        for client in clients:
            stack.callback(client.socket.close)
        for _ in range(ROUNDS):
            for client in clients:
                client.drip()
            assert health_seconds(server) < SECONDS


def test_more_silent_clients_than_connections_keep_nobody_out(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, "--worker-connections", "40") as crowded,
        ExitStack() as stack,
    ):
        for _ in range(3):
            for _ in range(AT_ONCE):
                stack.enter_context(connect(crowded))
            assert health_seconds(crowded) < SECONDS


def test_a_server_without_descriptors_for_more_clients_goes_on(tmp_path: Path) -> None:
    with running_server(tmp_path) as crowded, ExitStack() as stack:
        serving = serving_pid(crowded)
        few = sum(1 for _ in Path(f"/proc/{serving}/fd").iterdir()) + 5
        resource.prlimit(serving, resource.RLIMIT_NOFILE, (few, few))
        for _ in range(AT_ONCE):
            stack.enter_context(connect(crowded))
        assert len(crowded.questions()) > 0
        wait_for(lambda: "a connection has to wait" in crowded.log(), "it was told")
        stack.close()
        wait_for(lambda: crowded.ask("GET", "/healthz").status == 200, "the server is well")
        assert serving_pid(crowded) == serving


def test_jobs_go_on_beside_slow_clients(server: RunningServer) -> None:
    with ExitStack() as stack:
        for first, _ in KINDS.values():
            for _ in range(AT_ONCE):
                client = stack.enter_context(connect(server))
                push(client, first)
        assert len(server.data("best5", question=server.questions()[0])) == 5


@pytest.mark.parametrize("content", [HEADERS_FOR_EVER[:40], BODY_FOR_EVER[:150]])
def test_a_request_that_does_not_arrive_in_time_is_told_so(
    hasty: RunningServer, content: bytes
) -> None:
    with connect(hasty) as client:
        client.sendall(content)
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body) == {
        "status": "error",
        "reason": "the request took too long to arrive",
    }


@pytest.mark.parametrize("drop", [b"", b"\r\n", b"x"])
def test_no_connection_is_held_longer_by_a_byte_now_and_then(
    hasty: RunningServer, drop: bytes
) -> None:
    with connect(hasty) as client:

        def closed() -> bool:
            try:
                client.sendall(drop)
                client.settimeout(0.1)
                return client.recv(65536) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_for(closed, "the server closes the connection")


def test_a_slow_reader_gets_every_byte_in_the_end(server: RunningServer) -> None:
    once = server.ask("GET", "/api/statistics").content
    with connect(server, small=True) as client:
        lists = LISTS[: len(LISTS) // 5]
        sent = push(client, lists)
        client.sendall(lists[sent:] + LAST)
        content = read_all(client)
    assert content.count(b"HTTP/1.1 200 OK\r\n") == 201
    assert content.count(once) == 200


def test_a_job_is_accepted_whole_or_not_at_all_when_its_client_goes(server: RunningServer) -> None:
    body = json.dumps({"question": server.questions()[0]}).encode()
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    before = len(server.get("/api/jobs")["data"])
    with connect(server) as client:
        client.sendall(request[:-1])
    with connect(server) as client:
        client.sendall(request)

    def one_more() -> bool:
        return len(server.get("/api/jobs")["data"]) > before

    wait_for(one_more, "the whole request is a job")
    jobs = server.get("/api/jobs")["data"]
    assert len(jobs) == before + 1
    assert server.result(before + 1)["status"] == "done"


def test_requests_that_come_together_are_answered_in_order(server: RunningServer) -> None:
    with connect(server) as client:
        client.sendall(
            b"GET /api/num_jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"
            + POST
            + b"Content-Length: 2\r\n\r\n{}"
            + LAST
        )
        content = read_all(client)
    assert statuses(content) == [200, 400, 200]


def test_a_client_that_asks_first_is_told_to_go_on_once(server: RunningServer) -> None:
    with connect(server) as client:
        client.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        client.shutdown(socket.SHUT_WR)
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"question" in answer


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        (b"", 0),
        (b"Content-Length: 12\r\n", 12),
        (b"content-LENGTH:12\t \r\n", 12),
        (b"Content-Length-Too: 12\r\n", 0),
        (b"Content-Length: -1\r\n", None),
        (b"Content-Length: +1\r\n", None),
        (b"Content-Length: 1, 1\r\n", None),
        (b"Content-Length: \xb2\r\n", None),
        (b"Content-Length: " + b"9" * 30 + b"\r\n", None),
        (b"Content-Length: 1\r\nContent-Length: 1\r\n", None),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", None),
        (b"Transfer-Encoding: identity\r\n", None),
    ],
)
def test_a_bodys_length_is_known_only_where_it_is_said_plainly(
    lines: bytes, length: int | None
) -> None:
    assert body_length(HEAD + lines + b"\r\n") == length


def test_every_connection_is_closed_after_many_slow_clients(server: RunningServer) -> None:
    def open_files(pid: int) -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    (pid,) = server_process(server)
    before = open_files(pid)
    for first, _ in KINDS.values():
        for _ in range(AT_ONCE):
            with connect(server, small=True) as client:
                push(client, first)
    wait_for(lambda: open_files(pid) <= before + 2, "all connections are closed")


def server_process(server: RunningServer) -> list[int]:
    """The process that gunicorn's master has forked."""
    return children(server.process.pid)


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
