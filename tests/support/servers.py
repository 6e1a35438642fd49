"""A real server for tests: gunicorn as a process of its own, with its own folders and port."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 60.0
SHARED_COLUMNS = "TEST_COLUMNS"
"""The variable that names a folder for the columns of the table that is served by default."""

FOR_TESTS = "tests/support/gunicorn_conf.py"
T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """What `condition` gives as soon as that is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return value


@contextmanager
def in_threads(work: Callable[[threading.Event], None], threads: int) -> Iterator[None]:
    """Have `work(left)` done by so many threads; `left` is set when this is left, and they end."""
    left = threading.Event()
    started = [threading.Thread(target=work, args=(left,)) for _ in range(threads)]
    for thread in started:
        thread.start()
    try:
        yield
    finally:
        left.set()
        for thread in started:
            thread.join()


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.content)


class RunningServer:
    """A gunicorn process group that serves, and a client for it."""

    def __init__(
        self,
        folder: Path,
        configuration: str,
        environment: dict[str, str],
        arguments: list[str],
        port: int | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.port = port or free_port()
        self.results = folder / "results"
        self.logs = folder / "logs"
        self.errors = folder / "stderr.txt"
        command = [str(Path(sys.executable).with_name("gunicorn")), "-c", configuration]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                env=_without_settings()
                | {
                    "PYTHONPATH": str(ROOT),
                    "SPORTIV_BIND": f"127.0.0.1:{self.port}",
                    "SPORTIV_RESULTS_DIR": str(self.results),
                    "SPORTIV_LOG_DIR": str(self.logs),
                    "SPORTIV_WORKERS": "2",
                    "SPORTIV_CACHE": "0",  # most tests ask again to have it done again
                    **_shared_columns(environment),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )

    # -- the client -------------------------------------------------------------------

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request; `body` is sent as JSON, or as it is where it is bytes."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        default = {"Content-Type": "application/json"} if content is not None else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, content, default | (headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON that `path` answers with, whatever the status."""
        return self.ask("GET", path).json

    def submit(self, statistic: str, **request: Any) -> int:
        """Post a job; its id."""
        answer = self.ask("POST", f"/api/{statistic}", request)
        assert answer.status == 202, answer
        return answer.json["job_id"]

    def result(self, job_id: int, seconds: float = 30.0) -> Any:
        """The answer of `get_results` once it is no longer `running`."""

        def ended() -> Any:
            answer = self.get(f"/api/get_results/{job_id}")
            return None if answer["status"] == "running" else answer

        return wait_for(ended, f"job {job_id} has ended", seconds)

    def data(self, statistic: str, **request: Any) -> Any:
        """Post a job, wait for it, and give its data."""
        answer = self.result(self.submit(statistic, **request))
        assert answer["status"] == "done", answer
        return answer["data"]

    def questions(self) -> list[str]:
        """The questions of the table."""
        return [each["question"] for each in self.get("/api/questions")["data"]]

    def worker_pids(self) -> list[int]:
        """The process ids of the workers that compute."""
        return [each["pid"] for each in self.get("/api/pool")["data"]["workers"]]

    def wait_until_whole(self, workers: int = 2) -> None:
        """Wait until so many workers are ready: another in the place of one may take a second."""

        def whole() -> bool:
            there = self.get("/api/pool")["data"]["workers"]
            return sum(each["state"] in ("idle", "busy") for each in there) == workers

        wait_for(whole, f"{workers} workers are ready")

    # -- the process ------------------------------------------------------------------

    def wait_until_serving(self) -> None:
        """Wait until `/healthz` says ok; fails with gunicorn's words where it has left."""

        def healthy() -> bool:
            assert self.process.poll() is None, self.errors.read_text()
            try:
                return self.ask("GET", "/healthz").status == 200
            except OSError:
                return False

        wait_for(healthy, "the server answers", START_SECONDS)

    def exit_code(self, seconds: float = 30.0) -> int:
        """How gunicorn's master has ended, once it has."""
        return self.process.wait(seconds)

    def processes(self) -> list[int]:
        """Every process of the server's group that is alive."""
        return [pid for pid in map(int, _numbers("/proc")) if _group(pid) == self.process.pid]

    def stop(self) -> int:
        """SIGTERM, as an operator would; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code(60)

    def log(self) -> str:
        """Everything that the server has logged."""
        return (self.logs / "server.log").read_text()

    def kill(self) -> None:
        """SIGKILL the whole group."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait(10)


@contextmanager
def running_server(
    folder: Path,
    *arguments: str,
    wait: bool = True,
    configuration: str = "gunicorn.conf.py",
    port: int | None = None,
    **environment: str,
) -> Iterator[RunningServer]:
    """A server in `folder`, at `port` or a free one; leaving kills whatever is left of it.

    With `configuration=FOR_TESTS` it also knows the statistics that misbehave on demand.
    """
    server = RunningServer(folder, configuration, environment, list(arguments), port)
    try:
        if wait:
            server.wait_until_serving()
        yield server
    finally:
        server.kill()


def _without_settings() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPORTIV_", "TP_NUM", "WEB_CONCURRENCY", "GUNICORN"))
    }


def _shared_columns(environment: dict[str, str]) -> dict[str, str]:
    """Where a server that is given no table of its own finds the columns of the one it has."""
    folder = os.environ.get(SHARED_COLUMNS)
    own = {"SPORTIV_DATA", "SPORTIV_DATASET"} & environment.keys()
    return {"SPORTIV_COLUMN_CACHE": folder} if folder and not own else {}


def _numbers(folder: str) -> list[str]:
    return [name for name in os.listdir(folder) if name.isdigit()]  # noqa: PTH208


def _group(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[2])


def serving_pid(server: RunningServer) -> int:
    """The pid of gunicorn's worker; it holds the results folder."""
    return int(wait_for((server.results / ".ledger" / "lock").read_text, "the folder is held"))
