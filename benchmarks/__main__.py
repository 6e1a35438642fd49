"""Run every benchmark and print its table; `QUICK=1` takes fewer rounds."""

import os
import platform

from benchmarks import ended_jobs, http_posts, pool_tasks, replacement, spread_job
from server.machine import Machine

if __name__ == "__main__":
    quick = bool(os.environ.get("QUICK"))
    rounds = 3 if quick else 7
    print(
        f"Python {platform.python_version()}, {Machine().cores()} cores, {platform.machine()}, "
        f"load {os.getloadavg()[0]:.2f}; medians of {rounds} rounds, the sides alternating"
    )
    pool_tasks.main(rounds)
    replacement.main()
    http_posts.main(rounds)
    spread_job.main(rounds)
    if not quick:
        ended_jobs.main()
