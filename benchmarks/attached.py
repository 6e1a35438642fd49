"""What a worker of another pool does: attach the table once, then compute one task after the other.

Another pool's workers are handed no descriptor, so they open the region by its place below
`/proc`, as any process of the same user may, in the initializer that every pool offers. From
then on only names and values go to them, the columns never.
"""

import os
from collections.abc import Mapping
from importlib import import_module

from msgspec import Raw

from server.messages import Task, TaskKind
from server.shared_data import attach_table
from server.stats.statistic import Statistic
from server.table import Table
from server.worker import compute

_attached: tuple[Table, Mapping[str, Statistic]]


def attach(catalogue: str, region: str) -> None:
    """Prepare this process: know the statistics of module `catalogue`, map the file `region`."""
    global _attached
    descriptor = os.open(region, os.O_RDONLY)
    _attached = attach_table(descriptor), import_module(catalogue).STATISTICS
    os.close(descriptor)


def answer(statistic: str, kind: str, request: bytes, work: bytes) -> bytes:
    """The value of one task as JSON, computed as the workers of this project do."""
    task = Task(0, 0, TaskKind(kind), statistic, Raw(request), Raw(work))
    return compute(*_attached, task)
