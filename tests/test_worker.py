"""A worker answers every task it is given, in order, and leaves when nobody needs it."""

import os
import signal
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.channel import Channel
from server.fork_server import ForkServer
from server.messages import (
    Assign,
    Failure,
    Forget,
    FromWorker,
    LogLine,
    Ready,
    Result,
    Skipped,
    Stop,
    Task,
    TaskKind,
    ToWorker,
    Unfit,
    decode_from_worker,
    encode,
)
from server.worker import compute, describe
from tests.support import pools
from tests.support.pools import CATALOGUE, DEADLINE, Gate, published, small_table
from tests.support.statistics import STATISTICS, Mute

nothing_left_behind = pools.nothing_left_behind


def task(statistic: str, value: Any = None, *, work: Any = None, **options: Any) -> Task:
    kind = options.pop("kind", TaskKind.WHOLE)
    request = msgspec.json.encode({"value": value, **options})
    work = msgspec.json.encode(work)
    return Task(1, 0, kind, statistic, msgspec.Raw(request), msgspec.Raw(work))


@dataclass
class Line:
    """The server's ends of what joins it to one worker."""

    pid: int
    channel: Channel
    lifeline: int
    _arrived: deque[FromWorker] = field(default_factory=deque)

    def send(self, *messages: ToWorker) -> None:
        self.channel.send(map(encode, messages))

    def receive(self) -> FromWorker:
        """The next message; EOFError where the worker is gone."""
        while not self._arrived:
            self._arrived.extend(map(decode_from_worker, self.channel.receive()))
        return self._arrived.popleft()

    def answer(self, *messages: ToWorker) -> FromWorker:
        """Send the messages; the next one that comes back and is not for the log."""
        self.send(*messages)
        while isinstance(message := self.receive(), LogLine):
            pass
        return message

    def value(self, statistic: str, value: Any = None, **options: Any) -> Any:
        """What a statistic returns in the worker."""
        answer = self.answer(Assign(1, task(statistic, value, **options)))
        assert isinstance(answer, Result), answer
        return msgspec.json.decode(answer.data)

    def cut_lifeline(self) -> None:
        os.close(self.lifeline)
        self.lifeline = -1


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    server = ForkServer(CATALOGUE)
    yield server
    server.close()


@contextmanager
def started(forks: ForkServer, table_fd: int) -> Iterator[Line]:
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    read, write = os.pipe()
    with ours, theirs:
        pid = forks.spawn([theirs.fileno(), read, table_fd])
        theirs.close()
        os.close(read)
        line = Line(pid, Channel(ours), write)
        try:
            yield line
        finally:
            if line.lifeline >= 0:
                line.cut_lifeline()


@pytest.fixture
def line(forks: ForkServer) -> Iterator[Line]:
    """A worker that is ready."""
    with published(small_table()) as region, started(forks, region.fd) as line:
        assert line.answer() == Ready()
        yield line


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


def test_it_says_that_it_is_ready_before_anything_else_but_a_line_for_the_log(
    forks: ForkServer,
) -> None:
    with published(small_table()) as region, started(forks, region.fd) as line:
        assert isinstance(line.receive(), LogLine)
        assert line.receive() == Ready()


def test_it_answers_each_task_under_its_ticket_and_in_order(line: Line) -> None:
    line.send(*(Assign(ticket, task("echo", f"value {ticket}")) for ticket in range(7, 107)))
    for ticket in range(7, 107):
        assert line.receive() == Result(ticket, msgspec.Raw(f'"value {ticket}"'.encode()))


def test_a_whole_task_is_combined_at_once(line: Line) -> None:
    assert line.value("sum_of_squares", 3, work=5) == {"partials": [25], "sum": 25}


def test_a_part_is_not_combined(line: Line) -> None:
    assert line.value("sum_of_squares", 3, work=5, kind=TaskKind.PARTIAL) == 25


