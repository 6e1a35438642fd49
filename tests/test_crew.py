"""A crew starts workers, tells how they ended in words, and does not start them too often."""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.crew import (
    EXIT_TIMEOUT,
    LONGEST_BACKOFF,
    SHORTEST_BACKOFF,
    Crew,
    Worker,
)
from server.errors import StartError
from server.messages import Assign, Ready, Stop, Task, TaskKind, decode_from_worker, encode
from server.pool import Attempt
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


@pytest.fixture
def crew() -> Iterator[Crew]:
    with published(small_table()) as region:
        crew = Crew(CATALOGUE, region.fd)
        yield crew
        crew.close()


@contextmanager
def started(crew: Crew) -> Iterator[Worker]:
    """A worker that is ready."""
    worker = crew.spawn()
    assert worker is not None
    messages: list[Any] = []

    def ready() -> bool:
        messages.extend(map(decode_from_worker, worker.channel.receive()))
        return Ready() in messages

    try:
        wait_until(ready)
        yield worker
    finally:
        worker.channel.close()


def assign(worker: Worker, statistic: str, value: Any = None, **request: Any) -> None:
    raw = msgspec.Raw(msgspec.json.encode({"value": value, **request}))
    task = Task(1, 0, TaskKind.WHOLE, statistic, raw, msgspec.Raw(b"null"))
    worker.channel.send([encode(Assign(1, task))])


def test_the_end_of_a_worker_is_told_in_numbers_and_in_words(crew: Crew) -> None:
    for statistic, value, exit_code, number, words in (
        ("leave", 0, 0, None, "left with exit code 0"),
        ("leave", 255, 255, None, "left with exit code 255"),
        ("signal_self", 9, None, 9, "was killed by signal 9 (SIGKILL): often out of memory"),
        ("signal_self", 15, None, 15, "was killed by signal 15 (SIGTERM)"),
        ("abort", None, None, 6, "was killed by signal 6 (SIGABRT)"),
        ("segfault", None, None, 11, "was killed by signal 11 (SIGSEGV): a fault in C code"),
        ("signal_self", 40, None, 40, "was killed by signal 40"),
    ):
        with started(crew) as worker:
            assign(worker, statistic, value)
            wait_until(lambda pid=worker.pid: not alive(pid))
            told = crew.post_mortem(worker)
        assert told == Attempt(worker.pid, exit_code, number, f"worker {worker.pid} {words}")


def test_the_reason_for_which_the_server_kills_a_worker_stands_for_the_cause(crew: Crew) -> None:
    with started(crew) as worker:
        worker.kill("time limit of 3 s")
        worker.kill("a later reason")
        told = crew.post_mortem(worker)
    assert told == Attempt(worker.pid, None, 9, f"worker {worker.pid} time limit of 3 s")


def test_a_worker_that_is_gone_can_be_killed_again(crew: Crew) -> None:
    with started(crew) as worker:
        worker.kill("a test has killed it")
        crew.post_mortem(worker)
        worker.kill("a test has killed it")


def test_whose_end_is_known_is_told_until_its_post_mortem(crew: Crew) -> None:
    with started(crew) as worker, started(crew) as other:
        assert crew.ended() == set()
        worker.kill("for the test")
        wait_until(lambda: crew.ended() == {worker.pid})
        assert crew.ended() == {worker.pid}
        crew.post_mortem(worker)
        assert crew.ended() == set()
        assert alive(other.pid)


def test_a_crew_without_a_fork_server_knows_of_nobodys_end(crew: Crew) -> None:
    with started(crew) as worker:
        first = crew.fork_server
        assert first is not None
        assert end(own_fork_server(worker.pid))
        wait_until(lambda: crew.ended() == set() and crew.fork_server is None)
        assert crew.ended() == set()
        assert alive(worker.pid)


