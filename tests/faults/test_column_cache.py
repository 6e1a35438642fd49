"""A server that starts from kept columns answers as the one that parsed the table."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.servers import SHARED_COLUMNS, RunningServer, running_server, wait_for

QUESTION = "Percent of adults aged 18 years and older who have obesity"
CACHED = "come from the cache"
KEPT = "are kept for the next start"


@pytest.fixture(autouse=True)
def columns_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server keeps its columns where a server does that is told nothing."""
    monkeypatch.delenv(SHARED_COLUMNS)


def answers(server: RunningServer) -> str:
    """What the server says of a question by each way to compute it."""
    asked = ("states_mean", "best5", "mean_by_category", "bootstrap_ci")
    seeded = {"bootstrap_ci": {"seed": 1, "n_resamples": 99}}
    return json.dumps(
        [server.data(name, question=QUESTION, **seeded.get(name, {})) for name in asked]
    )


def kept(server: RunningServer) -> Path:
    """The cache file, once there is one."""
    wait_for(lambda: KEPT in server.log(), "the columns are kept")
    (path,) = (server.results / ".ledger" / "columns").iterdir()
    return path


def test_a_second_start_takes_the_columns_from_the_cache_and_answers_alike(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        before = answers(server)
        kept(server)
        assert CACHED not in server.log()
        assert server.stop() == 0
    with running_server(tmp_path) as server:
        assert CACHED in server.log()
        assert answers(server) == before


def test_a_cache_that_was_damaged_is_replaced_and_answers_alike(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        before = answers(server)
        path = kept(server)
        assert server.stop() == 0
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(8) + whole[len(whole) // 2 + 8 :])
    with running_server(tmp_path) as server:
        assert "are not believed: the columns are damaged" in server.log()
        assert CACHED not in server.log()
        assert answers(server) == before
        assert kept(server) == path


def test_an_emptied_results_folder_leaves_the_cache_alone(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        answers(server)
        path = kept(server)
        for result in server.results.glob("*"):
            if not result.name.startswith("."):
                result.unlink()
        server.kill()
    assert path.is_file()
    with running_server(tmp_path) as server:
        assert CACHED in server.log()


def test_without_a_cache_nothing_is_kept(tmp_path: Path) -> None:
    with running_server(tmp_path, SPORTIV_COLUMN_CACHE="0") as server:
        answers(server)
        assert not (server.results / ".ledger" / "columns").exists()
        assert "next start" not in server.log()


def test_a_cache_of_its_own_serves_servers_with_other_results(tmp_path: Path) -> None:
    setting = {"SPORTIV_COLUMN_CACHE": str(tmp_path / "columns")}
    with running_server(tmp_path / "one", **setting) as server:
        before = answers(server)
        wait_for(lambda: KEPT in server.log(), "the columns are kept")
        with running_server(tmp_path / "two", **setting) as other:
            assert CACHED in other.log()
            assert answers(other) == before


def test_everything_killed_while_it_starts_leaves_a_folder_that_the_next_start_can_use(
    tmp_path: Path,
) -> None:
    with running_server(tmp_path, wait=False) as server:
        columns = server.results / ".ledger" / "columns"
        wait_for(columns.is_dir, "the cache is open")
        os.killpg(server.process.pid, signal.SIGKILL)
        wait_for(lambda: not server.processes(), "no process is left")
    with running_server(tmp_path) as server:
        kept(server)
        assert server.stop() == 0
    with running_server(tmp_path) as server:
        assert CACHED in server.log()
