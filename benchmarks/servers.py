"""Servers under measurement: each a process of its own, on a port of the loopback interface."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from benchmarks.scratch import new_folder
from server.settings import ROOT

START_SECONDS = 60.0
END_SECONDS = 30.0
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str] | None = None, grace: float = END_SECONDS
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until left, with all that it starts, in a session of its own.

    What SIGTERM does not end within `grace` seconds is killed, and so are stragglers; without
    a grace, all is killed at once.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if grace:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(answers: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
    """Wait until a server that was started answers; RuntimeError where it does not, or has left."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if answers():
            return
        time.sleep(0.05)
    raise RuntimeError(f"{what} did not start")


@contextmanager
def serving(
    command: list[str], port: int, path: str, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a web server until left; gives its port when `path` answers with any status."""

    def answers() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=1):
                return True
        except HTTPError:
            return True
        except OSError:
            return False

    with running(command, environment) as process:
        wait_until(answers, process, f"the server on port {port}")
        yield port


@contextmanager
def sportiv_server(**settings: str) -> Iterator[int]:
    """This project's server over folders of its own, on the disk of the checkout; its port.

    Settings by their names without the prefix. However many jobs may wait, so that no load
    is refused.
    """
    port, folder = free_port(), new_folder()
    fixed = {
        "bind": f"127.0.0.1:{port}",
        "results_dir": f"{folder}/results",
        "log_dir": f"{folder}/logs",
        "max_queued": "1000000",
    }
    environment = {f"SPORTIV_{name.upper()}": each for name, each in (fixed | settings).items()}
    with serving([GUNICORN, "-c", "gunicorn.conf.py"], port, "/healthz", environment):
        yield port


@contextmanager
def under_gunicorn(application: str, path: str, **environment: str) -> Iterator[int]:
    """A WSGI application under gunicorn with this project's own settings; its port."""
    port = free_port()
    command = [GUNICORN, "-c", "benchmarks/hello_conf.py", "-b", f"127.0.0.1:{port}", application]
    with serving(command, port, path, environment):
        yield port


def first_question(port: int) -> str:
    """A question of the table that this project's server on `port` has."""
    with urlopen(f"http://127.0.0.1:{port}/api/questions", timeout=START_SECONDS) as answer:
        return str(json.load(answer)["data"][0]["question"])


def wait_until_idle(port: int) -> None:
    """Wait until this project's server on `port` has ended all jobs."""
    deadline = time.monotonic() + START_SECONDS
    while _unfinished(port):
        if time.monotonic() > deadline:
            raise RuntimeError(f"jobs are left after {START_SECONDS:g} s")
        time.sleep(0.01)


def _unfinished(port: int) -> int:
    with urlopen(f"http://127.0.0.1:{port}/api/num_jobs", timeout=START_SECONDS) as answer:
        return int(json.load(answer)["num_jobs"])


@contextmanager
def first_version_server(data: Path, dataset: Path) -> Iterator[int]:
    """The design of the first version (`benchmarks.rivals.first_version`); its port."""
    port = free_port()
    arguments = str(port), str(data), str(dataset), str(new_folder())
    command = [sys.executable, "-m", "benchmarks.rivals.first_version", *arguments]
    with serving(command, port, "/"):
        yield port