def test_a_worker_that_has_only_closed_its_pipe_is_ended(crew: Crew, tmp_path: Path) -> None:
    with started(crew) as worker:
        assign(worker, "hang_up", path=str(tmp_path / "mark"), seconds=2 * DEADLINE)
        with pytest.raises(EOFError):
            wait_until(worker.channel.receive)
        assert alive(worker.pid)
        begun = time.monotonic()
        told = crew.post_mortem(worker)
        assert time.monotonic() - begun < EXIT_TIMEOUT
        assert told.signal == signal.SIGKILL
        assert told.cause == f"worker {worker.pid} closed its pipe without leaving"
        assert not alive(worker.pid)


def read_to_its_end(worker: Worker) -> None:
    """Read the worker's pipe; raises EOFError as soon as there is an end."""
    while select.select([worker.channel], [], [], DEADLINE)[0]:
        worker.channel.receive()


def test_a_worker_that_leaves_when_told_to_is_not_taken_for_one_that_has_closed_its_pipe(
    crew: Crew,
) -> None:
    for _ in range(20):
        with started(crew) as worker:
            worker.channel.send([encode(Stop())])
            with pytest.raises(EOFError):
                read_to_its_end(worker)
            assert crew.post_mortem(worker).exit_code == 0


def test_a_worker_ends_with_its_crew_although_it_is_busy(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    with published(small_table()) as region:
        crew = Crew(CATALOGUE, region.fd)
        with started(crew) as worker:
            assign(worker, "hold_interpreter", 10**11, path=str(gate.path))
            gate.begun()
            crew.close()
            assert not alive(worker.pid)


def test_another_fork_server_is_started_where_the_first_is_gone(crew: Crew) -> None:
    with started(crew) as earlier:
        first = own_fork_server(earlier.pid)
        assert end(first)
        wait_until(lambda: not alive(first))
        tried = time.monotonic()
        assert crew.spawn() is None
        assert tried + SHORTEST_BACKOFF <= crew.next_start <= time.monotonic() + SHORTEST_BACKOFF
        with started(crew) as later:
            assert alive(earlier.pid)
            assert earlier.pid not in children(own_fork_server(later.pid))
            later.kill("for the test")
            assert crew.post_mortem(later).signal == signal.SIGKILL


def own_fork_server(worker: int) -> int:
    """The process that has forked `worker`."""
    (pid,) = (child for child in children(os.getpid()) if worker in children(child))
    return pid


def test_of_a_worker_whose_fork_server_is_gone_only_its_end_is_known(crew: Crew) -> None:
    with started(crew) as worker:
        assert end(own_fork_server(worker.pid))
        crew.lose_fork_server()
        told = crew.post_mortem(worker)
        wait_until(lambda: not alive(worker.pid))
    words = f"worker {worker.pid} is gone, nobody knows how"
    assert told == Attempt(worker.pid, None, None, words)


def test_nobody_waits_to_learn_how_a_worker_of_an_earlier_fork_server_has_ended(
    crew: Crew,
) -> None:
    with started(crew) as earlier:
        assert end(own_fork_server(earlier.pid))
        wait_until(lambda: crew.ended() == set() and crew.fork_server is None)
        with started(crew):
            assert end(earlier.pid)
            begun = time.monotonic()
            told = crew.post_mortem(earlier)
            assert time.monotonic() - begun < EXIT_TIMEOUT
    assert (told.exit_code, told.signal) == (None, None)


def test_each_failed_start_makes_the_next_one_wait_longer_up_to_a_bound(crew: Crew) -> None:
    for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        earliest = time.monotonic() + pause
        crew.start_failed("for the test")
        assert earliest <= crew.next_start <= time.monotonic() + pause
        assert SHORTEST_BACKOFF <= pause <= LONGEST_BACKOFF
    crew.start_succeeded()
    crew.start_failed("for the test")
    assert crew.next_start <= time.monotonic() + SHORTEST_BACKOFF


def test_a_crew_that_cannot_start_keeps_no_descriptor(capfd: pytest.CaptureFixture[str]) -> None:
    before = open_files()
    with published(small_table()) as region, pytest.raises(StartError):
        Crew("no.such.catalogue", region.fd)
    assert "No module named 'no'" in capfd.readouterr().err
    assert open_files() == before
