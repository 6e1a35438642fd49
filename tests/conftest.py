"""What many tests share: waiting for a condition, and Python in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings

from tests.support import backends, servers

ROOT = Path(__file__).parents[1]

backend = backends.backend
dask_workers = backends.dask_workers

# Whether a change is right must not depend on luck: each run draws the same examples.
settings.register_profile("the same", deadline=None, derandomize=True)
settings.register_profile("others", deadline=None)
settings.load_profile("the same")


def pytest_configure(config: pytest.Config) -> None:
    """Have the servers of all tests keep the columns of the table that is shipped in one place."""
    if not hasattr(config, "workerinput"):  # the first process; those of xdist inherit the name
        columns = TemporaryDirectory(prefix="sportiv-columns-")
        config.add_cleanup(columns.cleanup)
        os.environ[servers.SHARED_COLUMNS] = columns.name


LONGEST = (
    *("test_crashes.py", "test_openapi.py", "test_soak.py"),
    *("test_remaining.py", "test_make_pictures.py"),
)
"""The files that take longest: begun last, one process would be at them after all others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the longest files begun first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let it be no failure that none of the tests asked for is to run alone, or beside others."""
    if session.config.getoption("-m") and session.exitstatus is pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write out what UTF-8 cannot carry: a test's report may go to another process."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture
def eventually() -> Callable[..., None]:
    """`eventually(condition)` returns once `condition()` is true, and fails after a deadline."""

    def wait(condition: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(0.002)

    return wait


@pytest.fixture
def run_python() -> Callable[..., str]:
    """`run_python(code, *arguments)` runs code in a fresh interpreter; what it has printed."""

    def run(code: str, *arguments: object, cwd: Path = ROOT, **options: Any) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            cwd=cwd,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def start_python() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """As `run_python`, but gives the running process; it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
