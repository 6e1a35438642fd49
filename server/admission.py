"""How many jobs there may be, whether new ones are welcome, and who waits for them to end."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from server.drain_rate import DrainRate
from server.errors import QueueFull, ShuttingDown


class Admission:
    """Counts the jobs that have not ended, at most `most`, and the clients that wait for one.

    At most `waiters` clients wait at a time. Safe for any number of threads.
    """

    def __init__(self, most: int, waiters: int) -> None:
        self._most = most
        self._waiters = waiters
        self._changed = threading.Condition()  # guards all below
        self._unfinished = 0
        self._waiting = 0
        self._ended = 0
        self._drain_rate = DrainRate()
        self._draining = False
        self._hurried = False

    # -- jobs come and go -------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        """How many jobs have not ended."""
        with self._changed:
            return self._unfinished

    @property
    def ended_since_start(self) -> int:
        """How many jobs have ended, also those whose answer was known; it never decreases."""
        with self._changed:
            return self._ended

    def reserve(self, count: int) -> None:
        """Let so many new jobs in; ShuttingDown or QueueFull where they may not come."""
        with self._changed:
            if self._draining:
                raise ShuttingDown
            if self._unfinished + count > self._most:
                room = max(count, self._most // 10)
                wait = self._drain_rate.seconds_for(room, time.monotonic())
                raise QueueFull(self._unfinished, wait)
            self._let_in(count)

    def readmit(self) -> bool:
        """Let a job in that was accepted before; False where it is left to the next server."""
        with self._changed:
            if not self._draining:
                self._let_in(1)
            return not self._draining

    def _let_in(self, count: int) -> None:
        if not self._unfinished:
            self._drain_rate.begun(time.monotonic())
        self._unfinished += count

    def release(self, count: int = 1) -> None:
        """So many jobs that were let in have not come after all."""
        with self._changed:
            self._unfinished -= count
            self._changed.notify_all()

    def ended(self) -> None:
        """A job has ended for everyone."""
        with self._changed:
            self._unfinished -= 1
            self._ended += 1
            self._drain_rate.ended(time.monotonic())
            self._changed.notify_all()

    @contextmanager
    def waiting(self) -> Iterator[bool]:
        """Gives whether a client may wait now; while it does, it counts."""
        with self._changed:
            allowed = self._waiting < self._waiters
            self._waiting += allowed
        try:
            yield allowed
        finally:
            with self._changed:
                self._waiting -= allowed

    # -- the end ----------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether new jobs are refused."""
        with self._changed:
            return self._draining

    def begin_to_drain(self) -> bool:
        """Let nobody in from now on; whether this is the first time that it is said."""
        with self._changed:
            first, self._draining = not self._draining, True
            return first

    def wait_until_drained(self, timeout: float | None) -> bool:
        """Wait until no job is left, at most `timeout` seconds; whether none is."""
        with self._changed:
            self._changed.wait_for(lambda: self._unfinished == 0 or self._hurried, timeout)
            return self._unfinished == 0

    def hurry(self) -> None:
        """Let nobody wait any longer for jobs to end."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
