"""How soon a killed worker is replaced, in an idle pool: from the signal until another is ready."""

import os
import signal
import time
from collections.abc import Iterator

from benchmarks.measure import Chart, Comparison, Effort, Figure, Goal, silent
from benchmarks.pool_tasks import Counter, open_pool
from server.process_pool import ProcessPool

KILLS = 40


def measure(effort: Effort) -> Iterator[Comparison]:
    """The milliseconds from the signal to a pool that is whole again, and how they are spread."""
    with silent(), open_pool(Counter(), workers=2) as pool:  # it would tell of every death
        took = []
        for kill in range(KILLS):
            effort.tell(f"kill {kill + 1} of {KILLS}")
            took.append(_seconds(pool.workers()[0].pid, pool) * 1000)
    figure = Figure(f"{KILLS} kills", tuple(took))
    yield Comparison(
        "replacement",
        "A killed worker replaced and ready, idle pool",
        "ms",
        (figure,),
        (Goal("median against 50 ms", figure.median / 50, at_most=1.0),),
        chart=Chart.NONE,
    )


def _seconds(victim: int, pool: ProcessPool) -> float:
    begun = time.perf_counter()
    os.kill(victim, signal.SIGKILL)
    while not _is_whole(victim, pool):
        time.sleep(0.0002)
    return time.perf_counter() - begun


def _is_whole(victim: int, pool: ProcessPool) -> bool:
    workers = pool.workers()
    return [each.state for each in workers] == ["idle", "idle"] and victim not in {
        each.pid for each in workers
    }
