"""The tables of figures in the documents are those of the report."""

import pytest

from benchmarks.measure import Comparison, Figure
from benchmarks.results import Report, Section
from tools.figures import three_digits, with_figures

FIGURES = (
    Figure("ours", (100.0, 30.0, 123_456.0), at=1.0),
    Figure("theirs", (1.0, 2.0, 3.0), at=1.0),
    Figure("ours", (7.0,), at=2.0),
)
TINY = Comparison("tiny", "Tiny", "us", FIGURES)
HEAVY = Comparison("heavy", "Heavy", "s", (Figure("ours", (0.5,)),))
REPORT = Report({}, (Section("s", "S", (TINY, HEAVY), "", 1.0),))


def marked(names: str, table: str = "") -> str:
    begin = f"<!-- figures of {names}: written by `make docs` from the report -->\n"
    return f"before\n{begin}{table}<!-- end of the figures -->\nafter\n"


def test_a_table_has_the_medians_of_the_comparison_at_the_place_that_is_named() -> None:
    table = "| side | Tiny, us |\n| --- | ---: |\n| ours | 100 |\n| theirs | 2.00 |\n"
    once = with_figures(marked("tiny@1"), REPORT)
    assert once == marked("tiny@1", f"\n{table}\n")
    assert with_figures(once, REPORT) == once


def test_a_side_that_a_column_lacks_is_left_empty() -> None:
    rows = "| ours | 100 | 0.500 |\n| theirs | 2.00 |  |\n"
    assert rows in with_figures(marked("tiny@1, heavy"), REPORT)


def test_a_comparison_that_the_report_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="no comparison 'huge'; there are tiny, heavy"):
        with_figures(marked("huge"), REPORT)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (43_444.6, "43,400"),
        (999.6, "1,000"),
        (111.9, "112"),
        (99.96, "100"),
        (65.0, "65.0"),
        (9.141, "9.14"),
        (0.4174, "0.417"),
    ],
)
def test_three_digits_count(number: float, shown: str) -> None:
    assert three_digits(number) == shown
