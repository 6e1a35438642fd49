"""The server over a Dask cluster, as its users meet it: nothing is different."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dask_cluster import DaskCluster, dask_cluster
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

HEAVY = {
    "question": "Percent of adults aged 18 years and older who have obesity",
    "n_resamples": 100_000,
    "seed": 11,
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler and two workers."""
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def server(cluster: DaskCluster, tmp_path: Path) -> Iterator[RunningServer]:
    """A server that knows the statistics that misbehave on demand."""
    settings = {"configuration": FOR_TESTS, **cluster.settings}
    with running_server(tmp_path, **settings) as running:
        wait_for(lambda: len(workers(running)) == 2, "both workers are ready")
        yield running


def workers(server: RunningServer) -> list[int]:
    there = server.get("/api/pool")["data"]["workers"]
    return [each["pid"] for each in there if each["state"] in ("idle", "busy")]


def test_a_worker_need_not_fault_in_again_what_a_part_has_freed(server: RunningServer) -> None:
    """As with local processes: each part of a resampling takes the memory of the one before."""
    server.data("bootstrap_ci", **HEAVY | {"n_resamples": 20_000})
    there = workers(server)
    before = sum(map(page_faults, there))
    assert len(server.data("bootstrap_ci", **HEAVY)) > 0
    assert sum(map(page_faults, there)) - before < 20_000  # without that they are a million


def page_faults(pid: int) -> int:
    """How many pages the process has had to ask the kernel for."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def test_a_job_of_many_parts_comes_on_and_a_cancelled_one_ends_at_once(
    server: RunningServer,
) -> None:
    job = server.submit("bootstrap_ci", **HEAVY)
    for part_of_it in (0.0, 0.2, 0.5):
        wait_for(
            lambda: server.get(f"/api/get_results/{job}").get("progress", 1.0) > part_of_it,  # noqa: B023
            "it comes on",
        )
    assert server.result(job)["status"] == "done"
    job = server.submit("bootstrap_ci", **HEAVY | {"n_resamples": 5_000_000})
    wait_for(lambda: server.get(f"/api/get_results/{job}")["progress"] > 0, "it has begun")
    assert server.ask("DELETE", f"/api/jobs/{job}").status == 200
    assert server.get(f"/api/get_results/{job}") == {"status": "error", "reason": "cancelled"}
    assert server.data("echo", value="free again") == "free again"


def test_a_job_that_hangs_or_fails_says_so_and_the_next_one_is_computed(
    server: RunningServer, tmp_path: Path
) -> None:
    job = server.submit("wait_for_file", path=str(tmp_path / "gate"), timeout_s=0.5)
    assert server.result(job) == {"status": "error", "reason": "time limit of 0.5 s"}
    job = server.submit("fail", value="well chosen words")
    assert server.result(job)["reason"] == "ValueError: well chosen words"
    wait_for(lambda: "Traceback" in server.log(), "the log tells where it failed")
    assert server.data("echo", value=1) == 1


def test_sigterm_ends_what_was_accepted_and_leaves_the_workers_to_others(
    server: RunningServer, tmp_path: Path
) -> None:
    before = workers(server)
    gate = tmp_path / "gate"
    job = server.submit("wait_for_file", path=str(gate), value=1)
    wait_for(Path(f"{gate}.begun").exists, "the job has begun")
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: server.ask("POST", "/api/echo", {}).status == 503, "it drains")
    gate.touch()
    assert server.exit_code() == 0
    assert (server.results / f"job_id_{job}.json").read_text() == '{"status":"done","data":1}'
    assert all(Path(f"/proc/{pid}").exists() for pid in before)


def test_without_a_worker_the_server_starts_says_that_it_is_degraded_and_recovers(
    tmp_path: Path,
) -> None:
    with dask_cluster(tmp_path / "dask", workers=0) as cluster:
        settings = {"configuration": FOR_TESTS, **cluster.settings}
        with running_server(tmp_path, **settings, wait=False) as server:
            wait_for(lambda: server.errors.exists() and listening(server), "it listens")
            wait_for(lambda: server.ask("GET", "/healthz").status == 503, "it is degraded")
            accepted = server.submit("echo", value=2)
            wait_for(lambda: server.ask("POST", "/api/echo", {}).status == 503, "it is known")
            assert server.get(f"/api/get_results/{accepted}")["status"] == "running"
            cluster.start_worker()
            wait_for(lambda: server.ask("GET", "/healthz").status == 200, "it is whole")
            assert server.result(accepted)["data"] == 2


def listening(server: RunningServer) -> bool:
    try:
        return server.ask("GET", "/healthz").status > 0
    except OSError:
        return False


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "SPORTIV_BACKEND=dask needs SPORTIV_DASK_SCHEDULER=tcp://host:port"),
        ({"SPORTIV_DASK_SCHEDULER": "host:1"}, "SPORTIV_DASK_SCHEDULER='host:1' is not allowed"),
    ],
)
def test_a_start_without_the_schedulers_address_is_refused_in_one_sentence(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    with running_server(tmp_path, wait=False, SPORTIV_BACKEND="dask", **settings) as server:
        assert server.exit_code() != 0
        assert words in server.errors.read_text()
