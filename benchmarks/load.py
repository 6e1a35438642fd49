"""A closed-loop load generator: each client has one connection and one request under way.

Run as a process of its own, so that it does not share an interpreter lock with what it
measures: `python -m benchmarks.load HOST PORT PATH BODY CLIENTS SECONDS` prints one line of
JSON.
"""

import json
import selectors
import socket
import sys
import time


class _Client:
    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._buffer = b""
        self._begun = 0.0

    def ask(self) -> None:
        self._begun = time.perf_counter()
        self.socket.sendall(self._request)

    def read(self) -> tuple[int, float] | None:
        """(status, seconds) once the answer is whole."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("the server has closed the connection")
        self._buffer += chunk
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        if len(body) < length:
            return None
        self._buffer = b""
        return int(head[9:12]), time.perf_counter() - self._begun


def run(address: tuple[str, int], request: bytes, clients: int, seconds: float) -> dict[str, float]:
    """Requests a second and latencies in seconds; statuses other than 2xx count as refused."""
    latencies: list[float] = []
    refused = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            client = _Client(address, request)
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask()
        begun = time.perf_counter()
        while (now := time.perf_counter()) < begun + seconds:
            for key, _ in selector.select(begun + seconds - now):
                if answer := key.data.read():
                    refused += not 200 <= answer[0] < 300
                    latencies.append(answer[1])
                    key.data.ask()
        took = time.perf_counter() - begun
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    latencies.sort()
    count = len(latencies)
    return {
        "rate": count / took,
        "refused": refused,
        "p50": latencies[count // 2],
        "p99": latencies[count * 99 // 100],
    }


def post(path: str, body: str) -> bytes:
    """The bytes of one POST with a JSON body."""
    content = body.encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


if __name__ == "__main__":
    host, port, path, body, clients, seconds = sys.argv[1:]
    request = post(path, body)
    print(json.dumps(run((host, int(port)), request, int(clients), float(seconds))))
