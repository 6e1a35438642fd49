"""A side of a comparison in a process of its own, so that no pool lives beside another's threads.

    benchmark ── Load ─▶ side process: opens one contender, runs the tasks, tells how long
              ◀─ Done ──

An idle side waits for its next load and takes no time of the one whose turn it is.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Raw

from benchmarks import free_threaded
from benchmarks.contenders import CONTENDERS, Begin, Place
from server.interpreter import computing_environment, module_command
from server.messages import Task, TaskKind


class Load(msgspec.Struct, frozen=True):
    """The same task `count` times, so many in flight at a time; with 1, each is timed."""

    statistic: str
    request: Raw
    count: int
    in_flight: int
    kind: TaskKind = TaskKind.WHOLE
    work: Raw = Raw(b"null")


class Done(msgspec.Struct, frozen=True):
    """How long a load took; `round_trips` of each task where one was in flight."""

    seconds: float
    answers: list[str]
    """Every different answer that came."""
    failures: list[str]
    round_trips: list[float] = []


class SideProcess:
    """One contender, or several bare processes beside each other. Leaving it ends them.

    `python` is another interpreter, with what it takes installed.
    """

    def __init__(self, name: str, place: Place, python: str = sys.executable) -> None:
        self._name = name
        self._open = ExitStack()
        processes = place.workers if name == "bare process" else 1
        self._processes = [self._start(place, python) for _ in range(processes)]

    def _start(self, place: Place, python: str) -> subprocess.Popen[bytes]:
        facts = self._name, str(place.workers), str(place.table_fd), place.catalogue
        command = [python, *module_command("benchmarks.side_process", *facts)[1:]]
        environment = computing_environment()
        if python != sys.executable:
            environment |= free_threaded.environment()
        return self._open.enter_context(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[place.table_fd],
                env=environment,
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def run(self, load: Load) -> Done:
        """Run the tasks, an equal share in each process; RuntimeError where one fails."""
        share = msgspec.structs.replace(load, count=load.count // len(self._processes))
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(share) + b"\n")
            process.stdin.flush()
        return self._together([self._answer(process) for process in self._processes])

    def _answer(self, process: subprocess.Popen[bytes]) -> Done:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self._name} has ended")
        done = msgspec.json.decode(line, type=Done)
        if done.failures:
            raise RuntimeError(f"{self._name}: {done.failures[0]}")
        return done

    def _together(self, shares: Sequence[Done]) -> Done:
        answers = sorted({answer for done in shares for answer in done.answers})
        longest = max(done.seconds for done in shares)
        return Done(longest, answers, [], shares[0].round_trips)


def main(name: str, place: Place) -> None:
    """The side's own loop: carries out loads until no more come."""
    with CONTENDERS[name](place) as begin:
        for line in sys.stdin.buffer:
            done = _carry_out(begin, msgspec.json.decode(line, type=Load))
            sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
            sys.stdout.buffer.flush()


def _carry_out(begin: Begin, load: Load) -> Done:
    tasks = [
        Task(number, 0, load.kind, load.statistic, load.request, load.work)
        for number in range(load.count)
    ]
    answers: set[bytes | BaseException] = set()
    timed = _one_by_one if load.in_flight == 1 else _several
    begun = time.perf_counter()
    round_trips = timed(begin, tasks, answers, load.in_flight)
    seconds = time.perf_counter() - begun
    return Done(
        seconds,
        [each.decode() for each in answers if isinstance(each, bytes)],
        [repr(each) for each in answers if not isinstance(each, bytes)],
        round_trips,
    )


def _several(
    begin: Begin, tasks: Sequence[Task], answers: set[bytes | BaseException], in_flight: int
) -> list[float]:
    free = threading.Semaphore(in_flight)

    def ended(answer: bytes | BaseException) -> None:
        answers.add(answer)
        free.release()

    for task in tasks:
        free.acquire()
        begin(task, ended)
    for _ in range(in_flight):
        free.acquire()
    return []


def _one_by_one(
    begin: Begin, tasks: Sequence[Task], answers: set[bytes | BaseException], in_flight: int
) -> list[float]:
    has_ended = threading.Lock()
    has_ended.acquire()

    def ended(answer: bytes | BaseException) -> None:
        answers.add(answer)
        has_ended.release()

    round_trips = []
    for task in tasks:
        begun = time.perf_counter()
        begin(task, ended)
        has_ended.acquire()
        round_trips.append(time.perf_counter() - begun)
    return round_trips


if __name__ == "__main__":
    main(sys.argv[1], Place(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
