"""Statistics whose answers tell when a worker began and ended them, on the monotonic clock.

The clock is the same for all processes of a machine.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from server.stats import STATISTICS as REAL
from server.stats.statistic import Json, Statistic
from server.table import Table


def _timed(row: Statistic) -> Statistic:
    """The statistic with another answer: `{"begun": ..., "ended": ..., "data": ...}`."""

    def partial(table: Table, request: Any, part: Json) -> Json:
        begun = time.monotonic()
        return [begun, row.partial(table, request, part)]

    def combine(table: Table, request: Any, partials: Sequence[Json]) -> Json:
        (begun, value), *_ = partials
        data = row.combine(table, request, [value])
        return {"begun": begun, "ended": time.monotonic(), "data": data}

    return replace(row, partial=partial, combine=combine, merge=None)


STATISTICS = {name: _timed(REAL[name]) for name in ("global_mean", "bootstrap_ci")}
