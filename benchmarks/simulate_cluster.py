"""Ten, a hundred, a thousand workers: a simulation of what no machine at hand can show.

    python -m benchmarks.simulate_cluster

One job of many parts runs on a cluster. Its path is the server's own:

    front process ─ latency ─▶ scheduler ─ latency ─▶ a worker ─▶ scheduler ─▶ front process

What is assumed, and where a figure comes from:

- The front process and the scheduler do one thing at a time. For one task, there and back,
  the front takes FRONT and the scheduler SCHEDULER seconds: the time of a core that one task
  costs each, as `python -m benchmarks cluster` measures it. Everything waits its turn at both.
- A message takes LATENCY seconds, a quarter of the round trip that is measured there: Dask
  gathers messages for some milliseconds. Its length changes nothing: answers are short.
- A worker computes one part at a time. How long a part takes is drawn from an exponential
  distribution around its mean, cut off at four times that, with a fixed seed.
- As many tasks are with the cluster as the server would send: `slots * ahead`. A task goes to
  the worker that has the fewest, as Dask's scheduler would have it. None is moved later.
- No worker dies, and the columns are there.
"""

import sys
from collections.abc import Iterator
from heapq import heappop, heappush

import numpy as np

from server.dask_tasks import DEEPEST
from server.dask_tasks import LATENCY as AHEAD_SECONDS

FRONT = 0.00053
SCHEDULER = 0.00084
LATENCY = 0.0042
WORKERS = (10, 100, 1000)
MEANS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""How long a part takes in the mean, in seconds."""

PARTS_EACH = 40
"""How many parts there are for each worker."""

LONGEST = 4.0
"""No part takes longer than so many times the mean."""


class Desk:
    """Somebody who does one thing at a time, in the order in which they come."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def done(self, came: float, takes: float) -> float:
        """When what came then, and takes so long, is done."""
        self._free_at = max(self._free_at, came) + takes
        return self._free_at


def simulate(
    workers: int,
    mean: float,
    *,
    front: float = FRONT,
    scheduler: float = SCHEDULER,
    latency: float = LATENCY,
    parts: int | None = None,
) -> float:
    """The share of the workers' time that goes into parts, from the first to the last answer."""
    parts = parts or PARTS_EACH * workers
    draw = np.random.default_rng(1).exponential(mean, parts).clip(max=LONGEST * mean)
    ahead = min(2 + int(AHEAD_SECONDS / mean), DEEPEST)
    desk, office = Desk(), Desk()
    free_at, held = [0.0] * workers, [0] * workers
    events: list[tuple[float, int, int, int]] = []  # when, step, part, worker
    sent = 0

    def send(now: float) -> None:
        nonlocal sent
        if sent < parts:
            heappush(events, (desk.done(now, front / 2) + latency, 0, sent, -1))
            sent += 1

    for _ in range(min(parts, ahead * workers)):
        send(0.0)
    fewest = [(0, worker) for worker in range(workers)]
    end = 0.0
    while events:
        now, step, part, worker = heappop(events)
        if step == 0:  # at the scheduler, on the way out
            count, worker = heappop(fewest)
            while count != held[worker]:
                count, worker = heappop(fewest)
            held[worker] += 1
            heappush(fewest, (held[worker], worker))
            begun = max(office.done(now, scheduler / 2) + latency, free_at[worker])
            free_at[worker] = begun + draw[part]
            heappush(events, (free_at[worker] + latency, 1, part, worker))
        elif step == 1:  # at the scheduler, on the way back
            held[worker] -= 1
            heappush(fewest, (held[worker], worker))
            heappush(events, (office.done(now, scheduler / 2) + latency, 2, part, worker))
        else:  # at the front process
            end = desk.done(now, front / 2)
            send(end)
    return float(draw.sum() / workers / end)


def table() -> Iterator[str]:
    """The shares as a table in Markdown."""
    yield "| a part takes | " + " | ".join(f"{count:,} workers" for count in WORKERS) + " |"
    yield "| ---: |" + " ---: |" * len(WORKERS)
    for mean in MEANS:
        shares = (simulate(count, mean) for count in WORKERS)
        yield f"| {1000 * mean:g} ms | " + " | ".join(f"{share:.2f}" for share in shares) + " |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())
