"""POSTs accepted a second, against a Flask "hello" under the same gunicorn settings."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from benchmarks.measure import Comparison, Effort, against_each, alternate
from server.settings import ROOT

CLIENTS = 8
START_SECONDS = 60.0


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: list[str], port: int, path: str, environment: dict[str, str]) -> Iterator[int]:
    """Run a server until left; gives its port when `path` answers with any status."""
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, path, process)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=1):
                return
        except OSError as error:
            if getattr(error, "code", None):
                return
            time.sleep(0.05)
    raise RuntimeError(f"the server on port {port} did not start")


def _load(port: int, path: str, body: dict[str, str], effort: Effort) -> float:
    numbers = [str(CLIENTS), str(effort.seconds)]
    command = [sys.executable, "-m", "benchmarks.load", "127.0.0.1", str(port), path]
    done = subprocess.run(
        [*command, json.dumps(body), *numbers], cwd=ROOT, capture_output=True, check=True
    )
    measured = json.loads(done.stdout)
    if measured["refused"]:
        raise RuntimeError(f"{measured['refused']} requests to {path} were refused")
    return float(measured["rate"])


def measure(effort: Effort) -> Iterator[Comparison]:
    """Both rates and their ratio."""
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    ours, plain = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="sportiv-bench-", dir=ROOT) as folder:
        environment = {
            "SPORTIV_BIND": f"127.0.0.1:{ours}",
            "SPORTIV_RESULTS_DIR": f"{folder}/results",
            "SPORTIV_LOG_DIR": f"{folder}/logs",
            "SPORTIV_MAX_QUEUED": "1000000",
            "SPORTIV_CACHE": "0",
        }
        command = [gunicorn, "-c", "gunicorn.conf.py"]
        hello = [gunicorn, "-c", "benchmarks/hello_conf.py", "-b", f"127.0.0.1:{plain}"]
        with (
            serving(command, ours, "/healthz", environment),
            serving(hello, plain, "/hello", {}),
        ):
            with urlopen(f"http://127.0.0.1:{ours}/api/questions") as answer:
                question = json.load(answer)["data"][0]["question"]
            figures = alternate(
                {
                    "POST /api/global_mean": lambda: _load(
                        ours, "/api/global_mean", {"question": question}, effort
                    ),
                    "POST to a Flask hello": lambda: _load(
                        plain, "/hello", {"name": "reader"}, effort
                    ),
                },
                effort,
            )
    yield Comparison(
        "posts-accepted",
        f"POSTs accepted, durability full, {CLIENTS} clients, keep-alive",
        "requests/s",
        tuple(figures),
        against_each(figures, at_least=0.8),
    )
