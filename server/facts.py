"""What the server is and what it holds to: facts for whoever looks after it, and no secrets."""

import platform
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import server
from server.http_input import LONGEST_WAIT, MOST_IN_BATCH
from server.jobs import Jobs
from server.machine import Machine
from server.settings import Settings
from server.stats.statistic import Json, finite
from server.wire import MAX_BODY

LIBRARIES = (
    *("distributed", "flask", "gunicorn", "msgspec", "numpy", "polars", "prometheus_client"),
    *("scipy", "vl-convert-python"),
)
"""What the server and its helpers are made of."""


class Facts:
    """The facts about the server of `jobs`, which begins to serve now."""

    def __init__(self, jobs: Jobs, settings: Settings) -> None:
        self._jobs = jobs
        self._settings = settings
        self._started_at = time.time()

    def now(self) -> dict[str, Json]:
        """All of them, as they are at this moment."""
        settings = self._settings
        return {
            "version": server.__version__,
            "python": platform.python_version(),
            "libraries": _versions(),
            "backend": settings.backend,
            "workers": settings.workers,
            "cores": Machine().cores(),
            "durability": settings.durability,
            "started_at": self._started_at,
            "accepting": not self._jobs.draining,
            "needs_token": settings.token is not None,
            "open_reads": settings.open_reads,
            "table": self._table(),
            "limits": _limits(settings),
        }

    def _table(self) -> dict[str, Json]:
        catalogue = self._jobs.catalogue
        table, years = catalogue.table, catalogue.years
        return {
            "title": catalogue.title,
            "file": self._settings.data.name,
            "rows": table.rows,
            "questions": len(table.names.question),
            "states": len(table.names.location),
            "years": [years[0], years[-1]] if years else [],
            "fingerprint": table.fingerprint,
            "shared_bytes": self._jobs.shared_bytes,
        }


@cache
def _versions() -> dict[str, str]:
    """The version of each library that is installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _limits(settings: Settings) -> dict[str, Json]:
    """The bounds that clients may meet; times in seconds, sizes in bytes."""
    return {
        "max_queued": settings.max_queued,
        "job_timeout": settings.job_timeout,
        "max_attempts": settings.max_attempts,
        "worker_memory": settings.worker_memory,
        "worker_max_tasks": settings.worker_max_tasks,
        "drain_timeout": settings.drain_timeout,
        "receive_timeout": settings.receive_timeout,
        "result_ttl": finite(settings.result_ttl),
        "max_results": settings.max_results,
        "max_body": MAX_BODY,
        "max_batch": MOST_IN_BATCH,
        "max_wait": LONGEST_WAIT,
    }
