"""Folders for benchmarks lie away from what was removed before them, and are removed themselves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.scratch import is_spread_out, new_folder, spread_out


def test_each_folder_is_empty_and_another_one() -> None:
    first, second = new_folder(), new_folder()
    assert first != second
    assert list(first.iterdir()) == list(second.iterdir()) == []


def test_all_are_removed_with_the_process(run_python: Callable[..., str]) -> None:
    program = (
        "from benchmarks.scratch import new_folder\n"
        "folder = new_folder()\n"
        "folder.joinpath('result').write_text('{}')\n"
        "print(folder)\n"
    )
    folder = Path(run_python(program).strip())
    assert folder.is_absolute()
    assert not folder.parent.exists()


def test_they_are_placed_away_from_each_other_where_the_file_system_can() -> None:
    parent = str(new_folder().parent)
    try:
        spread_out(str(new_folder()))
    except OSError as error:
        pytest.skip(f"this file system cannot: {error.strerror}")
    assert is_spread_out(parent)
