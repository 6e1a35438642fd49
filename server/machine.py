"""What this process may use of the machine: cores and memory, where a container limits them too.

A control group bounds its processes, and each group above it does as well. Its files lie
under `/sys/fs/cgroup`, in one tree (version 2) or one for each controller (version 1); a
container may see only its own group, as the root of the tree.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")
NODES = Path("/sys/devices/system/node")

Cores = frozenset[int]


def cores_allowed() -> Cores:
    """The cores that this process may run on: its affinity, and so also its group's `cpuset`."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:  # a system without affinities
        return frozenset(range(os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the kernel tells what there is: `proc`, `groups`, `nodes` are its file systems."""

    proc: Path = PROC
    groups: Path = GROUPS
    nodes: Path = NODES
    allowed: Callable[[], Cores] = cores_allowed

    def cores(self) -> int:
        """How many cores this process may keep busy: at least 1.

        Those that it may run on, and no more than the control groups' quota of time fills
        (a quota of two and a half cores fills three).
        """
        quotas = [_quota(folder) for folder in self._folders("cpu")]
        bounds = map(math.ceil, filter(math.isfinite, quotas))
        return max(1, min(len(self.allowed()), *bounds, 2**31))

    def shares(self) -> list[tuple[Cores, int]]:
        """For each NUMA node that has cores for this process: these, and how many to keep busy.

        In all as many as `cores`, spread as evenly as the nodes are large: a quota of time is
        the process's wherever it runs. Where no nodes are told, all is one.
        """
        allowed = self.allowed()
        known = [allowed & _numbers(folder / "cpulist") for folder in self._node_folders()]
        nodes = [cores for cores in known if cores]
        if frozenset().union(*nodes) != allowed:
            nodes = [allowed]
        return list(zip(nodes, _spread(self.cores(), [len(node) for node in nodes]), strict=True))

    def _node_folders(self) -> list[Path]:
        folders = self.nodes.glob("node[0-9]*")
        return sorted(folders, key=lambda folder: int(folder.name.removeprefix("node")))

    def available_memory(self) -> int | None:
        """How many bytes can be taken before something has to be killed; None if not known.

        What the kernel could give without swapping, and no more than the control groups
        leave; memory that holds files which can be read again counts as free.
        """
        rooms = [_room(folder) for folder in self._folders("memory")]
        known = [room for room in (self._meminfo(), *rooms) if room is not None]
        return max(0, min(known)) if known else None

    def _meminfo(self) -> int | None:
        for line in _lines(self.proc / "meminfo"):
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
        return None

    def _folders(self, controller: str) -> Iterator[Path]:
        """The folders of the control groups that bound this process, innermost first."""
        for line in _lines(self.proc / "self" / "cgroup"):
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                tree = self.groups
            elif controller in controllers.split(","):
                tree = self.groups / controller
            else:
                continue
            inside = path.strip("/")
            while inside:
                yield tree / inside
                inside = inside.rpartition("/")[0]
            yield tree


def _spread(total: int, sizes: list[int]) -> list[int]:
    """`total` in whole numbers, in the proportion of the sizes: largest remainders first."""
    exact = [total * size / sum(sizes) for size in sizes]
    whole = [math.floor(part) for part in exact]
    by_rest = sorted(range(len(sizes)), key=lambda at: whole[at] - exact[at])
    for at in by_rest[: total - sum(whole)]:
        whole[at] += 1
    return whole


def _numbers(path: Path) -> Cores:
    """What a list of the kernel names: `0-2,5` is 0, 1, 2 and 5."""
    numbers: set[int] = set()
    for span in ",".join(_words(path)).split(","):
        first, _, last = span.partition("-")
        if first.isdigit():
            numbers |= set(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _quota(folder: Path) -> float:
    """How many cores the group's quota of time is worth; infinity where it has none."""
    match [*_words(folder / "cpu.max"), *_words(folder / "cpu.cfs_quota_us")]:
        case [quota, period] if quota.isdigit():  # version 2
            return int(quota) / int(period)
        case [quota] if quota.isdigit():  # version 1, where -1 says that there is none
            return int(quota) / int(_words(folder / "cpu.cfs_period_us")[0])
    return math.inf


def _room(folder: Path) -> int | None:
    """How many bytes the group may still take; None where it has no bound."""
    names = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for limit, usage, reclaimable in names:
        bound, used = _words(folder / limit), _words(folder / usage)
        if bound and used and bound[0].isdigit():
            statistics = dict(line.split() for line in _lines(folder / "memory.stat"))
            return int(bound[0]) - int(used[0]) + int(statistics.get(reclaimable, 0))
    return None


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
