"""The fork server forks workers, tells how they ended, and leaves nobody behind."""

import os
import selectors
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.channel import Channel
from server.errors import StartError
from server.fork_server import ForkServer
from server.messages import Assign, Result, Task, TaskKind, decode_from_worker, encode
from tests.support import pools
from tests.support.pools import (
    CATALOGUE,
    DEADLINE,
    Gate,
    alive,
    children,
    end,
    open_files,
    published,
    small_table,
    wait_until,
)

nothing_left_behind = pools.nothing_left_behind


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    """A fork server for tests that only fork."""
    server = ForkServer(CATALOGUE)
    yield server
    server.close()


@dataclass
class Own:
    """A fork server that no other test has, and its pid."""

    server: ForkServer
    pid: int


@pytest.fixture
def own() -> Iterator[Own]:
    before = children(os.getpid())
    server = ForkServer(CATALOGUE)
    (pid,) = children(os.getpid()) - before
    yield Own(server, pid)
    server.close()


@pytest.fixture
def table_fd() -> Iterator[int]:
    with published(small_table()) as region:
        yield region.fd


@pytest.fixture
def lifeline() -> Iterator[int]:
    """The reading end of a lifeline that stays whole."""
    read, write = os.pipe()
    yield read
    os.close(write)
    os.close(read)


