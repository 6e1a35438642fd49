"""What a client reads, computed without a server: the plan, the parts, the merges, the end."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from server.stats.statistic import JobRequest, Json, Statistic
from server.table import Table


def answer(
    statistic: Statistic,
    table: Table,
    request: JobRequest,
    fan_in: int = 64,
    in_order: Callable[[Sequence[Json]], Sequence[Json]] = list,
) -> Any:
    """The data of a job, each partial sent through JSON as between processes.

    `in_order` says in which order the parts are computed.
    """
    parts = list(statistic.plan(table, request))
    found = {
        place: _sent(statistic.partial(table, request, parts[place]))
        for place in in_order(range(len(parts)))
    }
    partials = [found[place] for place in range(len(parts))]
    while statistic.merge is not None and len(partials) > fan_in:
        runs = [partials[at : at + fan_in] for at in range(0, len(partials), fan_in)]
        partials = [_sent(statistic.merge(request, run)) for run in runs]
    return _sent(statistic.combine(table, request, partials))


def sizes(statistic: Statistic, table: Table, request: JobRequest) -> list[int]:
    """How many bytes each part of a job sends."""
    parts = statistic.plan(table, request)
    return [len(msgspec.json.encode(statistic.partial(table, request, part))) for part in parts]


def _sent(value: Json) -> Json:
    return msgspec.json.decode(msgspec.json.encode(value))
