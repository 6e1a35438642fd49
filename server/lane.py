"""A thread that deals with all that has come since its last turn at once."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger("sportiv.http")


def _never() -> float | None:
    """When nothing is due but what comes."""
    return None


class Lane(Generic[T]):
    """Owns its thread, which begins with `start`. Safe for any number of threads.

    `turn(items)` is called from the thread, with everything that was put since the last
    time; without anything where `seconds_to_due()` have passed before something came. What
    it raises is logged, and the thread goes on.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[list[T]], None],
        seconds_to_due: Callable[[], float | None] = _never,
    ) -> None:
        self._turn = turn
        self._seconds_to_due = seconds_to_due
        self._queue: queue.SimpleQueue[Sequence[T]] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards `closed`
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.closed = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, items: Sequence[T]) -> bool:
        """Have the items dealt with; False where it is too late for that."""
        with self._lock:
            if not self.closed:
                self._queue.put(items)
            return not self.closed

    def close(self) -> None:
        """Take nothing more, and return when all that was put has been dealt with."""
        with self._lock:
            self.closed = True
            self._queue.put(())
        self._thread.join()

    def _run(self) -> None:
        while not (self.closed and self._queue.empty()):
            try:
                items = list(self._queue.get(timeout=self._seconds_to_due()))
            except queue.Empty:
                items = []
            while not self._queue.empty():
                items += self._queue.get()
            try:
                self._turn(items)
            except Exception:
                log.critical("%s: a turn has failed", self._thread.name, exc_info=True)
