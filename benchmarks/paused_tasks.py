"""Statistics that take as long as their part says: by waiting, or by keeping a core busy."""

import time
from typing import Any

from server.stats.statistic import JobRequest, Statistic
from server.table import Table


def _pause(table: Table, request: Any, part: Any) -> int:
    """Wait for `part` milliseconds."""
    time.sleep(part / 1000)
    return 1


def _compute(table: Table, request: Any, part: Any) -> int:
    """Loop for `part` milliseconds of this process's own time."""
    end = time.process_time() + part / 1000
    while time.process_time() < end:
        pass
    return 1


STATISTICS = {
    "pause": Statistic("pause", "A part that waits.", JobRequest, _pause),
    "compute": Statistic("compute", "A part that computes.", JobRequest, _compute),
}
