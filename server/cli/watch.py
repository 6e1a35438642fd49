"""`sportiv watch`: the workers, what they compute, and how much waits, as it changes."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from server.cli import show
from server.cli.session import Session, heeding_interrupts, pass_session

if TYPE_CHECKING:
    from rich.console import RenderableType

    from server.client import Client

_COLUMNS = ("pid", "state", "job", "statistic", "tasks done", "memory MiB")


@dataclass(frozen=True, slots=True)
class Sight:
    """The server at one moment; `ended_jobs` since its start."""

    at: float
    pool: dict[str, Any]
    statistics: dict[int, str]

    @property
    def rows(self) -> list[list[Any]]:
        """The workers, each with what it is at."""
        return [
            [
                worker["pid"],
                worker["state"],
                worker["job"],
                self.statistics.get(worker["job"]),
                worker["tasks_done"],
                round(worker["memory"] / 2**20, 1),
            ]
            for worker in self.pool["workers"]
        ]


def seen(client: "Client") -> Sight:
    """The server as it is now."""
    at, pool = time.monotonic(), client.pool()
    at_work = {worker["job"] for worker in pool["workers"]} - {None}
    running = client.history(status="running", limit=500) if at_work else []
    return Sight(at, pool, {each["job_id"]: each["statistic"] for each in running})


def summary(now: Sight, before: Sight | None) -> str:
    """How much there is to do, and how fast it is done, in one line."""
    pool = now.pool
    busy = sum(worker["state"] == "busy" for worker in pool["workers"])
    said = [
        f"{busy} of {len(pool['workers'])} workers busy ({pool['backend']})",
        f"{pool['unfinished_jobs']} jobs unfinished",
        f"{pool['queued_jobs']} queued",
        f"{pool['waiting_tasks']} tasks waiting",
        f"{pool['ended_jobs']} ended",
    ]
    if before is not None and now.at > before.at:
        ended = pool["ended_jobs"] - before.pool["ended_jobs"]
        said.append(f"{max(0, ended) / (now.at - before.at):.1f} jobs/s")
    return ", ".join(said)


@click.command()
@click.option("--once", is_flag=True, help="Print how things are now, and end.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@pass_session
def watch(session: Session, /, once: bool, interval: float) -> None:
    """Watch the workers and the queue.

    Shows who computes what, how much waits, and how fast it is done; Ctrl-C ends it.

    Where the output is no terminal, each look is printed below the one before.
    """
    with session.client() as client:
        if once:
            _print(seen(client), None)
            return
        try:
            with heeding_interrupts() as check:
                show_all = _live if sys.stdout.isatty() else _print_all
                show_all(_sights(client, interval, check))
        except KeyboardInterrupt:
            return


Sights = Iterator[tuple[Sight, Sight | None]]
"""The server again and again, each time with how it was before."""


def _sights(client: "Client", interval: float, check: Callable[[], None]) -> Sights:
    before = None
    while True:
        now = seen(client)
        yield now, before
        before = now
        time.sleep(interval)
        check()


def _print(now: Sight, before: Sight | None) -> None:
    click.echo(summary(now, before))
    show.as_table(_COLUMNS, now.rows)


def _print_all(sights: Sights) -> None:
    for now, before in sights:
        _print(now, before)
        sys.stdout.flush()


def _live(sights: Sights) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False) as live:
        for now, before in sights:
            live.update(_screen(now, before), refresh=True)


def _screen(now: Sight, before: Sight | None) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    return Group(Text(summary(now, before)), Text(), show.table(_COLUMNS, now.rows))
