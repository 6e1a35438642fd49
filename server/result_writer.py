"""The writer thread: every result goes to disk here, and only then has its job ended.

    outcome ─▶ queue ─▶ writer ── lock of the job ─▶ file in place ─▶ `on_ended`: readable

A job that takes its time gets a file that says so, but never in the way of an answer. An
answer that the disk refuses is tried again for a while; then its job fails, without a file.
"""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from server.job_state import JobState
from server.ledger_schema import Ending
from server.result_locks import ResultLocks
from server.result_store import RUNNING, ResultStore, checksum

RUNNING_AFTER = 0.1
"""Seconds after which a job that has not ended gets a file that says so."""

RETRY_SECONDS = 1.0
"""How long to wait after the disk has refused a write, until the next try."""

GIVE_UP_SECONDS = 10.0
"""How long an answer is tried to be written before its job fails for it."""

log = logging.getLogger("sportiv.results")


class Answer(msgspec.Struct, frozen=True):
    """The final content of a job's file, and how the job ended."""

    ending: Ending
    content: bytes
    refused_at: float | None = None  # when the disk refused it first, on the monotonic clock


class ResultWriter:
    """Owns the writer thread. A context manager: leaving it writes what is queued, then stops.

    `on_ended(ending)` is called from the writer thread when a job's file is in place; with a
    failure instead, and no checksum, where the disk has refused it for GIVE_UP_SECONDS.
    """

    def __init__(
        self,
        store: ResultStore,
        locks: ResultLocks,
        on_ended: Callable[[Ending], None],
    ) -> None:
        self._store = store
        self._locks = locks
        self._on_ended = on_ended
        self._queue: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._expected: deque[tuple[float, int]] = deque()  # (due, job id), due ascending
        self._resting = False
        self._closing = False
        # Writer thread only.
        self._refused: list[Answer] = []  # answers that the disk did not take
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        self._queue.put(None)
        self._thread.join()

    def expect(self, job_id: int) -> None:
        """An answer for this job will come; until then, and not at once, its file says running."""
        self._expected.append((time.monotonic() + RUNNING_AFTER, job_id))
        if self._resting:
            self._queue.put(None)

    @property
    def alive(self) -> bool:
        """Whether the thread is at work, as it is until this is left."""
        return self._thread.is_alive()

    def put(self, answer: Answer) -> None:
        """Queue a job's final answer."""
        self._queue.put(answer)

    @property
    def refused(self) -> int:
        """How many answers the disk refuses at present."""
        return len(self._refused)

    # -- the writer thread ------------------------------------------------------------

    def _run(self) -> None:
        while True:
            answer = self._next()
            if answer is not None:
                self._write(answer)
            elif self._closing and self._queue.empty():
                self._retry_refused()
                return
            elif self._queue.empty():
                self._do_what_is_due(time.monotonic())

    def _next(self) -> Answer | None:
        """The next answer; None where something else is due first."""
        due = self._next_due()
        if due is None:
            self._resting = True
            if self._expected:  # it came before it could see that nobody watches
                due = self._expected[0][0]
        timeout = None if due is None else max(0.0, due - time.monotonic())
        try:
            return self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        finally:
            self._resting = False

    def _next_due(self) -> float | None:
        while self._expected and not self._locks.has(self._expected[0][1]):
            self._expected.popleft()
        due = [self._expected[0][0]] if self._expected else []
        if self._refused:
            due.append(self._retry_at)
        return min(due, default=None)

    def _do_what_is_due(self, now: float) -> None:
        if self._expected and self._expected[0][0] <= now:
            self._write_running(now)
        if self._refused and self._retry_at <= now:
            self._retry_refused()

    def _retry_refused(self) -> None:
        refused, self._refused = self._refused, []
        for answer in refused:
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        ending = answer.ending
        try:
            with self._locks.holding(ending.id):
                self._store.write(ending.id, answer.content)
                self._locks.discard(ending.id)
        except OSError as error:
            self._on_refusal(answer, error)
        else:
            self._on_ended(msgspec.structs.replace(ending, checksum=checksum(answer.content)))

    def _on_refusal(self, answer: Answer, error: OSError) -> None:
        """Try again a little later, or give the job up when that has gone on for long."""
        now = time.monotonic()
        job_id, since = answer.ending.id, answer.refused_at or now
        if now - since < GIVE_UP_SECONDS:
            log.error("job %d: its result cannot be written yet: %s", job_id, error)
            self._refused.append(msgspec.structs.replace(answer, refused_at=since))
            self._retry_at = now + RETRY_SECONDS
            return
        with self._locks.holding(job_id), contextlib.suppress(OSError):
            self._store.remove(job_id)  # if it says running
        self._locks.discard(job_id)
        reason = f"storage: its result cannot be written: {error.strerror or error}"
        ending = msgspec.structs.replace(answer.ending, state=JobState.FAILED, reason=reason)
        self._on_ended(ending)

    def _write_running(self, now: float) -> None:
        while self._expected and self._expected[0][0] <= now:
            _, job_id = self._expected.popleft()
            with self._locks.holding(job_id) as alive:
                if alive:
                    with contextlib.suppress(OSError):  # its answer will say it better
                        self._store.write(job_id, RUNNING)
