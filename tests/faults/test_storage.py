"""Disks that are full or read-only, folders that vanish, files that are torn or foreign.

Never a result that is not there, never a job that was accepted and forgotten; and when the
disk takes writes again, so does the server.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.result_store import checksum
from tests.support.backends import Settings
from tests.support.disks import Disk, small_disk
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

OBESITY = "Percent of adults aged 18 years and older who have obesity"
OK = {"status": "ok"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def on(disk: Disk) -> dict[str, str]:
    """Settings that put the results on this disk."""
    return {"SPORTIV_RESULTS_DIR": str(disk.path / "results")}


def results_of(server: RunningServer) -> Path:
    """The results folder, wherever the test has put it."""
    return server.results


def place(results: Path, job_id: int) -> Path:
    return results / f"job_id_{job_id}.json"


def post(server: RunningServer, value: object = 0) -> int:
    """The status of a POST; a refusal must not have used an id."""
    return server.ask("POST", "/api/echo", {"value": value}).status


# -- a full disk ----------------------------------------------------------------------


def test_a_full_disk_refuses_new_jobs_and_takes_them_again_when_there_is_room(
    tmp_path: Path, disk: Disk
) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, **on(disk)) as server:
        before = server.submit("echo", value="before")
        kept = server.result(before)
        disk.fill()
        big = "x" * 60_000
        refused = server.ask("POST", "/api/echo", {"value": big})
        assert refused.status == 507
        assert "full" in refused.json["reason"]
        assert refused.headers["retry-after"]
        health = server.ask("GET", "/healthz")
        assert health.status == 503
        assert "No space left" in health.json["reason"]
        assert server.get(f"/api/get_results/{before}") == kept
        disk.free()
        after = server.submit("echo", value=big)
        assert server.result(after) == {"status": "done", "data": big}
        assert after == before + 1, "the refused job has used no id"
        wait_for(lambda: server.get("/healthz") == OK, "the server is well again")


def test_a_result_that_finds_no_room_is_not_said_to_be_done_until_it_has_some(
    tmp_path: Path, disk: Disk
) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS, **on(disk)) as server:
        job_id = server.submit("wait_for_file", path=str(gate), value=[0] * 9000)
        wait_for(place(disk.path / "results", job_id).exists, "the job is on the way")
        disk.fill()
        gate.touch()
        wait_for(lambda: "cannot be written yet" in server.log(), "the disk has refused")
        assert server.get(f"/api/get_results/{job_id}") == {"status": "running"}
        assert server.get("/api/num_jobs")["data"] == 1
        assert server.ask("GET", "/healthz").status == 503
        disk.free()
        assert server.result(job_id) == {"status": "done", "data": [0] * 9000}
        wait_for(lambda: server.get("/healthz") == OK, "the server is well again")


def test_a_result_that_never_finds_room_fails_its_job_and_says_storage(
    tmp_path: Path, disk: Disk
) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS, **on(disk)) as server:
        job_id = server.submit("wait_for_file", path=str(gate), value=[0] * 9000)
        wait_for(place(disk.path / "results", job_id).exists, "the job is on the way")
        disk.fill()
        gate.touch()
        answer = server.result(job_id, 60)
        assert answer["status"] == "error"
        assert answer["reason"].startswith("storage: ")
        assert server.get("/api/num_jobs")["data"] == 0
        disk.free()
        wait_for(lambda: server.get("/healthz") == OK, "the server is well again")
        assert server.data("echo", value=1) == 1
        wait_for(lambda: recorded(server, disk, job_id), "the failure is recorded")
        assert server.get(f"/api/get_results/{job_id}") == answer
        assert server.stop() == 0
    with running_server(tmp_path, configuration=FOR_TESTS, **on(disk)) as server:
        assert server.get(f"/api/get_results/{job_id}") == answer, "also after a restart"


def recorded(server: RunningServer, disk: Disk, job_id: int) -> bool:
    with closing(sqlite3.connect(disk.path / "results/.ledger/ledger.sqlite3")) as ledger:
        rows = ledger.execute("SELECT ended_at FROM jobs WHERE id = ?", [job_id]).fetchall()
    return rows[0][0] is not None


def test_a_log_that_finds_no_room_disturbs_nobody(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        logs = str(disk.path / "logs")
        with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_LOG_DIR=logs) as server:
            disk.fill()
            for number in range(20):
                assert server.data("echo", value=number) == number
            disk.free()
            assert server.data("echo", value="later") == "later"
            log = disk.path / "logs" / "server.log"
            wait_for(lambda: "later" in log.read_text(), "the log goes on where there is room")
            assert server.stop() == 0


def test_a_start_on_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, disk: Disk) -> None:
    (disk.path / "results").mkdir()
    disk.fill()
    with running_server(tmp_path, wait=False, **on(disk)) as server:
        assert server.exit_code() != 0
        assert "sportiv: cannot start: " in server.errors.read_text()
        wait_for(lambda: not server.processes(), "no process is left")


# -- read-only and missing folders ----------------------------------------------------


def test_a_disk_that_is_gone_for_a_while_makes_the_server_unwell_and_it_recovers(
    tmp_path: Path, disk: Disk
) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, **on(disk)) as server:
        first = server.submit("echo", value=1)
        server.result(first)
        with disk.covered_read_only():
            refused = server.ask("POST", "/api/echo", {})
            assert refused.status == 503
            assert refused.headers["retry-after"]
            assert server.ask("GET", "/healthz").status == 503
        assert server.result(first)["data"] == 1
        second = server.submit("echo", value=2)
        assert second == first + 1
        assert server.result(second)["data"] == 2
        assert server.get("/healthz") == OK


def test_a_read_only_results_folder_stops_the_start(tmp_path: Path, disk: Disk) -> None:
    disk.make_read_only()
    with running_server(tmp_path, wait=False, **on(disk)) as server:
        assert server.exit_code() != 0
        assert f"the results folder {disk.path / 'results'}" in server.errors.read_text()
        wait_for(lambda: not server.processes(), "no process is left")


@pytest.mark.parametrize("obstacle", ["results", "parent"])
def test_a_file_in_the_place_of_the_results_folder_stops_the_start(
    tmp_path: Path, obstacle: str
) -> None:
    results = tmp_path / "parent" / "results"
    if obstacle == "results":
        results.parent.mkdir()
        results.touch()
    else:
        results.parent.touch()
    with running_server(tmp_path, wait=False, SPORTIV_RESULTS_DIR=str(results)) as server:
        assert server.exit_code() != 0
        assert f"the results folder {results} cannot be used" in server.errors.read_text()


def test_a_results_folder_that_vanishes_with_its_ledger_takes_no_more_jobs(
    tmp_path: Path,
) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        server.result(server.submit("echo", value=1))
        shutil.rmtree(server.results)
        refused = server.ask("POST", "/api/echo", {})
        assert refused.status == 503
        assert "has been removed" in refused.json["reason"]
        assert server.ask("GET", "/healthz").status == 503
        assert server.stop() == 0
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        assert server.data("echo", value=2) == 2, "the next start makes another folder"


@pytest.mark.parametrize("name", ["ledger.sqlite3", "ledger.sqlite3-wal"])
def test_a_ledger_that_has_lost_a_file_takes_no_more_jobs(tmp_path: Path, name: str) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        server.result(server.submit("echo", value=1))
        (server.results / ".ledger" / name).unlink()
        assert post(server) == 503
        assert server.ask("GET", "/healthz").status == 503


def test_a_ledger_that_another_program_holds_is_said_to_be_and_later_taken_again(
    tmp_path: Path,
) -> None:
    with (
        running_server(tmp_path, configuration=FOR_TESTS) as server,
        closing(sqlite3.connect(ledger_of(server), isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        for way in ({}, {"Idempotency-Key": "the-long-way"}):
            refused = server.ask("POST", "/api/echo", {"value": 1}, way)
            assert refused.status == 503
            assert "locked" in refused.json["reason"]
        health = server.ask("GET", "/healthz")
        assert health.status == 503
        assert "locked" in health.json["reason"]
        other.execute("COMMIT")
        assert server.get("/healthz") == OK
        assert server.submit("echo", value=1) == 1, "the refused jobs have used no id"


def ledger_of(server: RunningServer) -> Path:
    return results_of(server) / ".ledger/ledger.sqlite3"


def test_a_ledger_with_a_damaged_page_stops_the_start(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        for value in range(300):
            server.submit("echo", value=[value] * 50)
        assert server.stop() == 0
    ledger = server.results / ".ledger" / "ledger.sqlite3"
    content = bytearray(ledger.read_bytes())
    content[3 * 4096 : 5 * 4096] = b"\xff" * 2 * 4096
    ledger.write_bytes(content)
    with running_server(tmp_path, wait=False, configuration=FOR_TESTS) as server:
        assert server.exit_code() == 4
        assert "cannot open the ledger" in server.errors.read_text()


def test_a_folder_that_cannot_be_reached_for_a_while_damages_no_result(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        ids = [server.submit("echo", value=number) for number in range(3)]
        assert [server.result(job)["data"] for job in ids] == [0, 1, 2]
        moved = server.results.rename(tmp_path / "moved")
        server.results.symlink_to("results")
        assert [server.ask("GET", f"/api/get_results/{job}").status for job in ids] == [200] * 3
        assert server.ask("GET", "/healthz").status == 503
        server.results.unlink()
        moved.rename(server.results)
        assert [server.get(f"/api/get_results/{job}")["data"] for job in ids] == [0, 1, 2]
        assert server.data("echo", value=3) == 3
        assert server.get("/healthz") == OK


def test_a_damaged_result_that_cannot_be_set_aside_is_computed_again(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        job = server.submit("echo", value="whole")
        server.result(job)
        wait_for(lambda: server.get(f"/api/jobs/{job}")["data"]["ended_at"], "it is recorded")
        (server.results / ".ledger" / "set_aside").write_text("no folder")
        wait_for(lambda: damaged_and_answered(server, job), "it is computed again")
        assert server.get("/api/num_jobs")["data"] == 0


def damaged_and_answered(server: RunningServer, job: int) -> bool:
    """Damage the result, and see whether the right one is read after it was found out."""
    place(server.results, job).write_bytes(b"")
    return server.result(job) == {"status": "done", "data": "whole"}


def test_a_file_larger_than_any_result_is_not_read_into_memory(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        job = server.submit("echo", value="small")
        server.result(job)
        assert server.stop() == 0
    with place(server.results, job).open("r+b") as file:
        file.truncate(64 * 2**30)
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        assert server.result(job) == {"status": "done", "data": "small"}


def test_a_file_that_cannot_be_removed_keeps_no_other_old_job(tmp_path: Path) -> None:
    settings = {"SPORTIV_RESULT_TTL": "1", "SPORTIV_LOG_KEEP": "1"}
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        ids = [server.submit("echo", value=number) for number in range(5)]
        assert [server.result(job)["data"] for job in ids] == list(range(5))
        assert server.stop() == 0
    stuck = place(server.results, ids[0])
    if subprocess.run(["chattr", "+i", str(stuck)], capture_output=True, check=False).returncode:
        pytest.skip("no file can be made unremovable here")
    try:
        with running_server(tmp_path, configuration=FOR_TESTS, **settings) as server:
            wait_for(lambda: server.get("/api/jobs")["data"] == [], "all old jobs are gone")
            assert [path.name for path in server.results.glob("job_id_*")] == [stuck.name]
            wait_for(lambda: "cannot be removed" in server.log(), "it is logged")
    finally:
        subprocess.run(["chattr", "-i", str(stuck)], check=True)


def test_emptying_the_folder_under_load_loses_only_what_was_in_it(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        gone = [server.submit("echo", value=n) for n in range(20)]
        for job_id in gone:
            server.result(job_id)
        waiting = server.submit("wait_for_file", path=str(gate), value="kept")
        wait_for(place(server.results, waiting).exists, "a file that says running")
        subprocess.run(["sh", "-c", f"rm -rf '{server.results}'/*"], check=True)
        for job_id in gone:
            assert server.ask("GET", f"/api/get_results/{job_id}").status == 404
        assert server.get(f"/api/get_results/{waiting}") == {"status": "running"}
        gate.touch()
        assert server.result(waiting)["data"] == "kept"
        assert server.data("echo", value="new") == "new"
        assert server.get("/healthz") == OK
        assert server.stop() == 0
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        for job_id in gone:
            assert server.ask("GET", f"/api/get_results/{job_id}").status == 404
        assert server.result(waiting)["data"] == "kept"


# -- torn and foreign files -----------------------------------------------------------


def put_a_folder(path: Path) -> None:
    path.mkdir()
    (path / "somebody's").touch()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "emptied": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_bytes(b"\x00\xffnot JSON"),
    "other JSON": lambda path: path.write_bytes(b'{"status":"done","data":0}'),
    "a link": lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
    "a dangling link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a folder": lambda path: (path.unlink(), put_a_folder(path)),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


def answered(server: RunningServer, question: str = OBESITY) -> tuple[int, bytes]:
    """A job that has ended for good, and its answer."""
    job_id = server.submit("states_mean", question=question)
    server.result(job_id)
    return job_id, server.ask("GET", f"/api/get_results/{job_id}").content


def test_damaged_results_are_set_aside_at_the_start_and_computed_again(
    tmp_path: Path, backend: Settings
) -> None:
    with running_server(tmp_path, **backend) as server:
        answers = {name: answered(server) for name in DAMAGE}
        whole, content = answered(server)
        assert server.stop() == 0
    for name, damage in DAMAGE.items():
        damage(place(server.results, answers[name][0]))
    for foreign in ("job_id_x.json", "job_id_999.json", "notes.txt"):
        (server.results / foreign).write_text("somebody's own")
    (server.results / ".ledger" / "result.tmp").write_text("half a res")
    untouched = place(server.results, whole).stat().st_mtime_ns
    with running_server(tmp_path, **backend) as server:
        for name, (job_id, before) in answers.items():
            path = place(server.results, job_id)
            wait_for(lambda path=path: is_plain(path), f"{name}: in place again, without asking")
            server.result(job_id)
            again = server.ask("GET", f"/api/get_results/{job_id}").content
            assert again == before == path.read_bytes(), name
        set_aside = server.results / ".ledger" / "set_aside"
        assert len(list(set_aside.iterdir())) == len(DAMAGE)
        assert server.ask("GET", f"/api/get_results/{whole}").content == content
        assert place(server.results, whole).stat().st_mtime_ns == untouched
        assert server.ask("GET", "/api/get_results/999").status == 404
        assert (server.results / "notes.txt").read_text() == "somebody's own"
        assert not (server.results / ".ledger" / "result.tmp").exists()


def is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size > 100


@pytest.fixture(scope="module")
def running(backend: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("damaged"), **backend) as server:
        yield server


@pytest.mark.parametrize("name", [name for name in DAMAGE if name != "a dangling link"])
def test_a_damaged_result_is_never_read_and_is_computed_again_under_the_running_server(
    running: RunningServer, name: str
) -> None:
    job_id, before = answered(running)
    wait_for(lambda: ended_on_record(running, job_id), "the end is recorded")
    DAMAGE[name](place(running.results, job_id))
    answer = running.ask("GET", f"/api/get_results/{job_id}")
    assert answer.status == 200
    assert answer.json == {"status": "running"} or answer.content == before
    running.result(job_id)
    assert running.ask("GET", f"/api/get_results/{job_id}").content == before
    assert running.get("/api/num_jobs")["data"] == 0


def ended_on_record(server: RunningServer, job_id: int) -> bool:
    with closing(sqlite3.connect(server.results / ".ledger/ledger.sqlite3")) as ledger:
        ((ended_at,),) = ledger.execute("SELECT ended_at FROM jobs WHERE id = ?", [job_id])
    return ended_at is not None


def test_what_is_not_a_result_does_not_keep_a_job_from_its_place(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        next_id = server.submit("echo") + 1
        secret = tmp_path / "secret"
        secret.write_text("not for clients")
        put_a_folder(place(server.results, next_id))
        place(server.results, next_id + 1).symlink_to(secret)
        assert server.data("echo", value="in the folder's place") == "in the folder's place"
        assert server.data("echo", value="in the link's place") == "in the link's place"
        assert secret.read_text() == "not for clients"


def test_a_torn_ledger_stops_the_start_and_is_left_as_it_is(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        server.result(server.submit("echo"))
        assert server.stop() == 0
    ledger = server.results / ".ledger" / "ledger.sqlite3"
    torn = b"SQLite format 3\x00" + os.urandom(5000)
    ledger.write_bytes(torn)
    with running_server(tmp_path, configuration=FOR_TESTS, wait=False) as server:
        assert server.exit_code() != 0
        assert f"cannot open the ledger {ledger}" in server.errors.read_text()
        assert ledger.read_bytes() == torn
        wait_for(lambda: not server.processes(), "no process is left")


# -- who holds the folder -------------------------------------------------------------


def test_a_folder_is_free_as_soon_as_its_holder_is_killed(tmp_path: Path) -> None:
    with running_server(tmp_path / "first", configuration=FOR_TESTS) as first:
        job_id = first.submit("pause", seconds=0.5, value="kept")
        settings = {"SPORTIV_RESULTS_DIR": str(first.results)}
        with running_server(tmp_path / "second", wait=False, **settings) as second:
            assert second.exit_code() != 0
            holder = (first.results / ".ledger" / "lock").read_text().strip()
            assert f"held by another server, process {holder}" in second.errors.read_text()
        first.kill()
        assert first.process.returncode == -signal.SIGKILL
        with running_server(tmp_path / "third", configuration=FOR_TESTS, **settings) as third:
            assert third.result(job_id)["data"] == "kept"


# -- many jobs ------------------------------------------------------------------------

MANY = 100_000


def test_a_hundred_thousand_ended_jobs_make_no_start_and_no_list_longer(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        assert server.data("echo", value=1) == 1
        small = resident(server)
        assert server.stop() == 0
    add_ended_jobs(server.results, MANY, ended_at=time.time())
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        assert server.data("echo", value=2) == 2
        page = server.get("/api/jobs")
        assert len(page["data"]) <= 10_000
        listed = len(page["data"])
        while "next" in page:
            page = server.get(page["next"])
            assert len(page["data"]) <= 10_000
            listed += len(page["data"])
        assert listed == MANY + 2
        assert server.get("/api/history?limit=1")["data"][0]["job_id"] == MANY + 2
        assert server.get("/api/history?status=failed") == {"status": "done", "data": []}
        assert server.get(f"/api/get_results/{MANY // 2}") == {"status": "done", "data": 0}
        wait_for(lambda: server.get("/api/num_jobs")["data"] == 0, "nothing is computed again")
        assert resident(server) < small + 32 * 2**20, "memory grows with the jobs of the past"
        assert server.stop() == 0
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_MAX_RESULTS="1000") as server:
        wait_for(lambda: len(server.get("/api/jobs")["data"]) == 1000, "old jobs go", 120)
        assert server.get("/api/jobs")["data"][-1] == {f"job_id_{MANY + 2}": "done"}
        wait_for(lambda: number_of_files(server) <= 1000, "so do their files")
        assert server.data("echo", value=3) == 3


def test_results_go_when_their_time_is_over(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_RESULT_TTL="1") as server:
        job_id = server.submit("echo", value=1)
        wait_for(lambda: place(server.results, job_id).exists(), "the result")
        wait_for(lambda: not place(server.results, job_id).exists(), "its time is over")
        wait_for(lambda: server.get("/api/jobs")["data"] == [], "so is that of its record")
        assert server.ask("GET", f"/api/get_results/{job_id}").status == 404
        assert server.submit("echo") == job_id + 1


def number_of_files(server: RunningServer) -> int:
    return len(list(server.results.glob("*.json")))


def resident(server: RunningServer) -> int:
    """The memory in bytes of the process that serves."""
    pid = int((server.results / ".ledger" / "lock").read_text())
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return 1024 * int(line.split()[1])


def add_ended_jobs(results: Path, upto: int, ended_at: float) -> None:
    """Jobs that an earlier server has ended, as it would have left them, up to id `upto` + 1.

    Only each hundredth has a file, which is what takes time here.
    """
    content = json.dumps({"status": "done", "data": 0}, separators=(",", ":")).encode()
    mark = checksum(content)
    with closing(sqlite3.connect(results / ".ledger" / "ledger.sqlite3")) as ledger:
        (last,) = ledger.execute("SELECT max(id) FROM jobs").fetchone()
        ids = range(last + 1, upto + 2)
        ledger.executemany(
            "INSERT INTO jobs (id, statistic, request, fingerprint, state, accepted_at,"
            " ended_at, checksum) VALUES (?, 'echo', '{}', 'f', 'done', ?, ?, ?)",
            [(job_id, ended_at, ended_at - upto + job_id, mark) for job_id in ids],
        )
        ledger.commit()
    for job_id in ids:
        if job_id % 100 == 0 or job_id > upto - 1000:
            place(results, job_id).write_bytes(content)
