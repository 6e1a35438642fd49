"""Statistics for the benchmark of pools: four kinds of work, some ten milliseconds each.

They differ in what they do with the interpreter lock: a loop in Python holds it; many small
calls of NumPy let go of it for moments and queue for it again; a product of matrices lets go
of it for long. All figures are whole numbers, so that every side gives the same digits.
"""

from typing import Any

import numpy as np

from server.stats.statistic import JobRequest, Statistic
from server.table import Floats, Table

SIZE = 500
"""How many values are resampled or split."""

ROUNDS = {"choice": 700, "permutations": 1_200}
STEPS = 150_000
SIDE = 600
"""How many rows and columns a matrix has."""


def _values(table: Table, count: int) -> Floats:
    return np.rint(np.resize(table.value, count))


def _python_loop(table: Table, request: Any, part: Any) -> int:
    total = 0
    for step in range(STEPS):
        total = (total * 31 + step) % 1_000_003
    return total


def _choice(table: Table, request: Any, part: Any) -> int:
    """A bootstrap as it is mostly written: one resample after the other."""
    values, source, total = _values(table, SIZE), np.random.default_rng(1), 0.0
    for _ in range(ROUNDS["choice"]):
        total += source.choice(values, SIZE).sum()
    return int(total)


def _permutations(table: Table, request: Any, part: Any) -> int:
    """A permutation test as it is mostly written: one split after the other."""
    values, source, total = _values(table, SIZE), np.random.default_rng(1), 0.0
    for _ in range(ROUNDS["permutations"]):
        total += source.permutation(values)[: SIZE // 2].sum()
    return int(total)


def _product(table: Table, request: Any, part: Any) -> int:
    matrix = _values(table, SIDE * SIDE).reshape(SIDE, SIDE)
    return int((matrix @ matrix).sum())


STATISTICS = {
    row.name: row
    for row in (
        Statistic("python-loop", "A loop in Python", JobRequest, _python_loop),
        Statistic("choice", "Resampling with Generator.choice", JobRequest, _choice),
        Statistic("permutations", "Splits with Generator.permutation", JobRequest, _permutations),
        Statistic("product", "A product of matrices", JobRequest, _product),
    )
}
