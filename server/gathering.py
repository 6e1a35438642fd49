"""The tasks of one job: which part goes out next, and what becomes of what comes back.

    parts ─ PARTIAL ─▶ partials ─ MERGE, FAN_IN neighbours each ─▶ fewer partials ─ COMBINE ─▶ data

State only: no I/O, no clock, no thread. Which partials are merged with which follows from
their places alone, so that the digits do not depend on who computed what and when. Only some
parts are out at a time, so that a job of very many takes no more memory than one of few.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec
from msgspec import Raw

from server.messages import TaskKind
from server.pool import LONGEST_TASK
from server.stats.statistic import Json

FAN_IN = 64
"""How many partials are merged into one, and as many as that are combined at most."""


MOST_KEPT = LONGEST_TASK
"""How many bytes the partials may have together that are kept for a job: what one task may."""


class TooMuchKept(Exception):
    """The partials of a job are too many to be kept and combined; the text says so."""


class Step(msgspec.Struct, frozen=True):
    """What a worker is to do next for the job; no other step of it has the same number."""

    number: int
    kind: TaskKind
    work: Raw


class Gathering:
    """What has gone out and what has come back, of a job with these `parts`.

    Without `merges` all partials are combined at once. Not safe for several threads.
    """

    def __init__(self, parts: Sequence[Json], *, merges: bool, ahead: int) -> None:
        self._parts = parts
        self._ahead = ahead
        self._sent = 0
        self._done = 0
        self._kept = 0  # bytes
        # Level 0 holds the partials of the parts, level 1 what FAN_IN of those become, ...
        widths = [len(parts)]
        while merges and widths[-1] > FAN_IN:
            widths.append(-(-widths[-1] // FAN_IN))
        self._widths = widths
        self._firsts = [0, *accumulate(widths)]  # the number of the first step of each level
        self._open: dict[tuple[int, int], dict[int, Raw]] = {}  # (level, run) → partials by place

    @property
    def progress(self) -> float:
        """The share of the parts that are done, from 0 to 1."""
        return self._done / len(self._parts) if len(self._parts) else 1.0

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self._parts)

    def begin(self) -> Iterator[Step]:
        """The first steps."""
        match len(self._parts):
            case 0:
                yield Step(0, TaskKind.COMBINE, Raw(b"[]"))
            case 1:
                self._sent = 1
                yield Step(0, TaskKind.WHOLE, _encoded(self._parts[0]))
            case _:
                while self._sent < min(self._ahead, len(self._parts)):
                    yield self._next_part()

    def arrived(self, number: int, partial: Raw) -> Iterator[Step]:
        """The steps that a partial makes possible; `number` is that of the step it is of.

        The end of the last step, which is of kind WHOLE or COMBINE, is not told here. Raises
        TooMuchKept where all that is kept would be more than MOST_KEPT.
        """
        self._kept += len(memoryview(partial))
        if self._kept > MOST_KEPT:
            self._open.clear()
            raise TooMuchKept(f"its partial results have more than {MOST_KEPT} bytes together")
        level = next(n for n, first in enumerate(self._firsts[1:]) if number < first)
        if level == 0:
            self._done += 1
            if self._sent < len(self._parts):
                yield self._next_part()
        yield from self._gather(level, number - self._firsts[level], partial)

    def _next_part(self) -> Step:
        number = self._sent
        self._sent += 1
        return Step(number, TaskKind.PARTIAL, _encoded(self._parts[number]))

    def _gather(self, level: int, place: int, partial: Raw) -> Iterator[Step]:
        """Keep the partial with its neighbours; the step for them when they are all there."""
        width, last = self._widths[level], level == len(self._widths) - 1
        length = width if last else FAN_IN
        run = place // length
        neighbours = self._open.setdefault((level, run), {})
        neighbours[place] = partial
        places = range(run * length, min((run + 1) * length, width))
        if len(neighbours) < len(places):
            return
        del self._open[level, run]
        kind = TaskKind.COMBINE if last else TaskKind.MERGE
        self._kept -= sum(len(memoryview(each)) for each in neighbours.values())
        work = _encoded([neighbours[each] for each in places])
        yield Step(self._firsts[level + 1] + run, kind, work)


def _encoded(value: Json) -> Raw:
    return Raw(msgspec.json.encode(value))
