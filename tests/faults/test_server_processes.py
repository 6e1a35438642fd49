"""The server's own processes, killed, stopped and told to leave at any moment: nothing is lost."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from itertools import count
from pathlib import Path

import pytest

from server.folder_lock import holding_folder
from tests.support.backends import Settings
from tests.support.servers import (
    FOR_TESTS,
    Answer,
    RunningServer,
    in_threads,
    running_server,
    serving_pid,
    wait_for,
)

SOON = 10.0
"""Seconds for what takes two or three on a quiet machine."""

ENDLESS = "600"
"""A limit in seconds that no test reaches."""

OF_THE_LEDGER = {
    "lock",
    "ledger.sqlite3",
    "ledger.sqlite3-wal",
    "ledger.sqlite3-shm",
    "ledger.reserve",
}

STOPS = pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])


@contextmanager
def server_in(folder: Path, wait: bool = True, **settings: str) -> Iterator[RunningServer]:
    """A server with the statistics for tests, whose temporary files have a folder of their own."""
    (folder / "temporary").mkdir(exist_ok=True)
    own = {"TMPDIR": str(folder / "temporary"), "SPORTIV_LOG_KEEP": "1"}
    with running_server(folder, wait=wait, configuration=FOR_TESTS, **own | settings) as server:
        yield server


@contextmanager
def posting(server: RunningServer, clients: int = 4) -> Iterator[dict[int, int]]:
    """Clients that post jobs without a pause, whatever happens; each accepted id and its value."""
    accepted: dict[int, int] = {}
    values = count()

    def post(left: threading.Event) -> None:
        while not left.is_set():
            value = next(values)
            try:
                answer = server.ask("POST", "/api/pause", {"value": value, "seconds": 0.01})
            except (OSError, HTTPException):
                left.wait(0.01)
            else:
                if answer.status == 202:
                    accepted[answer.json["job_id"]] = value

    with in_threads(post, clients):
        yield accepted


@contextmanager
def slow_clients(server: RunningServer) -> Iterator[None]:
    """Clients that have connected and sent nothing, half a header, or half a body."""
    head = b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with ExitStack() as opened:
        for words in (b"", head, head + b"Content-Length: 99\r\n\r\n{") * 4:
            client = opened.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(words)
        yield


def wait_for_more(accepted: dict[int, int]) -> None:
    """Wait until some more jobs have been accepted than now."""
    enough = len(accepted) + 20
    wait_for(lambda: len(accepted) >= enough, "more jobs are accepted")


def begin_job(server: RunningServer, gate: Path) -> int:
    """Post a job that runs until `gate` is there; its id, once it runs."""
    job_id = server.submit("wait_for_file", path=str(gate), value="waited")
    wait_for(Path(f"{gate}.begun").exists, "the job has begun")
    return job_id


def wait_until_loading(server: RunningServer) -> None:
    """Wait until the loader process runs."""

    def loading() -> bool:
        lines = [Path(f"/proc/{pid}/cmdline") for pid in server.processes()]
        return any(b"server.loader" in line.read_bytes() for line in lines if line.exists())

    wait_for(loading, "the table is being loaded")


def is_free(port: int) -> bool:
    """Whether a server could listen here; not while a client's own end has just this port."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def assert_nothing_is_left(server: RunningServer) -> None:
    """No process, no held port or folder, no temporary file."""
    wait_for(lambda: not server.processes(), "no process is left", SOON)
    wait_for(lambda: is_free(server.port), "the port is free", SOON)
    private = server.results / ".ledger"
    private.mkdir(parents=True, exist_ok=True)
    with holding_folder(private):
        pass
    assert not list((server.results.parent / "temporary").iterdir())
    for path in server.results.iterdir():
        assert path == private or path.match("job_id_*.json"), path


def assert_all_end(folder: Path, accepted: dict[int, int], **settings: str) -> None:
    """A new server ends every job well, and leaves only the ledger, its lock and the results."""
    with server_in(folder, **settings) as server:
        for job_id, value in accepted.items():
            assert server.result(job_id) == {"status": "done", "data": value}
        assert server.stop() == 0
        assert_nothing_is_left(server)
        private = {path.name for path in (server.results / ".ledger").iterdir()}
        assert private == {"lock", "ledger.sqlite3"}