def test_partials_are_combined_in_their_order(line: Line) -> None:
    combined = line.value("sum_of_squares", 3, work=[4, 0, 1], kind=TaskKind.COMBINE)
    assert combined == {"partials": [4, 0, 1], "sum": 5}


def test_a_forgotten_task_is_skipped_and_still_answered_for(line: Line, gate: Gate) -> None:
    line.send(Assign(1, task("wait_for_file", path=str(gate.path))))
    gate.begun()
    line.send(Assign(2, task("echo")), Assign(3, task("echo", "kept")), Forget(2))
    gate.open()
    assert [line.receive() for _ in range(3)] == [
        Result(1, msgspec.Raw(b"null")),
        Skipped(2),
        Result(3, msgspec.Raw(b'"kept"')),
    ]


def test_what_is_forgotten_too_late_is_computed_and_the_next_task_is_not_skipped(
    line: Line, gate: Gate
) -> None:
    line.send(Assign(1, task("wait_for_file", path=str(gate.path))))
    gate.begun()
    line.send(Forget(1), Assign(2, task("echo", "next")))
    gate.open()
    assert line.receive() == Result(1, msgspec.Raw(b"null"))
    assert line.receive() == Result(2, msgspec.Raw(b'"next"'))


def test_told_to_stop_it_finishes_its_task_and_begins_no_other(
    line: Line, forks: ForkServer, gate: Gate
) -> None:
    line.send(Assign(1, task("wait_for_file", path=str(gate.path))))
    gate.begun()
    line.send(Assign(2, task("echo")), Stop())
    gate.open()
    assert line.receive() == Result(1, msgspec.Raw(b"null"))
    with pytest.raises(EOFError):
        line.receive()
    assert forks.exit_status(line.pid, DEADLINE) == 0


def test_it_leaves_when_its_pipe_is_closed(line: Line, forks: ForkServer) -> None:
    line.channel.close()
    assert forks.exit_status(line.pid, DEADLINE) == 0


def test_it_leaves_when_its_pipe_is_closed_and_an_answer_is_due(
    line: Line, forks: ForkServer, gate: Gate
) -> None:
    line.send(Assign(1, task("wait_for_file", path=str(gate.path))))
    gate.begun()
    line.channel.close()
    gate.open()
    assert forks.exit_status(line.pid, DEADLINE) == 0


def test_it_leaves_when_its_lifeline_is_cut(line: Line, forks: ForkServer) -> None:
    line.cut_lifeline()
    assert forks.exit_status(line.pid, DEADLINE) == 0


def test_it_leaves_in_the_middle_of_a_task_when_its_lifeline_is_cut(
    line: Line, forks: ForkServer, gate: Gate
) -> None:
    line.send(Assign(1, task("spin", path=str(gate.path), seconds=2 * DEADLINE)))
    gate.begun()
    line.cut_lifeline()
    assert forks.exit_status(line.pid, DEADLINE) == 0


def test_it_leaves_with_an_error_when_the_server_talks_nonsense(
    line: Line, forks: ForkServer
) -> None:
    line.channel.send([b'["unheard of"]'])
    assert forks.exit_status(line.pid, DEADLINE) == 1


def test_it_says_why_it_cannot_attach_the_columns(forks: ForkServer) -> None:
    fd = os.memfd_create("no columns")
    try:
        os.write(fd, b"\x10" + bytes(7) + b"this is no table")
        with started(forks, fd) as line:
            answer = line.receive()
            assert isinstance(answer, Unfit)
            assert answer.reason.startswith("cannot attach the columns: DecodeError: ")
            assert forks.exit_status(line.pid, DEADLINE) == 0
    finally:
        os.close(fd)


