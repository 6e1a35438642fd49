"""The short way under clients that are slow or many, and servers that are killed meanwhile.

Kept connections that ask for nothing unusual, many at a time.
"""

import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

from tests.support.raw_http import connect, push
from tests.support.servers import (
    FOR_TESTS,
    RunningServer,
    in_threads,
    running_server,
    serving_pid,
    wait_for,
)


def get(job_id: int) -> bytes:
    return b"GET /api/get_results/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % job_id


def post(value: int) -> bytes:
    body = b'{"value":%d}' % value
    head = b"POST /api/echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def in_kib(server: RunningServer, what: str) -> int:
    """A figure that the kernel has of the server process."""
    text = Path(f"/proc/{serving_pid(server)}/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", text)
    assert found
    return int(found[1])


def descriptors(server: RunningServer) -> int:
    """How many the server process has."""
    return len(list(Path(f"/proc/{serving_pid(server)}/fd").iterdir()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("short")
    with running_server(folder, configuration=FOR_TESTS) as running:
        yield running
        assert "Traceback" not in running.log() + running.errors.read_text()


@contextmanager
def posting(server: RunningServer, clients: int = 8) -> Iterator[dict[int, int]]:
    """Kept connections that post without a pause, each accepted id and its value."""
    accepted: dict[int, int] = {}
    values = count()

    def post_on(client: socket.socket, left: threading.Event) -> None:
        while not left.is_set():
            value = next(values)
            client.sendall(post(value))
            answer = client.recv(65536)
            if not answer.startswith(b"HTTP/1.1 202 "):
                return
            accepted[json.loads(answer.partition(b"\r\n\r\n")[2])["job_id"]] = value

    def keep_posting(left: threading.Event) -> None:
        while not left.wait(0.01):
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", server.port), 30) as client,
            ):
                post_on(client, left)

    with in_threads(keep_posting, clients):
        yield accepted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_every_job_accepted_on_a_kept_connection_ends_whatever_ends_the_server(
    tmp_path: Path, number: signal.Signals
) -> None:
    with (
        running_server(tmp_path, configuration=FOR_TESTS) as server,
        posting(server) as accepted,
    ):
        wait_for(lambda: len(accepted) >= 500, "many jobs are accepted")
        if number == signal.SIGKILL:
            server.kill()
        else:
            server.process.send_signal(number)
            assert server.exit_code(60) == 0
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        wait_for(lambda: server.get("/api/num_jobs")["data"] == 0, "all jobs have ended", 60)
        for job_id, value in accepted.items():
            assert server.get(f"/api/get_results/{job_id}") == {"status": "done", "data": value}


def test_a_server_process_that_is_killed_under_load_comes_back_with_every_job(
    tmp_path: Path,
) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server, posting(server) as accepted:
        wait_for(lambda: len(accepted) >= 200, "some jobs are accepted")
        os.kill(serving_pid(server), signal.SIGKILL)
        enough = len(accepted) + 200
        wait_for(lambda: len(accepted) >= enough, "more jobs are accepted")
        os.kill(serving_pid(server), signal.SIGKILL)
        server.wait_until_serving()
        wait_for(lambda: len(accepted) >= enough + 200, "still more are accepted")
        known = dict(accepted)
        for job_id, value in known.items():
            assert server.result(job_id) == {"status": "done", "data": value}


def test_descriptors_and_memory_stay_over_ten_thousand_connections(server: RunningServer) -> None:
    job_id = server.submit("echo", value=1)
    server.result(job_id)

    def ask(times: int) -> None:
        for number in range(times):
            strange = b"X-Request-Id: %d\r\nUser-Agent: %d%s\r\n" % (number, number, b"x" * 1500)
            asked = get(job_id).replace(b"\r\n\r\n", b"\r\n" + strange + b"\r\n")
            with connect(server) as client:
                client.sendall(asked)
                if number % 3:
                    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")

    ask(2000)
    memory = in_kib(server, "VmRSS")
    open_files = descriptors(server)
    ask(8000)
    wait_for(lambda: descriptors(server) <= open_files + 2, "all connections are closed")
    assert in_kib(server, "VmRSS") - memory < 8192  # the headers alone were 12 MB


def test_long_results_that_nobody_reads_do_not_fill_the_memory(server: RunningServer) -> None:
    job_id = server.submit("huge", value=4 * 2**20)
    server.result(job_id)
    clients = 300
    before = in_kib(server, "VmHWM")
    with ExitStack() as opened:
        for _ in range(clients):
            push(opened.enter_context(connect(server, small=True)), get(job_id))
        wait_for(lambda: server.log().count("is dropped") > clients // 2, "most are given up", 60)
        assert server.ask("GET", "/healthz").json == {"status": "ok"}
    assert in_kib(server, "VmHWM") - before < clients * 4 * 1024 * 3 // 4  # all at once are 1.2 GB
