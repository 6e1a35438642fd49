"""What a run has given, written and read again."""

from pathlib import Path

import msgspec
import pytest

from benchmarks.results import read_json, write_json
from tests.support.reports import BARS, LINES, REPORT


def test_the_json_gives_the_report_back(tmp_path: Path) -> None:
    write_json(REPORT, tmp_path / "report.json")
    assert read_json(tmp_path / "report.json") == REPORT


def test_json_that_is_no_report_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"facts": {}, "sections": [{"name": "pools"}]}')
    with pytest.raises(msgspec.ValidationError, match="title"):
        read_json(path)


def test_a_report_knows_the_goals_that_are_bound() -> None:
    assert list(REPORT.goals()) == [(LINES, LINES.goals[:2]), (BARS, BARS.goals)]
