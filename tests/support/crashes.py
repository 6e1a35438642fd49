"""Kills a server at every step between a job's acceptance and the last flush, one by one.

    python -m tests.support.crashes FOLDER

A step is a line of the modules that keep jobs. One life of the service, with two jobs, is
run to its end to count its steps; then it is run again for each step and killed right there
(SIGKILL to the whole process), each time in a folder of its own. Afterwards another process
opens the folder, as the next start does, and checks what was promised. Prints one JSON
object: how many lives there were, and what was found wrong.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from server import (
    end_recorder,
    intake,
    jobs,
    ledger,
    live_jobs,
    result_locks,
    result_store,
    result_writer,
)
from tests.support.service import service
from tests.support.statistics import Anything

WATCHED = {
    module.__file__
    for module in (
        *(jobs, intake, live_jobs, ledger),
        *(result_store, result_writer, result_locks, end_recorder),
    )
}
SECONDS = 20.0
ANSWERS = {
    "echo": (Anything(value="kept"), "kept"),
    "sum_of_squares": (Anything(value=3), {"partials": [0, 1, 4], "sum": 5}),
}


class Steps:
    """Counts the lines that are run in the watched modules, in any thread."""

    def __init__(self, deadly: int | None) -> None:
        self._deadly = deadly
        self._numbers = count(1)
        self.taken = 0
        self.counting = False

    def watch(self) -> None:
        """Trace this thread and those that are started from now on."""
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line" and self.counting:
            self.taken = next(self._numbers)
            if self.taken == self._deadly:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._trace


def in_child(work: Callable[[int], None]) -> tuple[int, bytes]:
    """Run `work` in a process of its own: how that ended, and what it has written."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(reading)
            work(writing)
        except BaseException as error:
            os.write(writing, f"\n{type(error).__name__}: {error}".encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        content = told.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), content


def live(folder: Path, deadly: int | None, writing: int) -> None:
    """Accept two jobs, telling each id as a client would hear it, and see them recorded."""
    steps = Steps(deadly)
    steps.watch()
    with service(folder) as served:
        statistics = served.catalogue.statistics
        steps.counting = True
        for name, (request, _) in ANSWERS.items():
            job_id = served.submit(statistics[name], request)
            os.write(writing, f"{job_id} ".encode())
        wait_until(lambda: not list(served.live))
        steps.counting = False
    if deadly is None:
        os.write(writing, f"steps {steps.taken}".encode())


def check(folder: Path, promised: list[int], writing: int) -> None:
    """What the next start finds, and what has become of the jobs when it is done with them."""
    with service(folder) as served:
        wait_until(lambda: served.unfinished == 0)
        known = [job_id for job_id, _ in served.states()]
        assert known in ([], [1], [1, 2]), f"jobs {known}"
        assert set(promised) <= set(known), f"promised {promised}, known {known}"
        for job_id, (_, answer) in zip(known, ANSWERS.values(), strict=False):
            content = json.loads(served.result(job_id))
            assert content == {"status": "done", "data": answer}, f"job {job_id}: {content}"
        wait_until(lambda: not list(served.live))
        assert all(state.final for _, state in served.states())
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert files == {"ledger.sqlite3", *(f"job_id_{job_id}.json" for job_id in known)}, files


def wait_until(condition: Callable[[], object]) -> None:
    """Return once `condition()` is true."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.001)


def main(folder: Path) -> None:
    """Run every life; see the module's docstring."""
    end_recorder.BATCH_SECONDS = result_writer.RUNNING_AFTER = 0.01
    with service(folder / "first"):  # what is done once in a process is so in each child
        pass
    exit_code, told = in_child(lambda writing: live(folder / "whole", None, writing))
    assert exit_code == 0, told.decode()
    steps = int(told.decode().rpartition("steps ")[2])
    wrong, ends, promises = [], Counter[str](), Counter[str]()
    for deadly in range(1, steps + 1):
        place = folder / str(deadly)
        exit_code, told = in_child(lambda writing: live(place, deadly, writing))  # noqa: B023
        ends["killed" if exit_code == -signal.SIGKILL else f"exit code {exit_code}"] += 1
        promised = [int(word) for word in told.split()]
        promises[f"{len(promised)} promised"] += 1
        exit_code, told = in_child(lambda writing: check(place, promised, writing))  # noqa: B023
        if exit_code:
            wrong.append(f"killed at step {deadly}: {told.decode()}")
        shutil.rmtree(place)
    print(json.dumps({"steps": steps, "wrong": wrong, **ends, **promises}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