def test_an_exception_is_logged_with_its_traceback_and_fails_the_task(line: Line) -> None:
    line.send(Assign(1, task("fail", "of no use")))
    logged = line.receive()
    assert isinstance(logged, LogLine)
    assert logged.text == "job 1 part 0 raised ValueError: of no use"
    assert "in fail\n" in logged.trace
    assert line.receive() == Failure(1, "ValueError: of no use")
    assert line.value("echo", "still here") == "still here"


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (task("no such statistic"), "KeyError: 'no such statistic'"),
        (task("echo", unknown=1), "ValidationError: Object contains unknown field `unknown`"),
        (task("sum_of_squares", work="no number"), "TypeError: can't multiply sequence"),
    ],
)
def test_a_task_that_makes_no_sense_fails_and_harms_nothing(
    line: Line, odd: Task, reason: str
) -> None:
    answer = line.answer(Assign(1, odd))
    assert isinstance(answer, Failure)
    assert answer.reason.startswith(reason)
    assert line.value("echo", "still here") == "still here"


@pytest.mark.parametrize(
    ("statistic", "value", "status"),
    [
        ("leave", 0, 0),
        ("leave", 3, 3),
        ("system_exit", None, 0),
        ("system_exit", 3, 3),
        ("system_exit", 256 + 4, 4),
        ("system_exit", "with a text", 1),
        ("interrupt", None, 1),
        ("abort", None, -signal.SIGABRT),
        ("segfault", None, -signal.SIGSEGV),
    ],
)
def test_what_ends_any_program_ends_the_worker_in_the_same_way(
    line: Line, forks: ForkServer, statistic: str, value: Any, status: int
) -> None:
    line.send(Assign(1, task(statistic, value)))
    with pytest.raises(EOFError):
        line.receive()
    assert forks.exit_status(line.pid, DEADLINE) == status


# -- what a worker is made of -------------------------------------------------------------


def test_it_has_imported_nothing_that_only_the_server_needs(line: Line) -> None:
    modules = {name.partition(".")[0] for name in line.value("loaded_modules")}
    assert "numpy" in modules
    assert not modules & {"flask", "werkzeug", "polars", "sqlite3", "gunicorn", "multiprocessing"}


def test_it_holds_its_pipe_its_lifeline_and_its_columns_and_nothing_else(line: Line) -> None:
    kinds = sorted(link.partition(":")[0] for link in line.value("descriptors"))
    assert kinds == ["/memfd", "pipe", "socket"]


def test_it_dies_of_signals_as_any_program_but_sigint(line: Line) -> None:
    status = line.value("process_status")
    ignored, caught, blocked = (int(status[name], 16) for name in ("SigIgn", "SigCgt", "SigBlk"))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGUSR1):
        inherited = signal.getsignal(number) == signal.SIG_IGN  # as SIGHUP is under nohup
        assert ignored >> (number - 1) & 1 == inherited, number
        assert not caught >> (number - 1) & 1, number
    assert ignored >> (signal.SIGINT - 1) & 1
    assert blocked == 0


def test_it_computes_in_one_thread_beside_the_one_that_watches_the_lifeline(line: Line) -> None:
    environment = line.value("environment")
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        assert environment[name] == "1"
    assert line.value("process_status")["Threads"] == "2"


# -- compute and describe -----------------------------------------------------------------


def test_compute_needs_no_process() -> None:
    table = small_table()
    assert compute(table, STATISTICS, task("echo", [1, None])) == b"[1,null]"
    assert compute(table, STATISTICS, task("first_value")) == b"1.0"


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (ValueError("plain"), "ValueError: plain"),
        (ValueError(), "ValueError"),
        (ValueError("two\n  lines\t here"), "ValueError: two lines here"),
        (ValueError(3, [None]), "ValueError: (3, [None])"),
        (KeyError("key"), "KeyError: 'key'"),
        (Mute(), "Mute: (its text cannot be had)"),
        (ValueError("\ud800"), "ValueError: \\ud800"),
        (SystemExit(), "SystemExit"),
    ],
)
def test_an_error_is_described_by_its_type_and_its_text_in_one_line(
    error: BaseException, described: str
) -> None:
    assert describe(error) == described


def test_a_description_is_bounded() -> None:
    assert len(describe(ValueError("x" * 100_000))) == 2000
