"""The short way: everybody who boards arrives once, and nobody is kept back by another."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server import express
from server.express import LONGEST_ANSWER, Express, Passenger
from server.jobs import Jobs
from server.settings import Settings
from server.wire import MISTAKE
from tests.support.service import service

SECONDS = 30.0


def post(statistic: str, content: bytes = b'{"value":1}', *more: bytes) -> bytes:
    head = b"POST /api/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    length = b"Content-Length: %d\r\n" % len(content)
    return head % statistic.encode() + length + b"".join(more) + b"\r\n" + content


def get(job_id: int) -> bytes:
    return b"GET /api/get_results/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % job_id


class Station:
    """Where they arrive: `open` holds the express thread up there while it is not set."""

    def __init__(self) -> None:
        self.turns: queue.SimpleQueue[list[Passenger]] = queue.SimpleQueue()
        self.open = threading.Event()
        self.open.set()

    def arrive(self, passengers: Sequence[Passenger]) -> None:
        self.turns.put(list(passengers))
        assert self.open.wait(SECONDS)

    def arrived(self, count: int) -> list[Passenger]:
        """The next so many, in as many turns as they take."""
        found: list[Passenger] = []
        while len(found) < count:
            found += self.turns.get(timeout=SECONDS)
        assert len(found) == count
        return found


class Line:
    """An express with its jobs and its station."""

    def __init__(self, jobs: Jobs, **settings: str) -> None:
        read = {f"SPORTIV_{name.upper()}": value for name, value in settings.items()}
        self.jobs = jobs
        self.station = Station()
        self.express = Express(jobs, Settings.read(read), self.station.arrive)

    def passenger(self, content: bytes) -> Passenger:
        found = self.express.passenger(content, content)
        assert found is not None
        return found

    def ride(self, *contents: bytes) -> list[Passenger]:
        """Have these answered; in their order, when all are back."""
        riders = [self.passenger(each) for each in contents]
        assert not self.express.take(riders)
        assert set(self.station.arrived(len(contents))) == set(riders)
        return riders

    def submitted(self, content: bytes) -> int:
        (rider,) = self.ride(content)
        return answered(rider)[1]["job_id"]


def answered(rider: Passenger) -> tuple[int, Any]:
    """The status and the content of the answer."""
    assert rider.answer is not None
    head, _, content = rider.answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), msgspec.json.decode(content)


def goes_the_long_way(rider: Passenger) -> bool:
    return rider.answer is None


@contextmanager
def line_to(folder: Path, **settings: str) -> Iterator[Line]:
    with service(folder, **settings) as jobs:
        line = Line(jobs)
        with line.express:
            yield line


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with line_to(tmp_path) as line:
        yield line


def known_jobs(line: Line) -> list[int]:
    return [job_id for job_id, _ in line.jobs.states()]


# -- who prefers to wait --------------------------------------------------------------

WAIT = b"Prefer: wait=30\r\n"


def waiting_post(gate: Path, prefer: bytes) -> bytes:
    """A job that ends when there is a file `gate`."""
    return post("wait_for_file", msgspec.json.encode({"path": str(gate), "value": 3}), prefer)


def test_whoever_waits_is_answered_with_the_result(line: Line) -> None:
    (rider,) = line.ride(post("echo", b'{"value":7}', WAIT))
    assert answered(rider) == (200, {"status": "done", "data": 7})
    assert rider.answer is not None
    assert b"\r\nLocation: /api/get_results/1\r\nPreference-Applied: wait=30\r\n" in rider.answer


def test_whoever_waits_keeps_nobody_else_waiting(line: Line, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waiting = line.passenger(waiting_post(gate, WAIT))
    assert not line.express.take([waiting])
    assert answered(*line.ride(post("echo"))) == (202, {"job_id": 2, "status": "running"})
    gate.touch()
    assert line.station.arrived(1) == [waiting]
    assert answered(waiting) == (200, {"status": "done", "data": 3})


def test_whoever_has_waited_for_long_enough_is_told_where_to_read(
    line: Line, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    (rider,) = line.ride(waiting_post(gate, b"Prefer: wait=1\r\n"))
    assert answered(rider) == (202, {"job_id": 1, "status": "running"})
    gate.touch()
    assert line.jobs.wait(1, SECONDS)
    assert answered(*line.ride(post("echo")))[0] == 202  # nobody arrives a second time


def test_a_job_that_fails_ends_the_wait(line: Line) -> None:
    (rider,) = line.ride(post("fail", b"{}", WAIT))
    status, content = answered(rider)
    assert (status, content["status"]) == (200, "error")


def test_leaving_answers_whoever_waits(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with service(tmp_path) as jobs:
        line = Line(jobs)
        with line.express:
            waiting = line.passenger(waiting_post(gate, WAIT))
            assert not line.express.take([waiting])
            assert answered(*line.ride(post("echo")))[0] == 202
        assert line.station.arrived(1) == [waiting]
        assert answered(waiting) == (202, {"job_id": 1, "status": "running"})
        gate.touch()


def test_readers_of_a_job_that_ends_soon_get_its_result(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(express, "PATIENCE", SECONDS)
    gate = tmp_path / "gate"
    assert line.submitted(waiting_post(gate, b"")) == 1
    readers = [line.passenger(get(1)), line.passenger(get(1))]
    assert not line.express.take(readers)
    assert answered(*line.ride(post("echo"))) == (202, {"job_id": 2, "status": "running"})
    gate.touch()
    assert set(line.station.arrived(2)) == set(readers)
    assert [answered(each) for each in readers] == [(200, {"status": "done", "data": 3})] * 2


def test_readers_of_a_job_that_does_not_end_soon_are_told_so(line: Line, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    assert line.submitted(waiting_post(gate, b"")) == 1
    for _ in range(2):
        (reader,) = line.ride(get(1))
        assert answered(reader) == (200, {"status": "running"})
    gate.touch()
    assert line.jobs.wait(1, SECONDS)
    assert answered(*line.ride(get(1))) == (200, {"status": "done", "data": 3})


def test_leaving_answers_readers_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express, "PATIENCE", SECONDS)
    gate = tmp_path / "gate"
    with service(tmp_path) as jobs:
        line = Line(jobs)
        with line.express:
            assert line.submitted(waiting_post(gate, b"")) == 1
            reader = line.passenger(get(1))
            assert not line.express.take([reader])
        assert line.station.arrived(1) == [reader]
        assert answered(reader) == (200, {"status": "running"})
        gate.touch()


# -- who may ride ---------------------------------------------------------------------


def test_a_job_is_accepted_and_its_result_read(line: Line, eventually: Callable[..., None]) -> None:
    (rider,) = line.ride(post("echo", b'{"value":[1,2]}'))
    assert answered(rider) == (202, {"job_id": 1, "status": "running"})

    def done() -> bool:
        (reader,) = line.ride(get(1))
        return answered(reader) == (200, {"status": "done", "data": [1, 2]})

    eventually(done)


@pytest.mark.parametrize(
    "content",
    [
        post("no_such_statistic"),
        post("sum_of_squares"),  # of several parts, whose plan may take long
        post("batch"),
        post("echo", b"{}", b"Prefer: respond-async\r\n"),
        post("echo", b"{}", b"Prefer: wait=61\r\n"),
        post("echo", b"{}", b"Idempotency-Key: k\r\n"),
        get(1).replace(b"localhost", b"evil.example"),
        post("echo").replace(b"localhost", b"evil.example"),
    ],
    ids=lambda content: ascii(content)[:60],
)
def test_whoever_needs_more_than_this_does_not_board(line: Line, content: bytes) -> None:
    assert line.express.passenger(None, content) is None


def test_nobody_boards_without_the_servers_token(tmp_path: Path) -> None:
    with service(tmp_path) as jobs:
        express = Line(jobs, token="correct-horse-battery").express
        for authorization in (b"", b"Authorization: Bearer wrong-horse-battery\r\n"):
            assert express.passenger(None, post("echo", b"{}", authorization)) is None
        right = b"Authorization: Bearer correct-horse-battery\r\n"
        assert express.passenger(None, post("echo", b"{}", right)) is not None


def test_nobody_boards_while_the_server_drains(line: Line) -> None:
    line.jobs.drain()
    assert line.express.passenger(None, post("echo")) is None
    assert line.express.passenger(None, get(1)) is None


# -- one harms no other ---------------------------------------------------------------

WRONG = [
    post("echo", b"{"),
    post("echo", b'{"value":1,"value":2}'),
    post("echo", b'{"question":"obesty"}'),
    post("echo", b'{"timeout_s":100000}'),
    post("touchy", b"{}"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda content: ascii(content[-30:]))
def test_a_wrong_request_goes_the_long_way_alone_and_uses_no_id(line: Line, wrong: bytes) -> None:
    riders = line.ride(post("echo"), wrong, post("echo"), get(99))
    assert [goes_the_long_way(each) for each in riders] == [False, True, False, True]
    assert [answered(riders[place])[1]["job_id"] for place in (0, 2)] == [1, 2]
    assert known_jobs(line) == [1, 2]


def test_where_there_is_no_room_for_all_each_goes_the_long_way(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waiting = b'{"path":"%s"}' % str(gate).encode()
    with line_to(tmp_path / "results", max_queued="3") as line:
        assert line.submitted(post("wait_for_file", waiting)) == 1
        assert all(map(goes_the_long_way, line.ride(*[post("wait_for_file", waiting)] * 3)))
        assert [answered(each)[0] for each in line.ride(*[post("echo")] * 2)] == [202, 202]
        assert known_jobs(line) == [1, 2, 3]
        gate.touch()


def test_who_drains_meanwhile_sends_jobs_the_long_way_and_reads_on(line: Line) -> None:
    job_id = line.submitted(post("echo"))
    late, reader = line.passenger(post("echo")), line.passenger(get(job_id))
    line.jobs.drain()
    assert not line.express.take([late, reader])
    line.station.arrived(2)
    assert goes_the_long_way(late)
    assert answered(reader)[0] == 200
    assert known_jobs(line) == [job_id]


def test_a_mistake_once_jobs_may_be_accepted_is_told_to_all_and_none_asks_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = line.jobs.submit_each

    def accept_and_stumble(wanted: Any) -> Any:
        accept(wanted)
        raise RuntimeError("stumbled")

    with monkeypatch.context() as patched:
        patched.setattr(line.jobs, "submit_each", accept_and_stumble)
        riders = line.ride(post("echo"), post("echo"))
    mistake = {"status": "error", "reason": MISTAKE}
    assert [answered(each) for each in riders] == [(500, mistake)] * 2
    assert known_jobs(line) == [1, 2]
    assert line.submitted(post("echo")) == 3, "the thread goes on"


def test_a_long_result_goes_the_long_way(line: Line, eventually: Callable[..., None]) -> None:
    content = b'{"value":%d}'
    short = line.submitted(post("huge", content % (LONGEST_ANSWER - 100)))
    long = line.submitted(post("huge", content % LONGEST_ANSWER))
    eventually(lambda: len(line.jobs.result(long)) > LONGEST_ANSWER)
    eventually(lambda: len(line.jobs.result(short)) > 1000)
    one, other = line.ride(get(short), get(long))
    assert answered(one)[0] == 200
    assert goes_the_long_way(other)


def test_a_damaged_result_runs_again_and_a_vanished_one_goes_the_long_way(
    line: Line, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    damaged, gone = line.submitted(post("echo")), line.submitted(post("echo"))
    eventually(lambda: not list(line.jobs.live))
    (tmp_path / f"job_id_{damaged}.json").write_bytes(b'{"status":"do')
    (tmp_path / f"job_id_{gone}.json").unlink()
    one, other = line.ride(get(damaged), get(gone))
    again = {"status": "done", "data": 1}
    assert answered(one) in ((200, {"status": "running"}), (200, again))  # within its patience
    assert goes_the_long_way(other)
    eventually(lambda: line.jobs.result(damaged) == b'{"status":"done","data":1}')


# -- the end --------------------------------------------------------------------------


def test_all_who_were_taken_arrive_before_the_end_and_nobody_after(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    with service(tmp_path) as jobs, ExitStack() as stack:
        line = Line(jobs)
        stack.enter_context(line.express)
        line.station.open.clear()
        line.ride(post("echo"))  # now the thread is held up
        late = [line.passenger(post("echo")) for _ in range(5)]
        too_late = line.passenger(post("echo"))
        for each in late:
            assert not line.express.take([each])
        closing = threading.Thread(target=stack.close)
        closing.start()
        eventually(lambda: line.express.passenger(None, post("echo")) is None)
        assert line.express.take([too_late]) == [too_late]
        line.station.open.set()
        closing.join(SECONDS)
        assert not closing.is_alive()
        arrived = line.station.arrived(5)
        assert arrived == late
        assert [answered(each)[0] for each in arrived] == [202] * 5
        assert goes_the_long_way(too_late)
        assert line.station.turns.empty()


def test_nobody_is_told_of_a_turn_without_passengers(tmp_path: Path) -> None:
    with line_to(tmp_path) as line:
        line.ride(post("echo"))
    assert line.station.turns.empty()
