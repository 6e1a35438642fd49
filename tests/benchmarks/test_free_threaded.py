"""A free-threaded Python is found by its name and by what it can do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.free_threaded import PROBE, found_on


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def _program(folder: Path, name: str, exit_code: int) -> str:
    """A small program that stands in for an interpreter: whatever it is told, it just ends."""
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return str(path)


def test_the_newest_one_that_can_run_a_side_is_taken(folder: Path) -> None:
    _program(folder, "python3.13t", 0)
    newest = _program(folder, "python3.14t", 0)
    _program(folder, "python3.15t", 1)
    assert found_on(str(folder)) == (newest, f"the free-threaded Python is {newest}")


def test_every_folder_of_the_path_is_looked_into(folder: Path) -> None:
    program = _program(folder, "python3.13t", 0)
    path = os.pathsep.join(["", str(folder / "missing"), str(folder)])
    assert found_on(path)[0] == program


def test_one_that_lacks_what_a_side_takes_is_named(folder: Path) -> None:
    program = _program(folder, "python3.13t", 1)
    found, note = found_on(str(folder))
    assert found is None
    assert program in note


def test_other_programs_are_none(folder: Path) -> None:
    for name in ("python3", "python3.14", "python3.14t-config", "python3.xt"):
        _program(folder, name, 0)
    (folder / "python3.13t").write_text("not a program")
    found, note = found_on(str(folder))
    assert found is None
    assert note.startswith("no free-threaded Python")


def test_a_program_that_cannot_be_started_is_passed_over(folder: Path) -> None:
    broken = folder / "python3.14t"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    sound = _program(folder, "python3.13t", 0)
    assert found_on(str(folder))[0] == sound


def test_the_probe_ends_well_where_a_side_can_be_imported_and_there_is_no_lock(
    run_python: Callable[..., str],
) -> None:
    code = f"""
import sys
sys._is_gil_enabled = lambda: False
exec({PROBE!r})
"""
    assert run_python(code) == ""
