"""Which server a command talks to, and what becomes of jobs that it waits for."""

import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from server.client_errors import ClientError

if TYPE_CHECKING:
    from server.client import Client, Job

DEFAULT_URL = "http://127.0.0.1:5000"

_PATIENCE = 60.0  # seconds, with a server that has answered once


@dataclass(frozen=True, slots=True)
class Session:
    """The options that all commands have."""

    url: str
    token: str | None = None
    patience: float | None = None

    @contextmanager
    def client(self) -> Iterator["Client"]:
        """A client whose server has answered: nobody waits a minute for one that is not there."""
        from server.client import Client

        patience = _PATIENCE if self.patience is None else self.patience
        try:
            made = Client(self.url, self.token, patience)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--url") from None
        with made as client:
            client.health(patience=self.patience or 0.0)
            yield client


pass_session = click.make_pass_decorator(Session)


def submitted(client: "Client", statistic: str, request: Mapping[str, Any]) -> "Job":
    """A new job; where Ctrl-C comes before its number does, it is cancelled all the same.

    Nobody knows then whether the server has it. The same key finds it, or makes one that is
    cancelled at once.
    """
    key = uuid.uuid4().hex
    try:
        return client.submit(statistic, key=key, **request)
    except KeyboardInterrupt:
        with cancelling([client.submit(statistic, key=key, **request)]):
            raise


@contextmanager
def cancelling(jobs: Sequence["Job"]) -> Iterator[None]:
    """Cancel the jobs where Ctrl-C comes within; a second one leaves them alone."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(err=True)
        cancelled = [str(job.id) for job in jobs if _cancelled(job)]
        if cancelled:
            plural = "s" if len(cancelled) > 1 else ""
            click.echo(f"cancelled job{plural} {', '.join(cancelled)}", err=True)
        raise click.Abort from None


def _cancelled(job: "Job") -> bool:
    try:
        return job.cancel()
    except ClientError as error:
        click.echo(f"sportiv: job {job.id} is not cancelled: {error}", err=True)
        return False


@contextmanager
def heeding_interrupts() -> Iterator[Callable[[], None]]:
    """Within, Ctrl-C raises KeyboardInterrupt, and again whenever what is given is called.

    The first one is lost without a word where it comes while the interpreter frees a file.
    """
    come = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal come
        come = True
        raise KeyboardInterrupt

    def check() -> None:
        if come:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:  # as a job in the background of a script has it
        signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress(label: str) -> Iterator[Callable[[float], object] | None]:
    """A bar on standard error where that is a terminal; it is told how far things are."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    shown = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    with heeding_interrupts() as check, shown:
        task = shown.add_task(label, total=1.0)

        def told(share: float) -> None:
            check()
            shown.update(task, completed=share)

        yield told
