"""Tiny jobs through a queue, some in flight at a time, by a process of its own.

    python -m benchmarks.flight MODULE    reads seconds, a line each; prints jobs a second

The module is one of `benchmarks.rivals`, or speaks like them. The oldest job is waited for;
then it and all behind it that have ended make room for as many new ones.
"""

import contextlib
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any

from benchmarks.rivals.task import NOTHING
from server.interpreter import module_command, module_environment

IN_FLIGHT = 16
LOOK_SECONDS = 0.0005
LEAD_SECONDS = 0.05
"""How long jobs fly uncounted at first, so that nobody's sleep after an idle time counts."""

LONGEST = 60.0
QUESTION = '{"question":"obesity"}'


@contextmanager
def flight(module: str, environment: Mapping[str, str]) -> Iterator[Callable[[float], float]]:
    """A function that flies jobs for so many seconds; it gives how many a second."""
    process = subprocess.Popen(
        module_command("benchmarks.flight", module),
        env={**module_environment(), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None

    def rate(seconds: float) -> float:
        print(seconds, file=requests, flush=True)
        line = answers.readline()
        if not line:
            raise RuntimeError(f"the process of {module} has ended")
        return float(line)

    try:
        yield rate
    finally:
        requests.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LONGEST)
        process.kill()
        process.wait()
        answers.close()


def main(module: str) -> None:
    """The process's own loop."""
    with _opened(module) as jobs:
        for line in sys.stdin:
            _fly(jobs, LEAD_SECONDS)
            print(_fly(jobs, float(line)), flush=True)


def _opened(name: str) -> AbstractContextManager[Any]:
    module = import_module(name)
    return module.opened() if hasattr(module, "opened") else nullcontext(module)


def _fly(jobs: Any, seconds: float) -> float:
    flying: deque[Any] = deque()
    begun, done = time.perf_counter(), 0
    while (is_on := time.perf_counter() < begun + seconds) or flying:
        if is_on:
            flying += _submitted(jobs, IN_FLIGHT - len(flying))
        _wait_for(jobs, flying.popleft())
        done += 1
        while flying and jobs.result(flying[0]) is not None:
            flying.popleft()
            done += 1
    return done / (time.perf_counter() - begun)


def _submitted(jobs: Any, number: int) -> list[Any]:
    if hasattr(jobs, "submit_all"):
        return list(jobs.submit_all(NOTHING, QUESTION, number))
    return [jobs.submit(NOTHING, QUESTION) for _ in range(number)]


def _wait_for(jobs: Any, job_id: Any) -> None:
    deadline = time.perf_counter() + LONGEST
    while jobs.result(job_id) is None:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"job {job_id} has not ended within {LONGEST:g} s")
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
