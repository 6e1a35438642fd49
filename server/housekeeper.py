"""The housekeeper thread: finds results that are damaged, and lets old ones go.

    at the start   every result that was recorded is compared with its checksum
    from then on   jobs that ended too long ago, and the oldest of too many, are removed

Both go through the ledger page by page, so that neither the memory nor the start of a server
depends on how many jobs it has ended.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from server.errors import StorageError
from server.job_state import JobState
from server.ledger import Ledger
from server.ledger_schema import JobRecord
from server.result_store import ResultStore, checksum
from server.settings import Settings

PAGE = 500
"""How many jobs are looked at, or removed, at a time."""

SWEEP_SECONDS = 1.0
"""How often old jobs are looked for."""

log = logging.getLogger("sportiv.results")


class Housekeeper:
    """Owns the housekeeper thread. A context manager: leaving it stops after the present page.

    `on_damaged(record)` is called from its thread for each job that was done and whose file
    is not what was written. A file that is gone is no damage: somebody did not want it.
    """

    def __init__(
        self,
        store: ResultStore,
        ledger: Ledger,
        settings: Settings,
        on_damaged: Callable[[JobRecord], object],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._settings = settings
        self._on_damaged = on_damaged
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._thread.join()

    # -- the housekeeper thread -------------------------------------------------------

    def _run(self) -> None:
        self._bear(self.check_results)
        while not self._closing.wait(SWEEP_SECONDS):
            self._bear(self.sweep)

    def _bear(self, work: Callable[[], None]) -> None:
        """Do `work`; what cannot be done now is done another time, if it can be then."""
        try:
            work()
        except (StorageError, OSError) as error:
            log.error("the results cannot be looked after now: %s", error)
        except Exception:
            log.exception("the results cannot be looked after now")

    def check_results(self) -> None:
        """Compare every result on record with its checksum."""
        after = 0
        while page := self._ledger.ended(after, PAGE):
            for record in page:
                if self._closing.is_set():
                    return
                if record.state is JobState.DONE and self._is_damaged(record):
                    self._on_damaged(record)
            after = page[-1].id

    def _is_damaged(self, record: JobRecord) -> bool:
        try:
            content = self._store.read(record.id)
        except OSError as error:
            log.error("job %d: its result cannot be looked at: %s", record.id, error)
            return False
        return content is not None and record.checksum not in (None, checksum(content))

    def sweep(self) -> None:
        """Remove the jobs that ended too long ago, and the oldest of too many."""
        horizon = time.time() - self._settings.result_ttl
        self._remove_while(lambda: self._ledger.ended_before(horizon, PAGE))
        surplus = self._ledger.count_ended() - self._settings.max_results
        while surplus > 0:
            removed = self._remove(self._ledger.first_ended(min(surplus, PAGE)))
            if not removed:
                return
            surplus -= removed

    def _remove_while(self, oldest: Callable[[], Sequence[int]]) -> None:
        while self._remove(oldest()):
            pass

    def _remove(self, job_ids: Sequence[int]) -> int:
        """Remove the files, then the records: what has no record has no file that counts."""
        if not job_ids or self._closing.is_set():
            return 0
        for job_id in job_ids:
            self._remove_file(job_id)
        self._ledger.remove(job_ids)
        log.info("removed %d old jobs, up to job %d", len(job_ids), max(job_ids))
        return len(job_ids)

    def _remove_file(self, job_id: int) -> None:
        """A file that cannot be removed keeps no other one; without a record it is nobody's."""
        try:
            self._store.remove(job_id)
        except OSError as error:
            log.error("job %d: its old result cannot be removed: %s", job_id, error)