# -- killed ---------------------------------------------------------------------------


def test_gunicorns_worker_killed_under_load_is_replaced_and_every_job_ends(
    tmp_path: Path, backend: Settings
) -> None:
    with server_in(tmp_path, **backend) as server, posting(server) as accepted:
        wait_for_more(accepted)
        old = set(server.processes()) - {server.process.pid}
        os.kill(serving_pid(server), signal.SIGKILL)
        wait_for(lambda: not old & set(server.processes()), "the old pool is gone", SOON)
        wait_for_more(accepted)
        assert server.process.poll() is None
        for job_id, value in list(accepted.items()):
            assert server.result(job_id) == {"status": "done", "data": value}


def test_a_killed_master_takes_an_idle_server_along(tmp_path: Path) -> None:
    with server_in(tmp_path) as server:
        server.process.kill()
        assert_nothing_is_left(server)
        assert "master is gone" in server.log()


def test_a_killed_master_takes_a_busy_server_along_and_no_job_is_lost(tmp_path: Path) -> None:
    with server_in(tmp_path) as server, posting(server) as accepted, slow_clients(server):
        wait_for_more(accepted)
        server.process.kill()
        assert_nothing_is_left(server)
    assert_all_end(tmp_path, accepted)


def test_a_killed_master_takes_a_server_along_that_is_loading(
    tmp_path: Path, endless_data: Path
) -> None:
    with server_in(tmp_path, wait=False, SPORTIV_DATA=str(endless_data)) as server:
        wait_until_loading(server)
        server.process.kill()
        assert_nothing_is_left(server)


def test_a_killed_master_takes_a_server_along_that_drains(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with server_in(tmp_path, SPORTIV_DRAIN_TIMEOUT=ENDLESS) as server, slow_clients(server):
        job_id = begin_job(server, gate)
        server.process.terminate()
        wait_for(lambda: "shutting down" in server.log(), "the drain has begun")
        server.process.kill()
        assert_nothing_is_left(server)
    gate.touch()
    assert_all_end(tmp_path, {job_id: "waited"})


def test_the_whole_group_killed_under_load_loses_no_job(tmp_path: Path, backend: Settings) -> None:
    with server_in(tmp_path, **backend) as server, posting(server) as accepted:
        wait_for_more(accepted)
        server.kill()
        wait_for(lambda: not server.processes(), "no process is left", SOON)
        left = {path.name for path in (server.results / ".ledger").iterdir()}
        assert left <= OF_THE_LEDGER | {"result.tmp"}
        assert_nothing_is_left(server)
    assert_all_end(tmp_path, accepted, **backend)


def test_more_clients_than_descriptors_cost_nobody_the_server(tmp_path: Path) -> None:
    with server_in(tmp_path, wait=False) as server, ExitStack() as opened:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (400, 400))
        server.wait_until_serving()
        before = serving_pid(server)
        for _ in range(500):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.setblocking(False)
        opened.close()
        assert server.data("echo", value="well") == "well"
        assert serving_pid(server) == before
        assert "Too many open files" not in server.errors.read_text()


def test_no_process_has_anything_in_the_folder_of_shared_memory(tmp_path: Path) -> None:
    with server_in(tmp_path) as server:
        wait_for(lambda: len(server.processes()) == 5, "the loader has left")
        for pid in server.processes():
            links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            assert not [link for link in links if link.startswith("/dev/shm/")]
            assert "/dev/shm/" not in Path(f"/proc/{pid}/maps").read_text()


def test_a_stopped_worker_of_gunicorn_is_killed_after_its_timeout(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, "--timeout", "10", configuration=FOR_TESTS) as server:
        job_id, old = begin_job(server, gate), serving_pid(server)
        os.kill(old, signal.SIGSTOP)
        wait_for(lambda: serving_pid(server) != old, "a new server process", 60.0)
        assert old not in server.processes()
        server.wait_until_serving()
        gate.touch()
        assert server.result(job_id)["data"] == "waited"


