"""The commands that start Dask workers: one a node, as many processes as may be kept busy."""

from pathlib import Path

import pytest

from server.machine import Machine
from tools import dask_workers


def machine(folder: Path, nodes: list[str], cores: int) -> Machine:
    for number, cpus in enumerate(nodes):
        path = folder / "node" / f"node{number}" / "cpulist"
        path.parent.mkdir(parents=True)
        path.write_text(f"{cpus}\n")
    allowed = frozenset(range(cores))
    return Machine(folder / "proc", folder / "groups", folder / "node", lambda: allowed)


def test_a_host_of_one_node_has_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dask_workers.main(["tcp://h:1"], machine(tmp_path, ["0-7"], 8)) == 0
    printed = capsys.readouterr().out
    assert printed == "dask worker tcp://h:1 --nworkers 8 --nthreads 1 --no-dashboard\n"


def test_each_node_has_its_own_bound_to_its_cores(tmp_path: Path) -> None:
    two = machine(tmp_path, ["0-47,96-143", "48-95,144-191"], 190)
    first, second = dask_workers.commands("tcp://h:1", two)
    assert first.startswith("taskset -c 0-47,96-143 dask worker tcp://h:1 --nworkers 96 ")
    assert second.startswith("taskset -c 48-95,144-189 dask worker tcp://h:1 --nworkers 94 ")


def test_without_an_address_it_says_how_it_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dask_workers.main([], machine(tmp_path, [], 1)) == 2
    assert "tools.dask_workers tcp://host:port" in capsys.readouterr().err
