"""What other threads tell the supervisor: orders, and jobs to be cancelled."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterator

from server.pool import Order


class Inbox:
    """Filled by any thread, emptied by the supervisor, which owns it and closes it.

    Readable, for a selector, from when the supervisor is woken until it has `heard` that.
    Whoever holds the `turn` is at work on the pool, and looks here once more when it has
    given the turn back: so nobody has to be woken meanwhile.
    """

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self._arrived: deque[Order | int] = deque()
        self._woken = False
        self._wake_read, self._wake_write = os.pipe()

    # -- for any thread ---------------------------------------------------------------

    def __len__(self) -> int:
        """How much of it the supervisor has not taken yet."""
        return len(self._arrived)

    def put(self, arrived: Order | int) -> None:
        """An order, or the number of a job that is to be cancelled."""
        self._arrived.append(arrived)
        if not self.turn.locked():
            self.wake()

    def wake(self) -> None:
        """Let the supervisor go on, whatever it waits for."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):  # closed: nobody is left to be woken
                os.write(self._wake_write, b"w")

    # -- for the supervisor -----------------------------------------------------------

    def fileno(self) -> int:
        """What is readable when the supervisor is woken."""
        return self._wake_read

    def heard(self) -> None:
        """The supervisor is awake, and will look at all that is there."""
        os.read(self._wake_read, 64)
        self._woken = False

    def take(self) -> Iterator[Order | int]:
        """What has arrived, in its order."""
        while self._arrived:
            yield self._arrived.popleft()

    def silence(self) -> None:
        """From now on nobody writes to a descriptor that may soon be another's."""
        self._woken = True

    def close(self) -> None:
        """Close what it wakes by; it must be silent by then."""
        os.close(self._wake_write)
        os.close(self._wake_read)
