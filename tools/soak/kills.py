"""Killing the server's processes at random, and bringing the server back when it is gone."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tools.soak.processes import JOB_TIMEOUT, Server, wait_for
from tools.soak.record import Record

GONE_SECONDS = 15.0
"""Within this all of a killed server must be gone; it should take three at most."""

MEAN_PAUSE = 0.4
"""Seconds between two kills, on average."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of kill: a signal, and who gets it."""

    name: str
    signal: signal.Signals
    victims: Callable[[Server], list[int]]
    ends_server: bool = False
    may_be_absent: bool = False


def _master(server: Server) -> list[int]:
    return [server.master]


def _group(server: Server) -> list[int]:
    return [-server.master]


POOL_KINDS = (
    Kind("worker SIGKILL", signal.SIGKILL, Server.workers),
    Kind("worker SIGSEGV", signal.SIGSEGV, Server.workers),
    Kind("worker SIGSTOP", signal.SIGSTOP, Server.workers),
    # It is replaced when the next worker is needed, and not before.
    Kind("fork server SIGKILL", signal.SIGKILL, Server.fork_servers, may_be_absent=True),
)
RESTART = Kind("master SIGTERM", signal.SIGTERM, _master, ends_server=True)
ALL_KINDS = (
    *POOL_KINDS,
    Kind("gunicorn's worker SIGKILL", signal.SIGKILL, Server.serving),
    Kind("master SIGKILL", signal.SIGKILL, _master, ends_server=True),
    Kind("group SIGKILL", signal.SIGKILL, _group, ends_server=True),
    RESTART,
)


@dataclass
class Killer:
    """Kills one process after the other, in an order that the seed fixes."""

    server: Server
    record: Record
    rng: random.Random
    left: list[str] = field(default_factory=list)  # what outlived its server

    def round(self, kinds: tuple[Kind, ...]) -> None:
        """One kill of each kind, in a random order, with pauses."""
        for kind in self.rng.sample(kinds, len(kinds)):
            pause, choice = self.rng.expovariate(1 / MEAN_PAUSE), self.rng.random()
            wait_for(lambda: False, pause)
            self.kill(kind, choice)

    def kill(self, kind: Kind, choice: float = 0.0) -> None:
        """One kill, of one of the processes that it may be; ends when the server is back."""
        victims: list[int] = []

        def found() -> bool:
            victims[:] = kind.victims(self.server)
            return bool(victims)

        # What is being replaced is not there for a moment.
        if not wait_for(found, 0 if kind.may_be_absent else GONE_SECONDS):
            if not kind.may_be_absent:
                self.record.surprise(f"nobody there for {kind.name}")
            return
        victim = victims[int(choice * len(victims))]
        moment = time.monotonic()
        with suppress(ProcessLookupError):
            os.kill(victim, kind.signal)
        if kind.ends_server:
            self.see_it_gone(0 if kind is RESTART else -signal.SIGKILL)
        self.record.killed(kind.name, moment)
        if kind.ends_server:
            self.server.start()
        elif kind.signal is signal.SIGSTOP:
            self._see_it_killed(victim)

    def _see_it_killed(self, stopped: int) -> None:
        """Wait until the server has killed a stopped worker; it must live that long itself."""
        if not wait_for(lambda: not self.server.alive(stopped), JOB_TIMEOUT + GONE_SECONDS):
            self.record.surprise("a stopped worker was not killed")

    def see_it_gone(self, expected: int) -> None:
        """Wait for the end of every process of the group; the rest is noted, and killed."""
        server = self.server
        ended = wait_for(lambda: server.exit_code() is not None, GONE_SECONDS)
        if not ended or server.exit_code() != expected:
            self.record.surprise(f"the server has ended with {server.exit_code()}, not {expected}")
        if not wait_for(lambda: not server.group(), GONE_SECONDS):
            self.left += [str(each) for each in server.group()]
            server.kill(signal.SIGKILL)
