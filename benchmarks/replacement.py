"""How soon a killed worker is replaced, in an idle pool: from the signal until another is ready."""

import logging
import os
import signal
import statistics
import time

from benchmarks.pool_tasks import Counter, open_pool
from server.process_pool import ProcessPool

KILLS = 40


def main() -> None:
    """Print the median, and the slowest of all."""
    logging.getLogger("sportiv").setLevel(logging.CRITICAL)  # which tells of every death
    with open_pool(Counter(), workers=2) as pool:
        took = [_seconds(pool.workers()[0].pid, pool) for _ in range(KILLS)]
    print(f"\nA killed worker replaced and ready, idle pool, {KILLS} times")
    print(f"  median {statistics.median(took) * 1000:.1f} ms, slowest {max(took) * 1000:.1f} ms")


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
