"""A Dask cluster: workers that die, hang, are cut off, join or differ, a scheduler that dies."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from server import dask_pool, dask_session, dask_staff
from server.dask_columns import MOST
from server.dask_pool import DaskPool
from server.errors import StartError
from server.table import Table
from tests.support.dask_cluster import HASTY, DaskCluster, dask_cluster, wait_for_workers
from tests.support.pools import (
    CATALOGUE,
    Bench,
    Recorder,
    alive,
    children,
    decoded,
    published,
    small_table,
    wait_until,
)
from tests.support.servers import FOR_TESTS, ROOT, running_server, wait_for

SENT = "sending the columns"
GONE = "does not offer the columns any more"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler and two workers, which each test leaves whole."""
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler alone, for one test."""
    with dask_cluster(tmp_path / "dask", workers=0) as cluster:
        yield cluster


@contextmanager
def pool_at(
    cluster: DaskCluster, folder: Path, *, table: Table | None = None, **options: Any
) -> Iterator[Bench]:
    """A pool over the cluster's workers."""
    heard = Recorder()
    options = {"catalogue": CATALOGUE, "columns": str(cluster.columns), **options}
    with published(table or small_table()) as region:
        options |= {"scheduler": cluster.address, "table_fd": region.fd}
        with DaskPool(heard, **options) as pool:
            yield Bench(pool, heard, folder)


@pytest.fixture
def bench(cluster: DaskCluster, tmp_path: Path) -> Iterator[Bench]:
    """A pool of the cluster's two workers, both ready."""
    with pool_at(cluster, tmp_path) as bench:
        bench.wait_until_whole()
        yield bench
        bench.wait_until_whole()


# -- workers that die or hang -------------------------------------------------------------


def test_a_worker_killed_while_it_computes_costs_its_task_one_attempt(bench: Bench) -> None:
    gate = bench.gate()
    job = bench.submit("wait_for_file", "well", path=gate.path)
    first = gate.begun()
    bench.heard.wait_until(lambda: bench.heard.started)
    os.kill(first, signal.SIGKILL)
    assert gate.begun(except_by=first) != first
    gate.open()
    outcome = bench.heard.wait_for(job)
    assert decoded(outcome) == "well"
    (attempt,) = outcome.attempts
    assert attempt.pid == first
    assert "lost its worker" in attempt.cause
    assert [task.job for task in bench.heard.started] == [job, job]
    bench.wait_until_whole(without={first})
    assert bench.pool.counts().retried == 1
    wait_until(lambda: bench.pool.counts().replaced == 1)


@pytest.mark.parametrize("statistic", ["segfault", "leave"])
def test_a_task_that_ends_its_worker_each_time_fails_and_tells_of_every_attempt(
    bench: Bench, statistic: str
) -> None:
    outcome = bench.run(statistic, 0, max_attempts=2)
    assert outcome.reason is not None
    assert outcome.reason.startswith("its worker died in each of 2 attempts")
    assert len(outcome.attempts) == 2
    assert bench.answer("echo", "next") == "next"


def test_attempts_are_counted_too_where_dask_gives_up_at_once(tmp_path: Path) -> None:
    never = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with (
        dask_cluster(tmp_path / "dask", 1, **never) as cluster,
        pool_at(cluster, tmp_path) as bench,
    ):
        bench.wait_until_whole(1)
        deadly, innocent = bench.submit("segfault", max_attempts=2), bench.submit("echo", "well")
        outcome = bench.heard.wait_for(deadly)
        assert len(outcome.attempts) == 2
        assert outcome.reason is not None
        assert outcome.reason.startswith("its worker died in each of 2 attempts")
        assert decoded(bench.heard.wait_for(innocent)) == "well"


def test_a_worker_that_computes_for_ever_is_killed_at_the_time_limit_and_replaced(
    bench: Bench,
) -> None:
    before = bench.pids()
    gate = bench.gate()
    job = bench.submit("spin", path=gate.path, seconds=60.0, time_limit=1.0)
    hung = gate.begun()
    assert bench.heard.wait_for(job).reason == "time limit of 1 s"
    wait_until(lambda: not alive(hung))
    assert bench.wait_until_whole(without={hung}) >= before - {hung}


