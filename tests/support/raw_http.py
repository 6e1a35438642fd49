"""Bytes sent to a server as they are, and what comes back."""

import re
import socket
import struct

from tests.support.servers import RunningServer

SECONDS = 30.0


def connect(server: RunningServer, *, small: bool = False) -> socket.socket:
    """A connection; with `small`, one that takes little before it is read from."""
    client = socket.socket()
    if small:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(SECONDS)
    client.connect(("127.0.0.1", server.port))
    return client


def push(client: socket.socket, content: bytes) -> int:
    """Send what the connection takes without waiting; how much that was."""
    client.setblocking(False)
    try:
        return client.send(content)
    except (BlockingIOError, ConnectionError):
        return 0
    finally:
        client.settimeout(SECONDS)


def read_all(client: socket.socket) -> bytes:
    """What the server sends until it closes."""
    content = b""
    try:
        while data := client.recv(65536):
            content += data
    except ConnectionError:
        pass
    return content


def exchange(server: RunningServer, content: bytes, *, end: bool = True) -> bytes:
    """Send `content`, and with `end` say that nothing more comes; all that comes back."""
    with connect(server) as client:
        try:
            client.sendall(content)
            if end:
                client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has had enough of it
        return read_all(client)


def send_and_vanish(server: RunningServer, content: bytes) -> None:
    """Send `content` and reset the connection at once."""
    client = connect(server)
    client.sendall(content)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def statuses(content: bytes) -> list[int]:
    """The status of each answer in what a server sent."""
    return list(map(int, re.findall(rb"HTTP/1\.[01] (\d{3}) ", content)))