# -- told to leave --------------------------------------------------------------------


def test_sigterm_under_load_ends_within_its_bound_and_loses_no_job(
    tmp_path: Path, backend: Settings
) -> None:
    with (
        server_in(tmp_path, SPORTIV_DRAIN_TIMEOUT="1", **backend) as server,
        posting(server) as accepted,
        slow_clients(server),
    ):
        wait_for_more(accepted)
        server.process.terminate()
        assert server.exit_code(1 + SOON) == 0
        assert_nothing_is_left(server)
    assert_all_end(tmp_path, accepted, **backend)


def test_while_it_drains_a_server_answers_new_clients_and_takes_no_job(
    tmp_path: Path, backend: Settings
) -> None:
    gate = tmp_path / "gate"
    with server_in(tmp_path, SPORTIV_DRAIN_TIMEOUT=ENDLESS, **backend) as server:
        ended = server.submit("echo", value="before")
        server.result(ended)
        job_id = begin_job(server, gate)
        server.process.terminate()
        wait_for(lambda: "shutting down" in server.log(), "the drain has begun")
        for _ in range(3):  # each over a connection of its own
            refused = server.ask("POST", "/api/echo", {"value": 1})
            assert refused.status == 503
            assert refused.json == {"job_id": -1, "status": "error", "reason": "shutting down"}
            assert int(refused.headers["retry-after"]) > 0
            assert server.get(f"/api/get_results/{ended}")["data"] == "before"
            assert server.get(f"/api/get_results/{job_id}") == {"status": "running"}
        gate.touch()
        assert server.exit_code(SOON) == 0
        assert_nothing_is_left(server)
        assert json.loads((server.results / f"job_id_{job_id}.json").read_text()) == {
            "status": "done",
            "data": "waited",
        }


@STOPS
def test_a_second_signal_hastens_the_drain(tmp_path: Path, stop: signal.Signals) -> None:
    gate = tmp_path / "gate"
    with server_in(tmp_path, SPORTIV_DRAIN_TIMEOUT=ENDLESS) as server, slow_clients(server):
        job_id = begin_job(server, gate)
        server.process.terminate()
        wait_for(lambda: "shutting down" in server.log(), "the drain has begun")
        server.process.send_signal(stop)
        assert server.exit_code(SOON) == 0
        assert_nothing_is_left(server)
    gate.touch()
    assert_all_end(tmp_path, {job_id: "waited"})


def test_two_signals_at_once_count_as_two(tmp_path: Path) -> None:
    with server_in(tmp_path, SPORTIV_DRAIN_TIMEOUT=ENDLESS) as server:
        begin_job(server, tmp_path / "gate")
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        assert server.exit_code(SOON) == 0
        assert_nothing_is_left(server)


@STOPS
def test_a_server_that_is_loading_leaves_at_once(
    tmp_path: Path, endless_data: Path, stop: signal.Signals
) -> None:
    with server_in(tmp_path, wait=False, SPORTIV_DATA=str(endless_data)) as server:
        wait_until_loading(server)
        server.process.send_signal(stop)
        assert server.exit_code(SOON) == 0
        assert_nothing_is_left(server)


@pytest.mark.parametrize("moment", ["Listening at", "Booting worker", "started with"])
def test_sigterm_at_any_moment_of_the_start_ends_it(tmp_path: Path, moment: str) -> None:
    with server_in(tmp_path, wait=False) as server:
        log = server.logs / "server.log"
        texts: list[Callable[[], str]] = [
            server.errors.read_text,
            lambda: log.read_text() if log.exists() else "",
        ]
        wait_for(lambda: any(moment in text() for text in texts), moment)
        server.process.terminate()
        assert server.exit_code(SOON) == 0
        assert_nothing_is_left(server)


