"""What only a server over a Dask cluster does; all else is as with others, see `backend`."""

from pathlib import Path

import pytest

from tests.support.dask_cluster import DaskCluster, dask_cluster
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

HEAVY = {
    "question": "Percent of adults aged 18 years and older who have obesity",
    "n_resamples": 100_000,
    "seed": 11,
}


def test_a_worker_need_not_fault_in_again_what_a_part_has_freed(
    dask_workers: DaskCluster, tmp_path: Path
) -> None:
    """As with local processes: each part of a resampling takes the memory of the one before."""
    with running_server(tmp_path, **dask_workers.settings) as server:
        server.wait_until_whole()
        server.data("bootstrap_ci", **HEAVY | {"n_resamples": 20_000})
        before = sum(map(page_faults, filter(None, server.worker_pids())))
        assert len(server.data("bootstrap_ci", **HEAVY)) > 0
        asked = sum(map(page_faults, filter(None, server.worker_pids()))) - before
    assert asked < 20_000, "half a million for each, where freed memory is given back"


def page_faults(pid: int) -> int:
    """How many pages the process has had to ask the kernel for."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def test_a_server_that_leaves_leaves_the_workers_to_others(
    dask_workers: DaskCluster, tmp_path: Path
) -> None:
    with running_server(tmp_path, **dask_workers.settings) as server:
        server.wait_until_whole()
        before = server.worker_pids()
        assert server.stop() == 0
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
