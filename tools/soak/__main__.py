"""Runs a soak from the command line and prints its table."""

import argparse
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from server.settings import Settings
from tools import soak
from tools.soak.clients import posting
from tools.soak.kills import ALL_KINDS, POOL_KINDS, RESTART, Killer, Kind
from tools.soak.processes import Server, wait_for
from tools.soak.questions import right_answers
from tools.soak.record import Record
from tools.soak.report import Findings, audit, table

END_SECONDS = 120.0
"""How long all accepted jobs may take to end when the clients have left."""

LONGEST_OVERRUN = 300
"""Seconds beyond its time after which the soak gives up, whatever it waits for."""

SHARE_OF_ALL_KINDS = 2 / 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak a server and print what came of it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=soak.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (default: 2)")
    parser.add_argument("--kills", type=int, default=None, help="how many of each kind, instead")
    parser.add_argument("--seed", type=int, default=None, help="the order of the kills")
    chosen = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(LONGEST_OVERRUN + (0 if chosen.kills else int(60 * chosen.minutes)))
    try:
        return _soak(random.Random(seed), chosen.minutes, chosen.kills)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except TimeoutError as error:
        print(f"given up: {error}", file=sys.stderr)
        return 1
    finally:
        signal.alarm(0)


def _give_up(*_: object) -> None:
    raise TimeoutError("it does not come to an end")


def _soak(rng: random.Random, minutes: float, kills: int | None) -> int:
    answers = right_answers(Settings.read(os.environ))
    record, findings = Record(), Findings()
    begun = time.monotonic()

    def go_on(kinds: tuple[Kind, ...], share: float) -> None:
        """Rounds of kills under load, up to this share of the time."""
        until = begun + 60 * minutes * share
        with posting(port, answers, record, rng):
            rounds = 0
            while rounds < kills if kills is not None else time.monotonic() < until:
                killer.round(kinds)
                rounds += 1

    with TemporaryDirectory(prefix="sportiv-soak-") as name:
        port = _free_port()
        with Server(Path(name), port) as server:
            killer = Killer(server, record, rng)
            go_on(ALL_KINDS, SHARE_OF_ALL_KINDS)
            killer.kill(RESTART)
            _come_to_rest(server)
            descriptors = server.descriptors()
            go_on(POOL_KINDS, 1.0)
            _come_to_rest(server)
            wait_for(lambda: server.descriptors() <= descriptors, 10)
            findings.descriptors_grown = max(0, server.descriptors() - descriptors)
            findings.segments = server.segments()
            os.kill(server.master, signal.SIGTERM)
            killer.see_it_gone(0)
            findings.processes_left = len(killer.left)
            audit(findings, server, answers, record)
    print(table(findings, record, time.monotonic() - begun))
    for what in record.unexpected[:20] + killer.left[:20]:
        print(f"  {what}", file=sys.stderr)
    return int(any(findings.must_be_zero.values()) or bool(record.unexpected))


def _come_to_rest(server: Server) -> None:
    """Wait until every job has ended and the pool is whole."""
    if not wait_for(server.is_at_rest, END_SECONDS):
        pool = server.get("/api/pool")
        raise TimeoutError(f"the jobs do not end, or the pool is not whole: {pool}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
