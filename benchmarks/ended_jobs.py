"""What a server costs that has ended many jobs: its start, a page of its list, its memory.

The jobs are put into the folder through the server's own ledger and store, each with its
file, so that the start has all of them to look at.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import Comparison, Effort, Figure
from benchmarks.scratch import new_folder
from server.job_state import JobState
from server.ledger import Ledger
from server.ledger_schema import Ending
from server.result_store import ResultStore, checksum
from server.runtime import PRIVATE
from server.settings import Durability
from tests.support.servers import RunningServer, running_server

MANY = 100_000
CONTENT = b'{"status":"done","data":{"global_mean":28.18620689655172}}'
BATCH = 1000


WHAT = (
    ("ended-jobs-start", "From the start of a server until it answers", "s"),
    ("ended-jobs-page", "A page of up to 10,000 jobs", "ms"),
    ("ended-jobs-result", "One result", "ms"),
    ("ended-jobs-memory", "The memory of the server", "MiB"),
)


def measure(effort: Effort) -> Iterator[Comparison]:
    """What each costs in a server without a past, and in one with a past."""
    new, old = new_folder(), new_folder()
    sides = {"none has ended": new, f"{MANY:,} have ended": old}
    _figures(old, effort)
    effort.tell(f"writing {MANY:,} results")
    _add_ended_jobs(old / "results", MANY)
    runs = [
        {side: _figures(folder, effort) for side, folder in sides.items()}
        for _ in range(effort.runs)
    ]
    for place, (name, title, unit) in enumerate(WHAT):
        figures = tuple(Figure(side, tuple(run[side][place] for run in runs)) for side in sides)
        yield Comparison(name, title, unit, figures)


def _figures(folder: Path, effort: Effort) -> tuple[float, float, float, float]:
    effort.tell("a server starts, and is asked")
    begun = time.perf_counter()
    with running_server(folder) as server:
        start = time.perf_counter() - begun
        page = _seconds(lambda: server.get("/api/jobs"))
        job_id = server.submit("global_mean", question=server.questions()[0])
        server.result(job_id)
        one = _seconds(lambda: server.get(f"/api/get_results/{job_id}"))
        memory = _resident(server)
        server.stop()
    return start, page * 1000, one * 1000, memory / 2**20


def _seconds(work: Callable[[], object]) -> float:
    """The median of five."""
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return sorted(took)[2]


def _resident(server: RunningServer) -> int:
    """The memory in bytes of the process that serves."""
    pid = (server.results / PRIVATE / "lock").read_text().strip()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _add_ended_jobs(results: Path, many: int) -> None:
    private = results / PRIVATE
    now = time.time()
    with (
        Ledger(private / "ledger.sqlite3", Durability.PROCESS) as ledger,
        ResultStore(results, private) as store,
    ):
        for _ in range(many // BATCH):
            ids = [ledger.accept("global_mean", "{}", "", now) for _ in range(BATCH)]
            for job_id in ids:
                store.write(job_id, CONTENT)
            ledger.end(
                [
                    Ending(
                        id=job_id,
                        state=JobState.DONE,
                        fingerprint="",
                        started_at=now,
                        ended_at=now,
                        checksum=checksum(CONTENT),
                    )
                    for job_id in ids
                ]
            )