@contextmanager
def forked(forks: ForkServer, lifeline: int, table_fd: int) -> Iterator[tuple[int, Channel]]:
    """A worker's pid and the server's end of its pipe."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    with ours, theirs:
        pid = forks.spawn([theirs.fileno(), lifeline, table_fd])
        theirs.close()
        yield pid, Channel(ours)


def assign(channel: Channel, statistic: str, **request: Any) -> None:
    raw = msgspec.Raw(msgspec.json.encode(request))
    task = Task(1, 0, TaskKind.WHOLE, statistic, raw, msgspec.Raw(b"null"))
    channel.send([encode(Assign(1, task))])


def result(channel: Channel) -> Any:
    while True:
        for message in map(decode_from_worker, channel.receive()):
            if isinstance(message, Result):
                return msgspec.json.decode(message.data)


BROKEN = {
    "does not exist": None,
    "raises": "raise RuntimeError('these are its last words')",
    "has no statistics": "OTHER = {}",
    "leaves": "raise SystemExit(0)",
    "kills itself": "import os; os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_catalogue_that_cannot_be_imported_is_told_at_the_start(
    source: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source is not None:
        (tmp_path / "broken_catalogue.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StartError, match="could not start"):
        ForkServer("broken_catalogue")


def test_why_it_could_not_start_stands_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_catalogue.py").write_text("raise RuntimeError('these are its last words')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(StartError):
        ForkServer("broken_catalogue")
    assert "RuntimeError: these are its last words" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("statistic", "value", "status"),
    [
        ("leave", 0, 0),
        ("leave", 1, 1),
        ("leave", 255, 255),
        ("signal_self", int(signal.SIGKILL), -9),
        ("signal_self", int(signal.SIGTERM), -15),
        ("segfault", None, -11),
    ],
)
def test_it_tells_how_a_worker_has_ended(
    forks: ForkServer, lifeline: int, table_fd: int, statistic: str, value: Any, status: int
) -> None:
    with forked(forks, lifeline, table_fd) as (pid, channel):
        assign(channel, statistic, value=value)
        assert forks.exit_status(pid, DEADLINE) == status


def test_it_tells_of_every_worker_when_many_end_at_once(
    forks: ForkServer, lifeline: int, table_fd: int
) -> None:
    pids = []
    for _ in range(20):
        with forked(forks, lifeline, table_fd) as (pid, _channel):
            pids.append(pid)
    assert [forks.exit_status(pid, DEADLINE) for pid in pids] == [0] * 20


def test_a_selector_learns_of_an_end_and_asking_for_it_does_not_wait(
    forks: ForkServer, lifeline: int, table_fd: int
) -> None:
    with forked(forks, lifeline, table_fd) as (pid, _), selectors.DefaultSelector() as selector:
        selector.register(forks, selectors.EVENT_READ)
        assert selector.select(0) == []
        assert forks.ended() == set()
        assert end(pid)
        assert selector.select(DEADLINE)
        wait_until(lambda: forks.ended() == {pid})
        assert selector.select(0) == []
        assert forks.exit_status(pid, 0) == -9
        assert forks.ended() == set()


def test_nothing_is_known_of_a_worker_that_lives_or_of_a_process_that_is_none(
    forks: ForkServer, lifeline: int, table_fd: int
) -> None:
    with forked(forks, lifeline, table_fd) as (pid, _):
        assert forks.exit_status(pid, 0.01) is None
        assert forks.exit_status(os.getpid(), 0.01) is None
        assert alive(pid)


def test_the_caller_keeps_its_descriptors(forks: ForkServer, lifeline: int, table_fd: int) -> None:
    before = open_files()
    with forked(forks, lifeline, table_fd) as (_, channel):
        assert len(open_files()) == len(before) + 1  # our end of the worker's pipe
        assign(channel, "echo", value="well")
        assert result(channel) == "well"
    assert open_files() == before


def test_a_worker_does_not_hold_the_pipe_of_another(
    forks: ForkServer, lifeline: int, table_fd: int
) -> None:
    with (
        forked(forks, lifeline, table_fd) as (first, channel),
        forked(forks, lifeline, table_fd) as (second, _),
    ):
        assert end(first)
        with pytest.raises(EOFError):
            result(channel)
        assert alive(second)


def test_a_worker_does_not_inherit_how_the_server_takes_signals(
    lifeline: int, table_fd: int
) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        forks = ForkServer(CATALOGUE)
        with forked(forks, lifeline, table_fd) as (pid, channel):
            assign(channel, "pid")
            assert result(channel) == pid
            assert end(pid, signal.SIGTERM)
            assert forks.exit_status(pid, DEADLINE) == -signal.SIGTERM
        forks.close()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_worker_imports_from_where_the_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lifeline: int, table_fd: int
) -> None:
    (tmp_path / "own_catalogue.py").write_text(f"from {CATALOGUE} import STATISTICS")
    monkeypatch.syspath_prepend(tmp_path)
    forks = ForkServer("own_catalogue")
    with forked(forks, lifeline, table_fd) as (_, channel):
        assign(channel, "loaded_modules")
        assert "own_catalogue" in result(channel)
    forks.close()


def test_it_ignores_sigint(own: Own, lifeline: int, table_fd: int) -> None:
    assert end(own.pid, signal.SIGINT)
    with forked(own.server, lifeline, table_fd) as (_, channel):
        assign(channel, "echo", value="well")
        assert result(channel) == "well"


def test_closed_it_has_ended_its_workers_whatever_they_are_at(
    own: Own, lifeline: int, table_fd: int, tmp_path: Path
) -> None:
    python, c = Gate(tmp_path / "python"), Gate(tmp_path / "c")
    with (
        forked(own.server, lifeline, table_fd) as (idle, _),
        forked(own.server, lifeline, table_fd) as (stopped, _),
        forked(own.server, lifeline, table_fd) as (in_python, first),
        forked(own.server, lifeline, table_fd) as (in_c, second),
    ):
        assign(first, "spin", seconds=2 * DEADLINE, path=str(python.path))
        assign(second, "hold_interpreter", value=10**11, path=str(c.path))
        assert (python.begun(), c.begun()) == (in_python, in_c)
        assert end(stopped, signal.SIGSTOP)
        own.server.close()
        assert not any(map(alive, (idle, stopped, in_python, in_c, own.pid)))


def test_closing_it_twice_is_closing_it_once(own: Own) -> None:
    own.server.close()
    own.server.close()


def test_killed_it_forks_nothing_and_knows_nothing_any_more(
    own: Own, lifeline: int, table_fd: int
) -> None:
    with forked(own.server, lifeline, table_fd) as (pid, channel):
        assert end(own.pid)
        wait_until(lambda: pid in children(os.getpid()))  # the worker is an orphan now
        with pytest.raises(EOFError), forked(own.server, lifeline, table_fd):
            pass
        assert own.server.exit_status(pid, DEADLINE) is None
        with pytest.raises(EOFError):
            own.server.ended()
        assign(channel, "echo", value="well")
        assert result(channel) == "well"


def test_stopped_it_is_killed_when_closed(own: Own) -> None:
    assert end(own.pid, signal.SIGSTOP)
    own.server.close(timeout=0.1)
    assert not alive(own.pid)
