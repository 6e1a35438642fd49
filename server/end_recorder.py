"""The recorder thread: tells the ledger, many at a time, which jobs have ended.

A result is readable as soon as its file is in place. The ledger is told a little later, when
the files of a whole batch have been flushed at once; a crash before that runs those jobs
again at the next start, to the same digits. That a job failed or was cancelled is told at
once, because nobody hears of it before the ledger does.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from server.errors import StorageError
from server.job_state import JobState
from server.ledger import Ledger
from server.ledger_schema import Ending
from server.result_store import ResultStore

BATCH_SECONDS = 0.25
"""How long an ending waits for others of its kind."""

RETRY_SECONDS = 1.0
"""How long to wait after the disk has refused, until the next try."""

log = logging.getLogger("sportiv.results")


class EndRecorder:
    """Owns the recorder thread. A context manager: leaving it records what is left, then stops.

    With `flush` the files of the jobs are flushed before the ledger counts on them.
    `on_recorded` is called from the recorder thread for what the ledger knows.
    """

    def __init__(
        self,
        store: ResultStore,
        ledger: Ledger,
        *,
        flush: bool,
        on_recorded: Callable[[Sequence[Ending]], None],
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._flush = flush
        self._on_recorded = on_recorded
        self._queue: queue.SimpleQueue[Ending | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._urgent = threading.Event()  # somebody waits for what is in the queue
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

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
        self._urgent.set()
        self._queue.put(None)
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread is at work, as it is until this is left."""
        return self._thread.is_alive()

    def put(self, ending: Ending) -> None:
        """A job's final file is in place: record its end soon, or now if it did not end well."""
        self._queue.put(ending)
        if ending.state is not JobState.DONE:
            self._urgent.set()

    def _run(self) -> None:
        while self._record_batch():
            pass

    def _record_batch(self) -> bool:
        """Wait for an ending, gather its like, record them; False once all is recorded."""
        batch = [self._queue.get()]
        self._urgent.wait(BATCH_SECONDS)
        if not self._closing.is_set():
            self._urgent.clear()
        while not self._queue.empty():
            batch.append(self._queue.get())
        endings = [ending for ending in batch if ending is not None]
        while endings and not self._record(endings):
            if self._closing.wait(RETRY_SECONDS):
                return False  # the next start computes them again
        return len(endings) == len(batch)

    def _record(self, endings: Sequence[Ending]) -> bool:
        try:
            if self._flush:
                self._store.flush(ending.id for ending in endings)
            self._ledger.end(endings)
        except (OSError, StorageError) as error:
            log.error("%d ended jobs are not recorded yet: %s", len(endings), error)
            return False
        self._on_recorded(endings)
        return True
