"""The statistics: pure functions over a table, one family a file, and the registry of all.

A family module announces its statistics in a tuple `ROWS`; putting a file here is all that
it takes to add one. Nothing here reads files, logs, or keeps state.
"""

import pkgutil
from importlib import import_module

from server.stats.statistic import Statistic

_families = sorted(module.name for module in pkgutil.iter_modules(__path__))

STATISTICS: dict[str, Statistic] = {
    row.name: row
    for family in _families
    for row in getattr(import_module(f"{__name__}.{family}"), "ROWS", ())
}
"""Every statistic by its name, which is also the last part of its address."""
