"""A closed-loop load generator: each client has one connection and one operation under way.

An operation is a request, or a POST whose job is then asked for until its result is read.
It runs as a process of its own, so that it does not share an interpreter lock with what it
measures: `python -m benchmarks.load LOAD`, a `Load` as JSON, prints a `Measured` as JSON.
"""

import heapq
import selectors
import socket
import sys
import time
from collections.abc import Generator
from itertools import count

import msgspec

LONGEST = 120.0
"""How many seconds an operation may take that is under way when the time is over."""

LONGEST_PAUSE = 0.032


class Load(msgspec.Struct, frozen=True):
    """Who asks what of the server on `port` of this machine, and for how long."""

    port: int
    path: str
    clients: int
    seconds: float
    body: str = ""
    """The JSON of a POST; without one it is a GET."""
    headers: dict[str, str] = {}
    reads_result: bool = False
    """Whether each client asks for its job's result until it has that."""


class Measured(msgspec.Struct, frozen=True):
    """What a load gave. Statuses from 400 on, jobs that failed, and broken connections count
    as refused; latencies are in seconds."""

    count: int
    refused: int
    rate: float
    p50: float
    p99: float


class _Answer(msgspec.Struct, frozen=True):
    """What the client has to know of an answer's body."""

    status: str = ""
    job_id: int | str = ""


Steps = Generator[bytes | float, tuple[int, bytes], bool]
"""An operation: it yields bytes to send, or a pause; it is given status and body; was it good?"""


def once(load: Load) -> Steps:
    """One request."""
    status, _ = yield request_bytes(load)
    return status < 400


def until_read(load: Load) -> Steps:
    """A POST, then its result: asked for at once, then after 1, 2, 4 ... 32 ms, and every 32."""
    status, body = yield request_bytes(load)
    answer = _answer(status, body)
    get = request_bytes(Load(load.port, f"/api/get_results/{answer.job_id}", 1, 0.0))
    pause = 0.001
    while answer.status == "running":
        status, body = yield get
        answer = _answer(status, body)
        if answer.status == "running":
            yield pause
            pause = min(2 * pause, LONGEST_PAUSE)
    return answer.status == "done"


def _answer(status: int, body: bytes) -> _Answer:
    return msgspec.json.decode(body, type=_Answer) if status < 400 else _Answer("error")


def request_bytes(load: Load) -> bytes:
    """The bytes of one request."""
    content = load.body.encode()
    lines = ["{} {} HTTP/1.1".format("POST" if content else "GET", load.path), "Host: 127.0.0.1"]
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in load.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class _Client:
    """One connection, opened anew where the server has closed it."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._address = ("127.0.0.1", port)
        self._selector = selector
        self._socket: socket.socket | None = None
        self._buffer = b""
        self.steps: Steps
        self.begun = 0.0

    def send(self, request: bytes) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(self._address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        self._socket.sendall(request)

    def read(self) -> tuple[int, bytes] | None:
        """(status, body) once the answer is whole."""
        assert self._socket is not None
        chunk = self._socket.recv(65536)
        if not chunk:
            raise ConnectionError("the server has closed the connection before its answer")
        self._buffer += chunk
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        if len(body) < length:
            return None
        self._buffer = b""
        if b"connection: close" in lines:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None


class _Run:
    """The loop: the clients' operations, and the pauses in them."""

    def __init__(self, load: Load, selector: selectors.BaseSelector) -> None:
        self._load = load
        self._selector = selector
        self._clients = [_Client(load.port, selector) for _ in range(load.clients)]
        self._pauses: list[tuple[float, int, _Client]] = []
        self._tie = count()
        self._end = 0.0
        self.latencies: list[float] = []
        self.refused = 0

    def run(self) -> float:
        """Begin operations until the time is over, and let those under way end; the seconds."""
        begun = time.perf_counter()
        self._end = begun + self._load.seconds
        for client in self._clients:
            self._begin(client, begun)
        while self._pauses or self._selector.get_map():
            if time.perf_counter() > self._end + LONGEST:
                raise TimeoutError(f"{self._load.path} takes more than {LONGEST:g} s")
            for key, _ in self._selector.select(self._until_next()):
                if answer := key.data.read():
                    self._step(key.data, answer)
            while self._pauses and self._pauses[0][0] <= time.perf_counter():
                self._step(heapq.heappop(self._pauses)[2], None)
        return time.perf_counter() - begun

    def _until_next(self) -> float:
        if not self._pauses:
            return LONGEST
        return max(0.0, self._pauses[0][0] - time.perf_counter())

    def _begin(self, client: _Client, now: float) -> None:
        client.begun = now
        client.steps = (until_read if self._load.reads_result else once)(self._load)
        self._step(client, None)

    def _step(self, client: _Client, answer: tuple[int, bytes] | None) -> None:
        try:
            step = client.steps.send(answer)  # type: ignore[arg-type]
        except StopIteration as stopped:
            self._ended(client, stopped.value)
            return
        if isinstance(step, bytes):
            client.send(step)
        else:
            heapq.heappush(self._pauses, (time.perf_counter() + step, next(self._tie), client))

    def _ended(self, client: _Client, is_good: bool) -> None:
        now = time.perf_counter()
        self.latencies.append(now - client.begun)
        self.refused += not is_good
        if now < self._end:
            self._begin(client, now)
        else:
            client.close()


def run(load: Load) -> Measured:
    """Put the load on the server, by this process."""
    with selectors.DefaultSelector() as selector:
        running = _Run(load, selector)
        took = running.run()
    latencies = sorted(running.latencies)
    number = len(latencies)
    return Measured(
        number,
        running.refused,
        number / took,
        latencies[number // 2],
        latencies[number * 99 // 100],
    )


if __name__ == "__main__":
    measured = run(msgspec.json.decode(sys.argv[1], type=Load))
    sys.stdout.buffer.write(msgspec.json.encode(measured))
