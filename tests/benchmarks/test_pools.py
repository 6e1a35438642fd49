"""The benchmark of pools, run for real and briefly."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Raw

from benchmarks import pools
from benchmarks.contenders import CONTENDERS, Place, is_installed
from benchmarks.measure import Chart, Comparison, Effort
from benchmarks.pool_tasks import empty_region
from benchmarks.side_process import Load, SideProcess
from server.machine import Machine
from server.settings import Settings
from server.shared_data import SharedRegion
from server.stats import STATISTICS
from tests.support import pools as pools_of_tests

nothing_left_behind = pools_of_tests.nothing_left_behind

BRIEF = Effort(runs=1, seconds=0.05, quick=True)


@pytest.fixture
def region() -> Iterator[SharedRegion]:
    with empty_region() as region:
        yield region


def test_every_kind_of_work_and_the_statistics_are_compared_on_all_pools() -> None:
    """That all sides give equal answers, `measure` asserts itself."""
    *kinds, statistics = pools.measure(BRIEF)
    counts = pools.worker_counts(Machine().cores())
    others = {name for name in pools.OTHERS if is_installed(name)}
    sides = {pools.OURS, pools.THREADS, pools.LIMIT, pools.IDEAL} | others
    assert [each.name for each in kinds] == [f"pools-{kind}" for kind in pools.KINDS]
    for comparison in kinds:
        assert comparison.chart is Chart.LINES
        present = {(figure.name, figure.at) for figure in comparison.figures}
        assert {(side, workers) for side in sides for workers in counts} <= present
        _check_figures(comparison)
    shown = [name for name in STATISTICS if f"{name}: thread pool" in _names(statistics)]
    assert shown == list(STATISTICS)[:: pools.QUICK_STEP]
    _check_figures(statistics)


def _names(comparison: Comparison) -> set[str]:
    return {figure.name for figure in comparison.figures}


def _check_figures(comparison: Comparison) -> None:
    for figure in comparison.figures:
        assert len(figure.values) == BRIEF.runs
        assert all(math.isfinite(value) and value > 0 for value in figure.values)
    assert all(math.isfinite(goal.ratio) for goal in comparison.goals)


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_side_tells_of_a_task_that_fails_and_goes_on(name: str, region: SharedRegion) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed; it comes with the extra `bench`")
    place = Place(1, region.fd, "benchmarks.tiny_tasks")
    with SideProcess(name, place) as side:
        good = Load("nothing", Raw(b'{"question":"obesity"}'), 20, 4)
        assert side.run(good).answers == ["1"]
        if name not in ("mpire", "socket pair"):  # which have no statistics
            with pytest.raises(RuntimeError, match=f"{name}.*unknown"):
                side.run(Load("unknown", Raw(b"{}"), 2, 2))
        assert side.run(good).answers == ["1"]


def test_bare_processes_share_the_tasks(region: SharedRegion) -> None:
    with SideProcess("bare process", Place(2, region.fd, "benchmarks.tiny_tasks")) as side:
        one_by_one = Load("nothing", Raw(b'{"question":"obesity"}'), 8, 1)
        assert len(side.run(one_by_one).round_trips) == 4


def test_a_side_runs_on_another_interpreter(region: SharedRegion, tmp_path: Path) -> None:
    python = tmp_path / "python3.14t"
    python.write_text(f'#!/bin/sh\ntouch {tmp_path}/was_run\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    place = Place(2, region.fd, "benchmarks.tiny_tasks")
    with SideProcess("thread pool", place, os.fspath(python)) as side:
        load = Load("nothing", Raw(b'{"question":"obesity"}'), 8, 4)
        assert side.run(load).answers == ["1"]
    assert (tmp_path / "was_run").exists()


def test_a_side_that_has_died_is_named(region: SharedRegion) -> None:
    with (
        SideProcess("bare process", Place(1, region.fd, "no.such.module")) as side,
        pytest.raises(RuntimeError, match="bare process"),
    ):
        side.run(Load("nothing", Raw(b"{}"), 1, 1))


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_workers_double_up_to_the_cores(cores: int, counts: list[int]) -> None:
    assert pools.worker_counts(cores) == counts


def test_a_real_table_is_measured_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.read({})
    monkeypatch.delenv("SPORTIV_TEST_DATA", raising=False)
    assert pools.served_data(settings) == settings.data
    monkeypatch.setenv("SPORTIV_TEST_DATA", os.fspath(tmp_path))
    assert pools.served_data(settings) == settings.data
    for year in (2021, 2023):
        (tmp_path / f"cdc_brfss_2011_{year}.csv.gz").touch()
    assert pools.served_data(settings).name == "cdc_brfss_2011_2023.csv.gz"
