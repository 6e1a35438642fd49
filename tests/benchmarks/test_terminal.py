"""The tables of a run in a terminal."""

import re

from benchmarks.terminal import print_comparison, print_goals
from tests.support.reports import BARS, LINES, REPORT


def test_the_terminals_numbers_stand_under_each_other_whatever_the_names() -> None:
    lines: list[str] = []
    print_comparison(BARS, lines.append)
    ends = {match.end() for line in lines if (match := re.search(r" {2,}\S+(?=   \(| x )", line))}
    assert len(ends) == 1
    assert max(map(len, lines)) <= 100


def test_the_terminal_ends_with_the_goals() -> None:
    lines: list[str] = []
    print_goals(REPORT, lines.append)
    assert lines[0] == "\nGoals: 2 of 3 reached"
    assert lines[1] == f" {LINES.title}"
    assert re.search(r"bare processes +0\.500 x goal at least 0\.95: missed$", lines[3])
    assert not any("told of" in line for line in lines)