def test_twenty_graceful_shutdowns_at_once_are_one(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with server_in(tmp_path) as server, ThreadPoolExecutor(20) as clients:
        job_id = begin_job(server, gate)

        def shut_down(method: str) -> Answer:
            return server.ask(method, "/api/graceful_shutdown")

        answers = list(clients.map(shut_down, ["GET", "POST"] * 10))
        assert {answer.status for answer in answers} == {200}
        assert all(answer.json == {"status": "running"} for answer in answers)
        assert server.get(f"/api/get_results/{job_id}") == {"status": "running"}
        gate.touch()
        assert server.result(job_id)["data"] == "waited"
        wait_for(lambda: not server.worker_pids(), "the workers are gone", SOON)
        answers = list(clients.map(shut_down, ["GET", "POST"] * 10))
        assert all(answer.json == {"status": "done"} for answer in answers)
        assert server.get(f"/api/get_results/{job_id}")["data"] == "waited"
        assert json.loads((server.results / f"job_id_{job_id}.json").read_text()) == {
            "status": "done",
            "data": "waited",
        }
        assert server.stop() == 0
        assert server.log().count("shutting down") == 1


# -- the clock ------------------------------------------------------------------------

JUMPING_CLOCK = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (clock != CLOCK_REALTIME || failed)
        return failed;
    FILE *file = fopen(getenv("JUMP_FILE"), "r");
    long jump = 0;
    if (file) {
        if (fscanf(file, "%ld", &jump) == 1)
            now->tv_sec += jump;
        fclose(file);
    }
    return 0;
}
"""


def test_a_clock_that_jumps_moves_no_time_limit(tmp_path: Path, backend: Settings) -> None:
    """The C library of all the server's processes tells another date from one moment on."""
    if (compiler := shutil.which("cc")) is None or sys.platform != "linux":
        pytest.skip("no C compiler, or another system")
    (tmp_path / "clock.c").write_text(JUMPING_CLOCK)
    clock, jump, gate = tmp_path / "clock.so", tmp_path / "jump", tmp_path / "gate"
    command = [compiler, "-shared", "-fPIC", "-o", str(clock), str(tmp_path / "clock.c")]
    subprocess.run(command, check=True)
    preload = {"LD_PRELOAD": str(clock), "JUMP_FILE": str(jump)}
    with server_in(tmp_path, SPORTIV_JOB_TIMEOUT="3600", **preload, **backend) as server:
        server.wait_until_whole()
        job_id = begin_job(server, gate)
        for days in (10, -10):
            endless = tmp_path / f"never {days}"
            beyond = server.submit("wait_for_file", timeout_s=1, path=str(endless))
            wait_for(Path(f"{endless}.begun").exists, "the other job has begun")
            draft = tmp_path / "draft"
            draft.write_text(str(days * 86_400))
            draft.rename(jump)
            assert server.result(beyond) == {"status": "error", "reason": "time limit of 1 s"}
            assert server.get(f"/api/get_results/{job_id}") == {"status": "running"}
            server.submit("echo", value=days)
            wait_for(lambda days=days: date_in_log(server, days), "the log has the other date")
        gate.touch()
        assert server.result(job_id)["data"] == "waited"
        assert server.stop() == 0


def date_in_log(server: RunningServer, days: int) -> bool:
    """Whether the last job was logged in GMT, so many days from now, if the hour did not end."""
    posts = [line for line in server.log().splitlines() if f'{{"value": {days}}}' in line]
    hours = [datetime.now(UTC) + timedelta(days, hours=-ago) for ago in (0, 1)]
    return any(
        line.startswith(hour.strftime("%Y-%m-%dT%H:")) and line.split()[0].endswith("Z")
        for line in posts
        for hour in hours
    )


# -- cannot start ---------------------------------------------------------------------


def test_a_taken_port_stops_the_start_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with server_in(tmp_path, wait=False, SPORTIV_BIND=address) as server:
            assert server.exit_code() != 0
            assert "Address already in use" in server.errors.read_text()
            assert str(taken.getsockname()[1]) in server.errors.read_text()
            assert_nothing_is_left(server)


@pytest.fixture
def endless_data(tmp_path: Path) -> Path:
    """A table that never comes: whoever loads it waits."""
    path = tmp_path / "endless.csv"
    os.mkfifo(path)
    return path
