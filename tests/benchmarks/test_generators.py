"""Both load generators against a small server that counts what it is asked."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.generators import LoadFailed, by_bundled, by_wrk, measured
from benchmarks.load import Load, Measured
from tests.support import pools

nothing_left_behind = pools.nothing_left_behind

CLIENTS = 3
WRK = pytest.param(
    by_wrk,
    marks=pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not on the PATH"),
    id="wrk",
)
GENERATORS = pytest.mark.parametrize("generator", [WRK, pytest.param(by_bundled, id="bundled")])
LOOKS = 3
"""How often a job has to be looked for until it is done."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "CountingServer"

    def do_GET(self) -> None:
        """A job's result, which is not there at once; anything else is there."""
        with self.server.lock:
            self.server.asked["GET", self.path] += 1
            looks = self.server.asked["GET", self.path]
        running = "get_results" in self.path and looks < LOOKS
        status = "running" if running else self.server.outcome
        self._answer(200, json.dumps({"status": status}).encode())

    def do_POST(self) -> None:
        """A new job; where the server refuses some, every third is refused."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self.server.lock:
            self.server.asked["POST", self.path] += 1
            number = self.server.asked["POST", self.path]
            self.server.seen.add((body, self.headers.get("Prefer")))
            refused = self.server.refuses and number % 3 == 0
            self.server.refused += refused
        if refused:
            self._answer(503, b"not now")
        else:
            self._answer(202, json.dumps({"status": "running", "job_id": number}).encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if self.server.closes:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class CountingServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()  # guards the three below
        self.asked: Counter[tuple[str, str]] = Counter()
        self.seen: set[tuple[str, str | None]] = set()
        self.refused = 0
        self.outcome = "done"
        self.refuses = False
        self.closes = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is stopped breaks its connection off."""


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _load(server: CountingServer, path: str, **options: object) -> Load:
    return Load(server.server_address[1], path, CLIENTS, 0.1, **options)


def _check(found: Measured) -> None:
    assert 0 < found.p50 <= found.p99
    assert found.rate > 0


@GENERATORS
def test_what_a_generator_counts_is_what_the_server_was_asked(
    server: CountingServer, generator: object
) -> None:
    found = generator(_load(server, "/some", body='{"a": 1}', headers={"Prefer": "wait=9"}))
    _check(found)
    assert found.refused == 0
    assert set(server.asked) == {("POST", "/some")}
    assert found.count <= server.asked["POST", "/some"] <= found.count + CLIENTS
    assert server.seen == {('{"a": 1}', "wait=9")}


@GENERATORS
def test_without_a_body_it_is_a_get(server: CountingServer, generator: object) -> None:
    found = generator(_load(server, "/some"))
    _check(found)
    assert set(server.asked) == {("GET", "/some")}


@GENERATORS
def test_every_refusal_is_counted(server: CountingServer, generator: object) -> None:
    server.refuses = True
    found = generator(_load(server, "/some", body="{}"))
    assert found.refused > 0
    assert found.refused <= server.refused <= found.refused + CLIENTS
    with pytest.raises(LoadFailed, match="were refused"):
        measured(_load(server, "/some", body="{}"))


@pytest.mark.parametrize("closes", [False, True], ids=["kept open", "closed each time"])
def test_a_client_that_waits_for_its_job_asks_until_it_is_done(
    server: CountingServer, closes: bool
) -> None:
    server.closes = closes
    found = by_bundled(_load(server, "/job", body="{}", reads_result=True))
    _check(found)
    assert found.refused == 0
    assert server.asked.pop(("POST", "/job")) == found.count
    assert len(server.asked) == found.count
    assert set(server.asked.values()) == {LOOKS}


def test_a_client_whose_job_is_refused_goes_on(server: CountingServer) -> None:
    server.refuses = True
    found = by_bundled(_load(server, "/job", body="{}", reads_result=True))
    assert 0 < found.refused == server.refused < found.count


def test_a_job_that_failed_is_refused(server: CountingServer) -> None:
    server.outcome = "error"
    found = by_bundled(_load(server, "/job", body="{}", reads_result=True))
    assert found.refused == found.count > 0


@GENERATORS
def test_a_server_that_is_not_there_is_an_error(generator: object) -> None:
    with CountingServer() as server:
        load = _load(server, "/some")
    with pytest.raises(LoadFailed, match=r"the generator left with 1 at /some"):
        generator(load)
