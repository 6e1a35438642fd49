"""How fast jobs end, as measured of late: what a client that was refused is told to wait."""

import math
from collections import deque

MOST = 256
"""How many ends are remembered."""

SPAN = 60.0
"""Ends that lie further back than so many seconds say nothing about now."""

SHORTEST, LONGEST = 1, 300
"""The bounds of what a client is told, in seconds."""


class DrainRate:
    """When there were jobs again, and when the last of them ended, on the monotonic clock.

    Not for several threads.
    """

    def __init__(self) -> None:
        self._begun = -math.inf
        self._ends: deque[float] = deque(maxlen=MOST)

    def begun(self, now: float) -> None:
        """There are jobs again, where there were none: what ended before says nothing of these."""
        self._begun = now
        self._ends.clear()

    def ended(self, now: float) -> None:
        """One more job has ended."""
        self._ends.append(now)

    def seconds_for(self, count: int, now: float) -> int:
        """Whole seconds in which so many jobs will have ended, if it goes on as of late.

        Where none has ended of late, as if one did now.
        """
        while self._ends and self._ends[0] < now - SPAN:
            self._ends.popleft()
        since = self._ends[0] if len(self._ends) == MOST else max(self._begun, now - SPAN)
        each = (now - since) / max(1, len(self._ends))
        return min(max(SHORTEST, math.ceil(count * each)), LONGEST)
