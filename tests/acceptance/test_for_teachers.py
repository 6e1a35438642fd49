"""The exercise for students: its programs run, and a server takes what is done to it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import Reader, blocks, section, session, text_of
from tests.support.servers import ROOT, running_server

PAGE = text_of("docs/for-teachers.md")
PROGRAMS = dict(zip(("lock", "win", "sending", "killed"), blocks(PAGE, "python"), strict=True))
NUMBER = r"\d(?:[\d.,]*\d)?"


def printed(name: str, folder: Path) -> str:
    """What the page's program prints, each number as `N`."""
    assert f"`{name}.py`" in PAGE or f"<code>{name}.py</code>" in PAGE
    program = folder / f"{name}.py"
    program.write_text(PROGRAMS[name], "utf-8")
    done = subprocess.run(
        [sys.executable, program], check=True, capture_output=True, text=True, timeout=120
    )
    return done.stdout


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("lock", ["one thread N s", "two threads N s", "two processes N s"]),
        ("win", ["two threads N s", "two processes N s"]),
        ("sending", ["N bytes: N ms, of that pickling N ms"] * 4),
    ],
)
def test_a_program_that_measures_prints_its_figures(
    name: str, lines: list[str], tmp_path: Path
) -> None:
    found = [
        re.sub(NUMBER, "N", " ".join(line.split())) for line in printed(name, tmp_path).splitlines()
    ]
    assert found == lines


def test_killed_workers_are_taken_by_other_pools_as_the_page_says(tmp_path: Path) -> None:
    (shown,) = blocks(section(PAGE, "Task 6: kill a worker"), "text")
    assert printed("killed", tmp_path) == shown


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on the PATH")
def test_killed_workers_are_taken_by_this_server_as_the_page_says(tmp_path: Path) -> None:
    sample = str(ROOT / "data" / "sample.csv.gz")
    with running_server(tmp_path, SPORTIV_DATA=sample) as server:
        Reader(tmp_path, server.port).follow(session(PAGE))
