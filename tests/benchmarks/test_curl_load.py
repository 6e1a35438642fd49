"""The load that anyone can put on a running server with curl, against a live one."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import pools
from tests.support.servers import ROOT, RunningServer, running_server

nothing_left_behind = pools.nothing_left_behind
pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="curl or bash is not on the PATH"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


def _run(url: str, jobs: int, clients: int, **environment: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(
        [str(Path(ROOT, "benchmarks", "curl_load.sh")), url, str(jobs), str(clients)],
        env=path | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _address(server: RunningServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def test_every_job_is_posted_waited_for_and_read(server: RunningServer) -> None:
    done = _run(_address(server), 40, 8)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "POST     status 202: 40" in done.stdout
    assert "GET      status 200: 40" in done.stdout
    assert "jobs/s, 40 of 40 done" in done.stdout
    assert done.stdout.count("p99") == 2
    assert server.get("/api/num_jobs")["num_jobs"] == 0
    assert len(server.get("/api/jobs?statistic=global_mean&status=done")["data"]) == 40


def test_another_question_can_be_asked(server: RunningServer) -> None:
    question = server.questions()[0]
    body = f'{{"question": "{question}", "state": "Ohio"}}'
    done = _run(_address(server), 3, 1, STATISTIC="state_mean", BODY=body)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(server.get("/api/jobs?statistic=state_mean&status=done")["data"]) == 3


def test_what_is_refused_is_counted_and_makes_it_fail(server: RunningServer) -> None:
    done = _run(_address(server), 3, 2, BODY='{"question": "unknown"}')
    assert done.returncode == 1
    assert "POST     status 400: 3" in done.stdout
    assert "0 of 3 done" in done.stdout


def test_a_server_that_is_not_there_makes_it_fail(server: RunningServer) -> None:
    done = _run("http://127.0.0.1:1", 3, 2)
    assert done.returncode != 0
    assert "127.0.0.1" in done.stderr
