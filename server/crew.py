"""The life and death of worker processes: forking them, telling how they ended, not too often.

A crew starts workers and examines dead ones; what the living ones do is the pool's affair.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from server.channel import Channel
from server.errors import StartError
from server.fork_server import ForkServer
from server.messages import ToWorker
from server.pool import Attempt

RESTART_TIMEOUT = 15.0
"""Seconds that a fork server in the place of another has to import what the workers need."""

EXIT_TIMEOUT = 1.0
"""Seconds within which the fork server must have told how a dead worker has ended."""

_EXITING = 0x4
"""The flag of a process that is on its way out (PF_EXITING in the kernel's sched.h)."""

SHORTEST_BACKOFF = 0.1
MOST_DOUBLINGS = 10
LONGEST_BACKOFF = 5.0
"""Seconds between two tries to start a worker while workers keep dying before they are ready."""

READY_TIMEOUT = 10.0
"""Seconds within which a worker that was forked must be ready; it takes some ten milliseconds."""

DEATH_TIMEOUT = 0.5
"""Seconds after which a worker that was killed is looked for, if nothing has told its end."""

log = logging.getLogger("sportiv.pool")


@dataclass(eq=False, slots=True)
class Worker:
    """One worker process, as the server sees it. Only who has the pool's turn touches it."""

    pid: int
    channel: Channel
    forked_by: ForkServer
    ready_by: float  # when it is killed, if it is not ready by then
    ready: bool = False
    distrusted: bool = False  # it has talked nonsense: nothing that it says is heard any more
    buried: bool = False  # what is left to happen to it is of no interest
    retires: str | None = None  # why another is to take its place; until then it works on
    leaving: bool = False  # it gets no more tasks; what it has begun it ends
    leave_by: float | None = None  # when it is killed, once nothing keeps it any more
    tasks_done: int = 0
    kill_reason: str | None = None  # why the supervisor itself has killed it
    killed_for: int | None = None  # the ticket that was the reason, if one was
    look_at: float | None = None  # when to look whether it is gone, once it was killed
    outbox: list[ToWorker] = field(default_factory=list)
    watched_for_room: bool = False  # its pipe is full, and somebody waits for room in it

    def kill(self, reason: str = "was killed by the server", ticket: int | None = None) -> None:
        """Kill the process, for the task of `ticket` if one is the reason; its end follows."""
        if self.kill_reason is None:
            self.kill_reason, self.killed_for = reason, ticket
        self.look_at = time.monotonic() + DEATH_TIMEOUT
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Crew:
    """Starts worker processes through a fork server of its own. Owned by one thread.

    Owns the fork server and the lifeline (a pipe whose other end is open only here, so that
    its end of file tells the workers that this process is gone); borrows `table_fd`.
    """

    def __init__(self, catalogue: str, table_fd: int, memory: int | None = None) -> None:
        """Start the fork server; StartError where it cannot import `catalogue`.

        `memory` is how many bytes a worker may take for its tasks; None where as many as there are.
        """
        self._catalogue = catalogue
        self._table_fd = table_fd
        self._memory = memory
        self._forks: ForkServer | None = ForkServer(catalogue, memory)
        self._lifeline_read, self._lifeline_write = os.pipe()
        self.failed_starts = 0
        self.last_failure: str | None = None
        self.next_start = 0.0

    def spawn(self) -> Worker | None:
        """Fork a worker, starting another fork server where there is none.

        None where that failed; `next_start` then says when to try again.
        """
        try:
            if self._forks is None:
                self._forks = ForkServer(self._catalogue, self._memory, RESTART_TIMEOUT)
            return self._fork(self._forks)
        except (EOFError, StartError, OSError) as error:
            cause = str(error) or "the process that starts the workers is gone"
            log.error("cannot start a worker: %s", cause)
            if isinstance(error, EOFError):
                self.lose_fork_server()
            self.start_failed(cause)
            return None

    def _fork(self, forks: ForkServer) -> Worker:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                pid = forks.spawn([theirs.fileno(), self._lifeline_read, self._table_fd])
        except BaseException:
            ours.close()
            raise
        return Worker(pid, Channel(ours), forks, time.monotonic() + READY_TIMEOUT)

    @property
    def fork_server(self) -> ForkServer | None:
        """The fork server, for a selector: readable when a worker has ended; None if gone."""
        return self._forks

    def ended(self) -> set[int]:
        """The pids of workers that are known to have ended and have had no post-mortem.

        Does not wait. Where the fork server itself is gone, lets go of it.
        """
        if self._forks is None:
            return set()
        try:
            return self._forks.ended()
        except EOFError:
            log.error("the process that starts the workers is gone; the next start brings another")
            self.lose_fork_server()
            return set()

    def lose_fork_server(self) -> None:
        """Let go of a fork server that is gone; its workers live on until they are replaced."""
        if self._forks is not None:
            self._forks.close(0.0)
            self._forks = None

    def start_failed(self, cause: str) -> None:
        """A worker died before it was ready: the next one waits, longer each time."""
        self.last_failure = cause
        doublings = min(self.failed_starts, MOST_DOUBLINGS)
        pause = min(SHORTEST_BACKOFF * 2**doublings, LONGEST_BACKOFF)
        self.failed_starts += 1
        self.next_start = time.monotonic() + pause

    def start_succeeded(self) -> None:
        """A worker is ready: whatever kept earlier ones from it is over."""
        self.failed_starts = 0

    def post_mortem(self, worker: Worker) -> Attempt:
        """How the worker ended; one that has only closed its pipe is killed first.

        So what is waited for is the end of a dying process, which takes a moment: a worker
        keeps its pipe until it is gone, unless a task has closed it.
        """
        if not is_exiting(worker.pid):
            worker.kill("closed its pipe without leaving")
        status = self._exit_status(worker)
        if status is None:
            return Attempt(worker.pid, None, None, f"worker {worker.pid} is gone, nobody knows how")
        if status >= 0:
            cause = worker.kill_reason or f"left with exit code {status}"
            return Attempt(worker.pid, status, None, f"worker {worker.pid} {cause}")
        cause = worker.kill_reason or _likely_cause(-status)
        return Attempt(worker.pid, None, -status, f"worker {worker.pid} {cause}")

    def _exit_status(self, worker: Worker) -> int | None:
        if self._forks is not worker.forked_by:
            return None  # who could tell is gone
        return self._forks.exit_status(worker.pid, EXIT_TIMEOUT)

    def close(self) -> None:
        """End the fork server and with it every worker that is left."""
        if self._forks is not None:
            self._forks.close()
            self._forks = None
        os.close(self._lifeline_write)
        os.close(self._lifeline_read)


def is_exiting(pid: int) -> bool:
    """Whether the process is gone, or past the point where it could do anything more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    state, *numbers = text.rpartition(")")[2].split()
    return state in "ZX" or bool(int(numbers[5]) & _EXITING)


def _likely_cause(signal_number: int) -> str:
    often = {signal.SIGKILL: ": often out of memory", signal.SIGSEGV: ": a fault in C code"}
    try:
        known = signal.Signals(signal_number)
    except ValueError:
        return f"was killed by signal {signal_number}"
    return f"was killed by signal {signal_number} ({known.name}){often.get(known, '')}"
