"""The benchmark of tables, run for real and briefly, where the libraries to compare with are."""

from pathlib import Path

import pytest

from benchmarks import made_tables, tables
from benchmarks.measure import Effort
from tests.benchmarks.sound import assert_sound


def test_tables_of_two_lengths_are_loaded_and_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("duckdb", reason="the package duckdb is not installed")
    pytest.importorskip("pyarrow", reason="the package pyarrow is not installed")
    monkeypatch.setattr(made_tables, "FOLDER", tmp_path)
    monkeypatch.setattr(tables, "ROWS", (18_650, 30_000))
    comparisons = list(tables.measure(Effort(runs=1, seconds=0.05, quick=True)))
    assert_sound(comparisons)
    assert {"table-load", "group-sums", "worker-memory", "attaching"} <= {
        comparison.name for comparison in comparisons
    }
