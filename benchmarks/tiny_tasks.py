"""A catalogue with one statistic that takes no time, for what a pool itself takes."""

from typing import Any

from server.stats.statistic import QuestionRequest, Statistic
from server.table import Table


def _nothing(table: Table, request: Any, part: Any) -> int:
    return 1


STATISTICS = {"nothing": Statistic("nothing", "A tiny task.", QuestionRequest, _nothing)}


def nothing(request: bytes) -> bytes:
    """The same tiny task, for other pools."""
    return b"1"


PLAIN = {"nothing": nothing}
"""What other pools are given instead: see `contenders.Place`."""
