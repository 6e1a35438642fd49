"""The benchmark of a job's stages, run for real and briefly."""

import math

from benchmarks import stages
from benchmarks.measure import Chart, Effort
from tests.support import pools

nothing_left_behind = pools.nothing_left_behind


def test_a_tiny_and_a_heavy_job_are_taken_apart_into_all_stages() -> None:
    tiny, heavy = stages.measure(Effort(runs=2, seconds=0.02, quick=True))
    for comparison in (tiny, heavy):
        assert comparison.chart is Chart.STACK
        assert [figure.name for figure in comparison.figures] == list(stages.STAGES)
        assert len({figure.at for figure in comparison.figures}) == 1
        for figure in comparison.figures:
            assert len(figure.values) == 2
            assert all(math.isfinite(value) and value > 0 for value in figure.values)
        (share,) = comparison.goals
        assert 0 < share.ratio < 1
    assert _computing(heavy) > _computing(tiny)


def _computing(comparison: stages.Comparison) -> float:
    (figure,) = (each for each in comparison.figures if each.name == "computing")
    return figure.median


def test_the_stages_follow_one_another_without_a_gap() -> None:
    ends = [last for _, last in stages.STAGES.values()]
    assert [first for first, _ in stages.STAGES.values()] == ["sent", *ends[:-1]]
