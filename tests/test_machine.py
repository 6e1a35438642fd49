"""Cores and memory, as the kernel's files tell them: with control groups of both versions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.machine import Machine, cores_allowed

CORES = len(os.sched_getaffinity(0))
MIB = 2**20


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine whose files a test writes."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "cgroup").mkdir()
    return Machine(tmp_path / "proc", tmp_path / "cgroup")


def put(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def in_group(machine: Machine, lines: str) -> None:
    put(machine.proc, {"self/cgroup": lines})


# -- cores ----------------------------------------------------------------------------


def test_without_control_groups_it_may_use_the_cores_it_may_run_on(machine: Machine) -> None:
    assert machine.cores() == CORES


def test_a_process_that_is_pinned_to_one_core_has_one() -> None:
    command = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code = f"{command}; from server.machine import Machine; print(Machine().cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("100001 100000", min(2, CORES)),
        ("6400000 100000", CORES),
        ("max 100000", CORES),
        ("1000 100000", 1),
        ("", CORES),
    ],
)
def test_a_quota_of_version_2_bounds_the_cores(machine: Machine, quota: str, cores: int) -> None:
    in_group(machine, "0::/outer/inner\n")
    put(machine.groups, {"outer/inner/cpu.max": quota + "\n"})
    assert machine.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("-1", CORES), ("6400000", CORES)])
def test_a_quota_of_version_1_bounds_the_cores(machine: Machine, quota: str, cores: int) -> None:
    in_group(machine, "7:blkio:/\n3:cpu,cpuacct:/box\n0::/\n")
    put(machine.groups / "cpu", {"box/cpu.cfs_quota_us": quota, "box/cpu.cfs_period_us": "100000"})
    assert machine.cores() == cores


def test_the_group_above_bounds_too(machine: Machine) -> None:
    in_group(machine, "0::/outer/inner\n")
    put(machine.groups, {"outer/inner/cpu.max": "max 100000", "outer/cpu.max": "100000 100000"})
    assert machine.cores() == 1


def test_a_container_that_sees_its_own_group_as_the_root_is_bounded(machine: Machine) -> None:
    in_group(machine, "0::/../somewhere/else\n")
    put(machine.groups, {"cpu.max": "100000 100000", "memory.max": "1000", "memory.current": "1"})
    assert machine.cores() == 1
    assert machine.available_memory() == 999


# -- large machines -------------------------------------------------------------------


def large(machine: Machine, cores: int, nodes: list[str], quota: str = "max") -> Machine:
    """A machine of so many cores, on NUMA nodes that have these, with a quota of cores."""
    in_group(machine, "0::/box\n")
    put(machine.groups, {"box/cpu.max": f"{quota} 100000\n"})
    folder = machine.proc.parent / "node"
    put(folder, {f"node{number}/cpulist": f"{cpus}\n" for number, cpus in enumerate(nodes)})
    return Machine(machine.proc, machine.groups, folder, lambda: frozenset(range(cores)))


@pytest.mark.parametrize(
    ("cores", "nodes", "quota", "shares"),
    [
        (192, ["0-95", "96-191"], "max", [96, 96]),
        (192, ["0-47,96-143", "48-95,144-191"], "max", [96, 96]),
        (192, ["0-95", "96-191"], "6400000", [32, 32]),
        (192, ["0-95", "96-191"], "6450000", [33, 32]),
        (192, ["0-95", "96-191"], "100", [1, 0]),
        (96, ["0-95", "96-191"], "max", [96]),
        (100, ["0-95", "96-191"], "max", [96, 4]),
        (100, ["0-95", "96-191"], "5000000", [48, 2]),
        (256, ["0-63", "64-127", "128-191", "192-255"], "25000000", [63, 63, 62, 62]),
        (80, [], "max", [80]),
        (80, ["0-39"], "max", [80]),
        (80, ["0-79", ""], "max", [80]),
        (2000, ["0-1999"], "max", [2000]),
    ],
)
def test_the_cores_are_shared_out_among_the_nodes(
    machine: Machine, cores: int, nodes: list[str], quota: str, shares: list[int]
) -> None:
    there = large(machine, cores, nodes, quota)
    assert [count for _, count in there.shares()] == shares
    assert there.cores() == sum(shares)
    assert frozenset().union(*(ours for ours, _ in there.shares())) == there.allowed()


def test_more_than_64_cores_are_counted_whatever_their_numbers_are(machine: Machine) -> None:
    scattered = frozenset(range(0, 1000, 7))
    there = Machine(machine.proc, machine.groups, machine.nodes, lambda: scattered)
    assert there.cores() == len(scattered) == 143


def test_the_nodes_of_this_machine_have_all_its_cores() -> None:
    shares = Machine().shares()
    assert frozenset().union(*(cores for cores, _ in shares)) == cores_allowed()
    assert sum(count for _, count in shares) == Machine().cores()


# -- memory ---------------------------------------------------------------------------


def test_without_control_groups_the_kernel_s_estimate_counts(machine: Machine) -> None:
    put(machine.proc, {"meminfo": "MemTotal: 4096 kB\nMemAvailable:   2048 kB\n"})
    assert machine.available_memory() == 2 * MIB


def test_where_nothing_is_told_nothing_is_known(machine: Machine) -> None:
    assert machine.available_memory() is None


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("0::/box\n", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:memory:/box\n",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_a_group_leaves_what_is_not_in_use_and_files_count_as_free(
    machine: Machine, line: str, names: tuple[str, str, str]
) -> None:
    in_group(machine, line)
    put(machine.proc, {"meminfo": "MemAvailable: 1000000 kB\n"})
    tree = machine.groups / "memory" if "memory" in line else machine.groups
    limit, usage, files = names
    put(tree / "box", {limit: f"{64 * MIB}\n", usage: f"{40 * MIB}\n"})
    assert machine.available_memory() == 24 * MIB
    put(tree / "box", {"memory.stat": f"anon 5\n{files} {10 * MIB}\n"})
    assert machine.available_memory() == 34 * MIB
    put(tree / "box", {usage: f"{90 * MIB}\n"})
    assert machine.available_memory() == 0


def test_a_group_without_a_bound_leaves_all_there_is(machine: Machine) -> None:
    in_group(machine, "0::/box\n")
    put(machine.proc, {"meminfo": "MemAvailable: 2048 kB\n"})
    put(machine.groups / "box", {"memory.max": "max\n", "memory.current": "5\n"})
    assert machine.available_memory() == 2 * MIB


def test_this_machine_has_cores_and_memory() -> None:
    assert 1 <= Machine().cores() <= CORES
    assert (Machine().available_memory() or 0) > MIB
