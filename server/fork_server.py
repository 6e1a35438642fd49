"""The process that forks workers: small, single-threaded, with NumPy already imported.

    server ── spawn + the worker's descriptors ──▶ fork server ── fork ──▶ worker
           ◀────────── forked: pid ───────────────
           ◀────────── exited: pid, status ───────   (whenever a worker ends)

A worker is never forked from the threaded server: it would inherit gunicorn's signal
handlers and locks held by other threads. Nor does `multiprocessing`'s own fork server do:
it listens on a path in the temporary folder, which stays behind after SIGKILL, runs
`__main__` (here gunicorn) again in every child, and keeps a resource tracker beside it.
This one speaks over an unnamed socket pair. When the server is gone, however it ended, that
socket reads end of file: every worker is killed at once and this process leaves.
"""

import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from types import UnionType
from typing import NoReturn, Protocol

import msgspec

from server.channel import Channel, frame
from server.errors import StartError
from server.interpreter import computing_environment, module_command

START_TIMEOUT = 60.0
"""Seconds within which the fork server must have imported what the workers need."""

REPLY_TIMEOUT = 2.0
"""Seconds within which it must have forked a worker: so long a stopped one holds up the pool."""


class _Forked(msgspec.Struct, frozen=True, tag="forked"):
    pid: int


class _NotForked(msgspec.Struct, frozen=True, tag="not forked"):
    reason: str


class _Exited(msgspec.Struct, frozen=True, tag="exited"):
    pid: int
    status: int


class _Preloaded(msgspec.Struct, frozen=True, tag="preloaded"):
    pass


class _Closable(Protocol):
    def close(self) -> None: ...


_decode = msgspec.json.Decoder(_Forked | _NotForked | _Exited | _Preloaded).decode


class ForkServer:
    """The server's end: starts the process, asks it for workers, learns how they ended.

    Owned by one thread. `fileno` is readable when a worker has ended, or this server has.
    """

    def __init__(
        self, catalogue: str, memory: int | None = None, timeout: float = START_TIMEOUT
    ) -> None:
        """Start the process; `catalogue` names the module of statistics to import.

        `memory` is how many bytes each worker may take for its tasks, None for no limit. It
        has `timeout` seconds to be ready.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                module_command(
                    "server.fork_server", str(theirs.fileno()), catalogue, str(memory or 0)
                ),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=computing_environment(),
            )
        self._socket = ours
        self._channel = Channel(ours)
        self._exited: dict[int, int] = {}
        try:
            self._wait_for(_Preloaded, timeout)
        except EOFError:
            self.close()  # it may be at its last words
            raise StartError(
                "the process that starts the workers could not start; "
                "its last words are on the server's standard error"
            ) from None

    def fileno(self) -> int:
        """The control socket's descriptor, for a selector; -1 once closed."""
        return self._socket.fileno()

    def spawn(self, descriptors: list[int]) -> int:
        """Fork a worker that gets copies of `descriptors`; its pid.

        The caller keeps its own. Raises OSError where the system refuses another process,
        EOFError where the fork server is gone or does not answer.
        """
        try:
            socket.send_fds(self._socket, [frame(b"spawn")], descriptors)
        except OSError as error:
            raise EOFError from error
        answer = self._wait_for(_Forked | _NotForked, REPLY_TIMEOUT)
        if isinstance(answer, _NotForked):
            raise OSError(f"the system refuses another process: {answer.reason}")
        assert isinstance(answer, _Forked)
        return answer.pid

    def exit_status(self, pid: int, timeout: float) -> int | None:
        """How worker `pid` ended: its exit code, or minus the signal that killed it.

        Waits for at most `timeout` seconds; None where it has not ended by then or
        nobody knows, because the fork server itself is gone.
        """
        deadline = time.monotonic() + timeout
        try:
            while pid not in self._exited:
                if (left := deadline - time.monotonic()) <= 0:
                    return None
                self._read(left)
        except EOFError:
            return None
        return self._exited.pop(pid)

    def ended(self) -> set[int]:
        """The pids of workers whose end is known and was not asked for; without waiting.

        Raises EOFError where the fork server is gone.
        """
        self._read(0)
        return set(self._exited)

    def _wait_for(self, kind: type[msgspec.Struct] | UnionType, timeout: float) -> msgspec.Struct:
        deadline = time.monotonic() + timeout
        while True:
            for message in self._read(deadline - time.monotonic()):
                if isinstance(message, kind):
                    return message
            if time.monotonic() >= deadline:
                raise EOFError

    def _read(self, timeout: float) -> list[msgspec.Struct]:
        """Messages that came within `timeout` seconds; exits are noted on the way."""
        self._socket.settimeout(max(timeout, 0.0001))
        try:
            messages = [_decode(raw) for raw in self._channel.receive()]
        except TimeoutError:
            return []
        for message in messages:
            match message:
                case _Exited(pid, status):
                    self._exited[pid] = os.waitstatus_to_exitcode(status)
                case _Forked(pid):  # what is known of the number is about another, before it
                    self._exited.pop(pid, None)
        return list(messages)

    def close(self, timeout: float = 2.0) -> None:
        """End the process and every worker that is left; returns when it is gone."""
        self._socket.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main(control: socket.socket, catalogue: str, memory: int) -> None:
    """The fork server's own loop: forks on request until the other end is closed."""
    from server import worker  # here, so that the server's end does not import it

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    statistics = import_module(catalogue).STATISTICS
    become_worker = partial(worker.main, statistics=statistics, memory=memory or None)
    wakeup = _child_signals()
    children: set[int] = set()
    gc.collect()
    gc.freeze()
    try:
        control.sendall(frame(msgspec.json.encode(_Preloaded())))
        with selectors.DefaultSelector() as selector:
            selector.register(control, selectors.EVENT_READ)
            selector.register(wakeup, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if wakeup in ready:
                    wakeup.recv(4096)
                    _report_exits(control, children)
                if control in ready:
                    request, descriptors, _, _ = socket.recv_fds(control, 64, 8)
                    if not request:
                        return
                    answer = _fork((selector, wakeup, control), become_worker, descriptors)
                    if isinstance(answer, _Forked):
                        children.add(answer.pid)
                    for descriptor in descriptors:
                        os.close(descriptor)
                    control.sendall(frame(msgspec.json.encode(answer)))
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        _kill(children)


def _child_signals() -> socket.socket:
    """A socket that becomes readable when a child ends."""
    wakeup, written = socket.socketpair()
    written.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(written.detach(), warn_on_full_buffer=False)
    return wakeup


def _fork(
    ours: Sequence[_Closable], become_worker: Callable[[list[int]], NoReturn], fds: list[int]
) -> _Forked | _NotForked:
    """Fork a worker, which lets go of what is `ours`; returns in the fork server only."""
    try:
        pid = os.fork()
    except OSError as error:
        return _NotForked(error.strerror or str(error))
    if pid:
        return _Forked(pid)
    try:
        _leave_fork_server(ours)
        become_worker(fds)
    finally:
        os._exit(1)


def _leave_fork_server(ours: Sequence[_Closable]) -> None:
    """In a new child: let go of everything that is the fork server's."""
    os.close(signal.set_wakeup_fd(-1))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for resource in ours:
        resource.close()


def _report_exits(control: socket.socket, children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        control.sendall(frame(msgspec.json.encode(_Exited(pid, status))))


def _kill(children: set[int]) -> None:
    """Kill and reap what is left; nothing else reaps here, so each pid is still ours."""
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as control_socket:
        main(control_socket, sys.argv[2], int(sys.argv[3]))