def test_a_worker_that_cannot_even_say_that_it_has_begun_ends_itself(bench: Bench) -> None:
    gate = bench.gate()
    options = {"path": gate.path, "time_limit": 1.0, "max_attempts": 1}
    job = bench.submit("hold_interpreter", 10**11, **options)
    hung = gate.begun()
    reason = bench.heard.wait_for(job).reason
    assert reason is not None
    assert reason.startswith(("time limit of 1 s", "its worker died in each of 1 attempts"))
    wait_until(lambda: not alive(hung))


def test_a_stopped_worker_is_killed_at_the_time_limit_and_replaced(bench: Bench) -> None:
    gate = bench.gate()
    job = bench.submit("wait_for_file", path=gate.path, time_limit=1.0)
    stopped = gate.begun()
    bench.heard.wait_until(lambda: bench.heard.started)
    os.kill(stopped, signal.SIGSTOP)
    assert bench.heard.wait_for(job).reason == "time limit of 1 s"
    wait_until(lambda: not alive(stopped))
    bench.wait_until_whole(without={stopped})


def test_all_workers_killed_under_load_come_back_and_every_task_ends_once(bench: Bench) -> None:
    jobs = [bench.submit("pause", number, seconds=0.01) for number in range(100)]
    bench.heard.wait_until(lambda: len(bench.heard.ended) > 10)
    killed = bench.pids()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    outcomes = [bench.heard.wait_for(job) for job in jobs]
    assert [outcome.reason for outcome in outcomes] == [None] * 100
    assert len(bench.heard.ended) == 100
    bench.wait_until_whole(without=killed)


# -- columns ------------------------------------------------------------------------------


