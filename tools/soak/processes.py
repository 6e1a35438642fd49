"""The server that is soaked, as its process group shows it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from server.settings import ROOT

START_SECONDS = 60.0
WORKERS = 2
JOB_TIMEOUT = 3
"""The server's time limit in seconds: so long does a stopped worker keep its job."""


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until `condition()` is true, at most `seconds`; whether it became so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


class Process(NamedTuple):
    """One process of the group."""

    pid: int
    parent: int
    is_pool: bool  # the fork server, or a worker forked from it


class Server:
    """The server in `folder` on `port`, started as often as needed. Leaving kills what is left."""

    def __init__(self, folder: Path, port: int) -> None:
        self.results = folder / "results"
        self.logs = folder / "logs"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.errors = folder / "stderr.txt"
        self._port = port
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill(signal.SIGKILL)
        if self._master is not None:
            self._master.wait(10)

    def start(self) -> None:
        """Start it, and wait until it answers; TimeoutError where it does not."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("SPORTIV")}
        settings = {
            "SPORTIV_BIND": f"127.0.0.1:{self._port}",
            "SPORTIV_RESULTS_DIR": str(self.results),
            "SPORTIV_LOG_DIR": str(self.logs),
            "SPORTIV_LOG_KEEP": "1",
            "SPORTIV_CACHE": "0",
            "SPORTIV_WORKERS": str(WORKERS),
            "SPORTIV_JOB_TIMEOUT": str(JOB_TIMEOUT),
            "SPORTIV_DRAIN_TIMEOUT": "5",
            "SPORTIV_MAX_ATTEMPTS": "100",
            "TMPDIR": str(self.temporary),
        }
        with self.errors.open("ab") as errors:
            self._master = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
                cwd=ROOT,
                env=own | settings,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )
        if not wait_for(lambda: self.get("/healthz") is not None, START_SECONDS):
            raise TimeoutError(f"no answer after a start: {self.errors.read_text()[-2000:]}")

    def get(self, path: str) -> Any:
        """The JSON at `path`; None where it is not answered 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return json.loads(content) if response.status == 200 else None

    # -- its processes ----------------------------------------------------------------

    @property
    def master(self) -> int:
        """gunicorn's master; the group has its number."""
        assert self._master is not None
        return self._master.pid

    def exit_code(self) -> int | None:
        """How the master has ended; None while it lives."""
        assert self._master is not None
        return self._master.poll()

    def group(self) -> list[Process]:
        """Every process of the group that is alive."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[2]) == self.master and fields[0] not in "ZX":
                        is_pool = b"server.fork_server" in (entry / "cmdline").read_bytes()
                        found.append(Process(int(entry.name), int(fields[1]), is_pool))
        return found

    def serving(self) -> list[int]:
        """gunicorn's worker, if there is one."""
        return [each.pid for each in self.group() if each.parent == self.master]

    def fork_servers(self) -> list[int]:
        """The fork server, if there is one."""
        group, serving = self.group(), self.serving()
        return [each.pid for each in group if each.is_pool and each.parent in serving]

    def workers(self) -> list[int]:
        """The workers that compute; they may have outlived the fork server that forked them."""
        group, forks = self.group(), self.fork_servers()
        return [each.pid for each in group if each.is_pool and each.pid not in forks]

    def alive(self, pid: int) -> bool:
        """Whether this process of the group is there."""
        return pid in [each.pid for each in self.group()]

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to the whole group."""
        with suppress(ProcessLookupError):
            os.killpg(self.master, number)

    # -- what it holds ----------------------------------------------------------------

    def is_at_rest(self) -> bool:
        """Whether it answers, no job waits or runs, and the pool is whole."""
        answer = self.get("/api/pool")
        if answer is None:
            return False
        states = [each["state"] for each in answer["data"]["workers"]]
        return states == ["idle"] * WORKERS and answer["data"]["unfinished_jobs"] == 0

    def descriptors(self) -> int:
        """How many descriptors the server process has."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.serving())  # noqa: PTH208

    def segments(self) -> int:
        """How many shared memory segments with a name the group's processes have open."""
        links = [link for each in self.group() for link in Path(f"/proc/{each.pid}/fd").iterdir()]
        count = 0
        for link in links:
            with suppress(OSError):
                count += str(link.readlink()).startswith("/dev/shm/")
        return count
