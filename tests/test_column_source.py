"""Whatever could change the columns changes what they are made of."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from server import column_source
from server.column_source import MAKERS, FileState, Source, content_of
from tests.contract.test_layers import own_imports


@dataclass(frozen=True)
class Files:
    data: Path
    dataset: Path

    def source(self) -> Source:
        return Source.of(self.data, self.dataset)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "table.csv", tmp_path / "table.toml")
    files.data.write_text("a,b\n1,2\n")
    files.dataset.write_text('title = "Made for a test"\n')
    return files


def test_every_module_that_makes_columns_is_part_of_the_program() -> None:
    """Whatever is imported on the way from the file to the region, and back from the cache."""
    wanted, found = {"server.ingest", "server.column_cache"}, set[str]()
    while wanted:
        found |= wanted
        wanted = {name for module in wanted for name in own_imports(module)} - found
    assert {f"server.{name}" for name in MAKERS} == found


def test_a_changed_module_is_another_program(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files.source()
    monkeypatch.setattr(column_source, "MAKERS", (*MAKERS[:-1], "wsgi"))
    assert files.source().program != before.program
    assert not files.source().is_as(before)


def test_a_file_that_is_only_read_keeps_its_state(files: Files) -> None:
    before = FileState.of(files.data)
    files.data.read_text()
    assert FileState.of(files.data) == before


def rewrite_alike(path: Path) -> None:
    """Other bytes, as many, and the time of change set back to what it was."""
    times = path.stat()
    path.write_text("a,b\n1,3\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace_by_copy(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "written anew, its time set back": rewrite_alike,
    "replaced by a copy": replace_by_copy,
    "longer": lambda path: path.write_text("a,b\n1,2\n\n"),
    "touched": lambda path: os.utime(path, ns=(0, 0)),
    "not readable for others any more": lambda path: path.chmod(0o600),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_done_to_a_file_changes_its_state(
    files: Files, change: Callable[[Path], object], eventually: Callable[..., None]
) -> None:
    eventually(lambda: a_tick_has_passed(files.data))
    before = FileState.of(files.data)
    change(files.data)
    assert FileState.of(files.data) != before


def a_tick_has_passed(path: Path) -> bool:
    """Whether a file that is written now would be seen to be younger than this one."""
    probe = path.with_name("probe")
    probe.write_bytes(b"")
    return probe.stat().st_ctime_ns > path.stat().st_ctime_ns


def test_a_file_is_not_settled_until_its_change_is_some_time_ago(
    files: Files, eventually: Callable[..., None]
) -> None:
    files.data.write_text("now")
    assert not files.source().settled
    eventually(lambda: files.source().settled)


def test_a_time_that_was_set_into_the_past_settles_nothing(files: Files) -> None:
    os.utime(files.data, ns=(0, 0))
    assert not files.source().settled


def test_another_description_makes_other_columns(files: Files) -> None:
    before = files.source()
    files.dataset.write_text('title = "Made for another"\n')
    assert not files.source().is_as(before)


def test_the_content_is_that_of_a_copy_and_of_no_other(files: Files, tmp_path: Path) -> None:
    content = content_of(files.data)
    replace_by_copy(files.data)
    assert content_of(files.data) == content
    rewrite_alike(files.data)
    assert content_of(files.data) != content
    assert content_of(tmp_path) is content_of(tmp_path / "missing") is None
