"""Run every benchmark, print its tables and write the report: `python -m benchmarks [NAME ...]`.

`QUICK=1` takes shorter runs and leaves the long ones out.
"""

import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from benchmarks.machine_facts import load, machine_facts
from benchmarks.measure import Comparison, Effort, Skipped
from benchmarks.report import write_report
from benchmarks.results import Report, Section
from benchmarks.terminal import print_comparison, print_goals

BENCHMARKS = {
    "pools": "Threads or processes? The same jobs on every pool",
    "pool_tasks": "Tiny tasks through a pool of processes",
    "replacement": "A killed worker is replaced",
    "stages": "Where a job's time goes",
    "spread_job": "One job on all cores",
    "http_posts": "Jobs accepted through HTTP",
    "http_clients": "1, 8 and 64 clients",
    "http_rivals": "Other designs behind HTTP",
    "queue_rivals": "Tiny jobs through other queues",
    "ended_jobs": "What a past of many jobs costs",
    "cluster": "Workers of a Dask cluster",
    "tables": "Tables from thousands of rows to millions",
}
"""Module and title of each, in the order of the report."""

LEFT_OUT = frozenset({"http_clients", "ended_jobs", "cluster"})
"""What a quick run of all has no time for."""


def main(names: list[str]) -> None:
    """Run the benchmarks named, or all."""
    quick = bool(os.environ.get("QUICK"))
    facts = machine_facts() | {"command": _command(names, quick), "load before": load()}
    every = [name for name in BENCHMARKS if not (quick and name in LEFT_OUT)]
    sections = list(_sections(names or every, quick))
    report = Report(facts | {"load after": load()}, tuple(sections))
    print_goals(report, print)
    print(f"\n{write_report(report)}")


def _sections(names: list[str], quick: bool) -> Iterator[Section]:
    with tqdm(names, bar_format="{desc:<66.66}{bar}{n}/{total}", disable=None) as progress:

        def tell(text: str) -> None:
            progress.set_description_str(text, refresh=False)
            progress.update(0)

        effort = Effort(seconds=0.05 if quick else 0.6, quick=quick, tell=tell)
        for name in progress:
            begun = time.perf_counter()
            comparisons: list[Comparison] = []
            why = ""
            try:
                for comparison in importlib.import_module(f"benchmarks.{name}").measure(effort):
                    comparisons.append(comparison)
                    print_comparison(comparison, progress.write)
            except Skipped as skipped:
                why = str(skipped)
                progress.write(f"{BENCHMARKS[name]}: skipped, {why}")
            seconds = time.perf_counter() - begun
            yield Section(name, BENCHMARKS[name], tuple(comparisons), why, seconds)


def _command(names: list[str], quick: bool) -> str:
    command = " ".join(["python -m benchmarks", *names]) if names else "make bench"
    return f"QUICK=1 {command}" if quick else command


if __name__ == "__main__":
    # Ends as by Ctrl-C: whatever a benchmark has started is in sessions of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main(sys.argv[1:])