def test_columns_are_sent_once_to_a_folder_and_found_there_ever_after(
    own: DaskCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By workers that are there, one that joins, one that comes back, and another server's."""
    caplog.set_level("INFO")
    for _ in range(2):
        own.start_worker()
    with pool_at(own, tmp_path) as bench:
        bench.wait_until_whole(2)
        own.start_worker()
        before = bench.wait_until_whole(3)
        os.kill(min(before), signal.SIGKILL)
        bench.wait_until_whole(3, without={min(before)})
        gates = bench.hold_all()
        assert len({gate.begun() for gate in gates}) == 3, "each worker computes"
        for gate in gates:
            gate.open()
    with pool_at(own, tmp_path) as bench:
        assert bench.answer("first_value") == 1.0
    assert sum(SENT in record.message for record in caplog.records) == 1


def test_two_servers_with_different_tables_never_mix_them(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    """As does one that has died, and its successor over a table that has changed."""
    sums = {}
    with (
        pool_at(cluster, tmp_path) as one,
        pool_at(cluster, tmp_path, table=small_table(3)) as other,
    ):
        jobs = [(bench, bench.submit("value_sum")) for bench in (one, other) * 40]
        for bench, job in jobs:
            sums.setdefault(bench is one, set()).add(decoded(bench.heard.wait_for(job)))
    assert sums == {True: {small_table().value.sum()}, False: {small_table(3).value.sum()}}


def test_a_worker_that_has_too_many_tables_lets_go_of_one_and_takes_it_again_when_asked(
    own: DaskCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A table in use stays; one that is not goes first, and its server's tasks end all the same."""
    monkeypatch.setattr(dask_staff, "AGAIN_SECONDS", 0.2)
    own.start_worker()
    with pool_at(own, tmp_path) as bench:
        for repeats in range(2, MOST + 3):
            assert bench.answer("value_sum") == small_table().value.sum()
            with pool_at(own, tmp_path, table=small_table(repeats)) as other:
                assert other.answer("value_sum") == small_table(repeats).value.sum()
        assert GONE not in caplog.text
        for repeats in range(MOST + 3, 2 * MOST + 3):
            with pool_at(own, tmp_path, table=small_table(repeats)) as other:
                assert other.answer("value_sum") == small_table(repeats).value.sum()
        wait_until(lambda: GONE in caplog.text)
        assert bench.answer("value_sum") == small_table().value.sum()


def test_workers_of_a_host_map_the_same_pages_and_cannot_write_to_them(bench: Bench) -> None:
    mapped = [
        {
            (fields[1], fields[4])
            for fields in map(str.split, Path(f"/proc/{pid}/maps").read_text().splitlines())
            if fields[-1].endswith(".columns")
        }
        for pid in bench.pids()
    ]
    ours = mapped[0] & mapped[1]
    assert ours
    assert {permissions for permissions, _ in mapped[0] | mapped[1]} == {"r--s"}


# -- nobody to compute --------------------------------------------------------------------


def test_tasks_wait_for_a_worker_that_is_late(
    own: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_pool, "BLINK", 0.2)
    with pool_at(own, tmp_path) as bench:
        job = bench.submit("echo", "late")
        wait_until(lambda: bench.pool.trouble)
        assert bench.pool.trouble == f"the Dask scheduler at {own.address} has no worker"
        wait_until(lambda: bench.pool.waiting() == 1)
        assert (bench.pool.workers(), bench.heard.ended) == ([], [])
        own.start_worker()
        assert decoded(bench.heard.wait_for(job)) == "late"
        assert bench.pool.trouble is None


def test_tasks_wait_no_longer_than_they_may(own: DaskCluster, tmp_path: Path) -> None:
    with pool_at(own, tmp_path, patience=1.0) as bench:
        outcome = bench.run("echo")
        assert (outcome.reason, outcome.attempts) == ("no Dask worker for 1 s", ())


def test_a_start_without_a_scheduler_is_refused(
    own: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.end(own.started[0])
    monkeypatch.setattr(dask_pool, "START_SECONDS", 2.0)
    monkeypatch.setattr(dask_session, "CONNECT_SECONDS", 1.0)
    with pytest.raises(StartError, match=f"no computing by Dask at {own.address}: "):
        pool_at(own, tmp_path).__enter__()


# -- workers that do not fit --------------------------------------------------------------


def version_1_of(package: str, folder: Path) -> str:
    """A PYTHONPATH with which a package says that it is of another version."""
    metadata = folder / "other" / f"{package}-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    commands = distribution(package).read_text("entry_points.txt") or ""
    metadata.with_name("entry_points.txt").write_text(commands)
    return f"{folder / 'other'}:{ROOT}"


@pytest.mark.filterwarnings("ignore:Mismatched versions")
def test_a_start_with_none_but_workers_of_other_versions_is_refused(
    own: DaskCluster, tmp_path: Path
) -> None:
    own.start_worker(PYTHONPATH=version_1_of("numpy", tmp_path))
    wait_for_workers(own, 1)
    with pytest.raises(StartError, match=r"no worker can be used; tcp://.*numpy 1\.0 instead of"):
        pool_at(own, tmp_path).__enter__()


def test_a_worker_of_another_version_gets_no_task_and_is_told_of(
    own: DaskCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pool_at(own, tmp_path) as bench:
        own.start_worker(PYTHONPATH=version_1_of("numpy", tmp_path))
        wait_until(lambda: "numpy 1.0 instead of" in caplog.text)
        own.start_worker()
        bench.wait_until_whole(1)
        (fit,) = bench.pids()
        assert {bench.answer("pid") for _ in range(20)} == {fit}


@pytest.mark.filterwarnings("ignore:Mismatched versions")
def test_a_start_with_a_scheduler_of_another_version_is_refused(tmp_path: Path) -> None:
    other = version_1_of("distributed", tmp_path)
    with (
        dask_cluster(tmp_path / "dask", 0, PYTHONPATH=other) as cluster,
        pytest.raises(StartError, match=r"the scheduler does not fit: it has distributed 1\.0"),
    ):
        pool_at(cluster, tmp_path).__enter__()


def test_a_worker_that_lacks_the_statistics_is_told_of(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    wait_for_workers(cluster, 1)
    with pytest.raises(StartError, match="No module named 'nowhere'"):
        pool_at(cluster, tmp_path, catalogue="nowhere").__enter__()


# -- the scheduler ------------------------------------------------------------------------


def test_a_scheduler_that_is_killed_and_comes_back_gets_everything_again(
    own: DaskCluster, tmp_path: Path
) -> None:
    (scheduler,) = own.started
    own.start_worker()
    with pool_at(own, tmp_path) as bench:
        bench.wait_until_whole(1)
        assert bench.answer("echo") is None
        gate = bench.gate()
        jobs = [bench.submit("wait_for_file", path=gate.path) for _ in range(5)]
        first = gate.begun()
        own.end(scheduler)
        wait_until(lambda: bench.pool.workers() == [])
        own.start_scheduler()
        own.start_worker()
        gate.begun(except_by=first)
        gate.open()
        outcomes = [bench.heard.wait_for(job) for job in jobs]
        assert [(outcome.reason, outcome.attempts) for outcome in outcomes] == [(None, ())] * 5
        assert len(bench.heard.ended) == 6


# -- hosts that are cut off ---------------------------------------------------------------


def ip(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True, timeout=10)


@pytest.fixture
def cable() -> Iterator[str]:
    """A simulated host: a network namespace of this name, at 10.231.77.2 of a cable of its own."""
    name = f"sp{secrets.token_hex(4)}"
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and `ip`")
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError:
        pytest.skip("this system has no network namespaces")
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", "10.231.77.1/24", "dev", name)
        ip("link", "set", name, "up")
        for command in ("addr add 10.231.77.2/24 dev eth0", "link set eth0 up", "link set lo up"):
            ip("-n", name, *command.split())
        yield name
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "del", name)
        ip("netns", "del", name)


def test_what_a_host_was_at_that_is_cut_off_is_done_by_another(cable: str, tmp_path: Path) -> None:
    with dask_cluster(tmp_path / "dask", 0, "10.231.77.1", **HASTY) as cluster:
        inside = ("ip", "netns", "exec", cable)
        cluster.start_worker(host="10.231.77.2", inside=inside)
        with pool_at(cluster, tmp_path) as bench:
            (far,) = bench.wait_until_whole(1)
            gate = bench.gate()
            job = bench.submit("wait_for_file", "well", path=gate.path)
            assert gate.begun() == far
            cluster.start_worker(host="10.231.77.1")
            bench.wait_until_whole(2)
            ip("link", "set", cable, "down")
            assert gate.begun(except_by=far) != far
            gate.open()
            outcome = bench.heard.wait_for(job)
            assert (decoded(outcome), len(outcome.attempts)) == ("well", 1)


# -- the server ---------------------------------------------------------------------------


def test_a_server_and_its_scheduler_are_killed_and_every_accepted_job_ends(
    own: DaskCluster, tmp_path: Path
) -> None:
    (scheduler,) = own.started
    worker = own.start_worker()
    settings = {"configuration": FOR_TESTS, **own.settings}
    gate = tmp_path / "gate"
    with running_server(tmp_path, **settings) as server:
        hung = server.submit("wait_for_file", path=str(gate), value="ran", timeout_s=60.0)
        jobs = [server.submit("echo", value=number) for number in range(20)]
        wait_for(Path(f"{gate}.begun").exists, "the first job has begun")
        assert server.get("/api/pool")["data"]["backend"] == "dask"
        server.kill()
    own.end(scheduler)
    own.end(worker)
    own.start_scheduler()
    own.start_worker()
    gate.touch()
    with running_server(tmp_path, **settings) as server:
        assert server.result(hung)["data"] == "ran"
        assert [server.result(job)["data"] for job in jobs] == list(range(20))


def test_a_task_that_outlives_its_server_ends_its_worker_soon_and_costs_no_other_an_attempt(
    own: DaskCluster, tmp_path: Path
) -> None:
    nanny = own.start_worker()
    gate = tmp_path / "gate"
    once = {"SPORTIV_MAX_ATTEMPTS": "1", **own.settings}
    with (
        running_server(tmp_path / "other", configuration=FOR_TESTS, **once) as other,
        running_server(tmp_path, configuration=FOR_TESTS, **own.settings) as server,
    ):
        server.submit("wait_for_file", path=str(gate), timeout_s=300)
        wait_for(Path(f"{gate}.begun").exists, "the job has begun")
        hung = int(Path(f"{gate}.begun").read_text())
        behind = other.submit("echo", value="well")
        server.kill()
        assert other.result(behind) == {"status": "done", "data": "well"}
        assert other.get(f"/api/jobs/{behind}")["data"]["attempts"] == []
    assert not alive(hung)
    assert set(filter(alive, children(nanny.pid))) - {hung}
