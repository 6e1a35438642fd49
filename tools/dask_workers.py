"""Print the commands that start Dask workers on this host: `python -m tools.dask_workers ADDRESS`.

One command per NUMA node, bound to the node's cores, with one process for each core that may
be kept busy: as affinity, cpuset and the control group's quota of time allow.
"""

import sys
from collections.abc import Iterator

from server.machine import Cores, Machine


def commands(scheduler: str, machine: Machine) -> Iterator[str]:
    """A line of shell for each node that has workers."""
    shares = [(cores, count) for cores, count in machine.shares() if count]
    for cores, count in shares:
        worker = f"dask worker {scheduler} --nworkers {count} --nthreads 1 --no-dashboard"
        yield worker if len(shares) == 1 else f"taskset -c {listed(cores)} {worker}"


def listed(cores: Cores) -> str:
    """The cores as `taskset` takes them: `0-2,5`."""
    spans: list[list[int]] = []
    for core in sorted(cores):
        if spans and core == spans[-1][1] + 1:
            spans[-1][1] = core
        else:
            spans.append([core, core])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)


def main(arguments: list[str], machine: Machine) -> int:
    """Print them; 2 where the scheduler's address is not given."""
    if len(arguments) != 1:
        print("usage: python -m tools.dask_workers tcp://host:port", file=sys.stderr)
        return 2
    for command in commands(arguments[0], machine):
        print(command)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Machine()))
