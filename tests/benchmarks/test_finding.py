"""The answer that the report gives follows from its figures."""

from benchmarks.finding import finding
from benchmarks.measure import Comparison, Figure
from benchmarks.results import Report, Section
from tests.support.reports import REPORT


def _answer(*comparisons: Comparison) -> str:
    return finding(Report({}, (Section("pools", "", comparisons, "", 1),))).answer


def _compared(ours: tuple[float, ...], threads: tuple[float, ...]) -> Comparison:
    figures = (Figure("process pool", ours, 2), Figure("thread pool", threads, 2))
    return Comparison("loop", "A loop", "tasks/s", figures)


FASTER = _compared((20, 21), (10, 11))
SLOWER = _compared((10, 11), (20, 21))
EQUAL = _compared((10, 12), (11, 13))


def test_the_answer_follows_from_who_was_clearly_ahead() -> None:
    assert _answer(FASTER) == "Processes"
    assert _answer(FASTER, FASTER, EQUAL) == "Processes"
    assert _answer(SLOWER) == "Threads"
    assert _answer(FASTER, FASTER, SLOWER) == "It depends on the work"
    assert _answer(FASTER, EQUAL) == "It depends on the work"
    assert _answer(EQUAL) == "No clear difference"
    assert _answer() == "Not measured"


def test_the_finding_tells_the_ratios_with_the_most_workers() -> None:
    sentences = finding(REPORT).sentences
    assert "A loop in Python, 2 workers: the process pool did 3.92 times what" in sentences[1]
    assert "bare processes, the process pool reached 1.25 times" in sentences[2]


def test_what_one_comparison_has_of_several_kinds_of_work_is_told_as_a_range() -> None:
    figures = [
        Figure(f"{kind}: {side}", (rate,))
        for kind, side, rate in (
            *(("mean", "process pool", 20), ("mean", "thread pool", 10)),
            *(("rank", "process pool", 30), ("rank", "thread pool", 10)),
        )
    ]
    comparison = Comparison("statistics", "Statistics", "tasks/s", tuple(figures))
    found = finding(Report({}, (Section("pools", "", (comparison,), "", 1),)))
    assert found.answer == "Processes"
    assert "2.00 to 3.00 times" in found.sentences[1]
