"""Columns come back from the cache to the bit, or not at all."""

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from server import column_cache, column_source
from server.column_cache import MOST, SUFFIX, TEMPORARY, ColumnCache, Unfit, keep
from server.column_source import Source
from server.shared_data import SharedRegion, write_table
from tests.support.disks import small_disk
from tests.support.tables import Row, table_of

BLOCK = 4096
"""How much of a file stands before the columns."""


@dataclass(frozen=True)
class Place:
    """A table, its description, a folder for its columns, and what the log has said."""

    folder: Path
    data: Path
    dataset: Path
    said: list[str] = field(default_factory=list)

    def keep(self, data: Path | None = None) -> bytes:
        """Keep columns that only this table has; their bytes."""
        data = data or self.data
        with ColumnCache(self.folder) as cache, region_of(data) as region:
            keep(cache.fd, region.fd, Source.of(data, self.dataset), data, self.dataset)
            return content(region)

    def fill(self, data: Path | None = None) -> bytes | None:
        """What a region is filled with; None where it is left empty."""
        with ColumnCache(self.folder) as cache, SharedRegion() as region:
            if cache.fill(region.fd, data or self.data, self.dataset):
                region.seal()
                return content(region)
            assert region.size == 0
            return None

    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def file(self) -> Path:
        (file,) = self.files()
        return file


def region_of(data: Path) -> SharedRegion:
    region = SharedRegion()
    text = data.read_text()
    rows = [Row(f"{text} {n}", "Alley", "Age", "old", 2000 + n, n / 7) for n in range(9)]
    write_table(region.fd, table_of(rows, fingerprint=text))
    return region


def content(region: SharedRegion) -> bytes:
    return os.pread(region.fd, region.size + 1, 0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(column_source, "SETTLED_SECONDS", -1.0)  # these files are all new
    place = Place(tmp_path / "below" / "columns", tmp_path / "table.csv", tmp_path / "table.toml")
    place.data.write_text("the table")
    place.dataset.write_text("the description")
    handler = logging.Handler()
    handler.emit = lambda record: place.said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("sportiv.columns")
    logger.addHandler(handler)
    yield place
    logger.removeHandler(handler)


def test_columns_come_back_to_the_bit(place: Place) -> None:
    kept = place.keep()
    assert place.fill() == place.fill() == kept
    assert not place.said


def test_nothing_is_filled_from_an_empty_cache(place: Place) -> None:
    assert place.fill() is None
    assert not place.said


def test_nobody_else_can_read_or_write_what_is_kept(place: Place) -> None:
    place.keep()
    assert place.folder.stat().st_mode & 0o777 == 0o700
    assert place.file().stat().st_mode & 0o777 == 0o600


# -- is the table the same? -----------------------------------------------------------


def test_a_changed_table_is_read_anew_also_with_its_size_and_time_restored(place: Place) -> None:
    place.keep()
    times = place.data.stat()
    place.data.write_text("the lable")
    os.utime(place.data, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert place.data.stat().st_size == times.st_size
    assert place.fill() is None


def test_a_changed_description_has_the_table_read_anew(place: Place) -> None:
    kept = place.keep()
    place.dataset.write_text("another one")
    assert place.fill() is None
    place.dataset.write_text("the description")
    assert place.fill() == kept


def test_another_program_makes_the_columns_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.keep()
    monkeypatch.setattr(column_source, "MAKERS", ("ingest",))
    assert place.fill() is None


def test_a_table_that_is_gone_is_not_filled(place: Place) -> None:
    kept = place.keep()
    place.data.rename(place.data.with_name("elsewhere"))
    assert place.fill() is None
    assert place.fill(place.data.with_name("elsewhere")) == kept


def test_an_unchanged_table_is_not_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = place.keep()
    monkeypatch.setattr(column_cache, "content_of", never)
    assert place.fill() == kept


def test_a_copy_is_known_by_its_content_and_then_by_its_state(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = place.keep()
    copy = place.data.with_name("copy.csv")
    copy.write_text("the table")
    assert place.fill(copy) == kept
    monkeypatch.setattr(column_cache, "content_of", never)
    assert place.fill(copy) == kept


def test_a_copy_made_only_now_is_known_by_its_content_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the same tick of the clock it could be written to again and look the same."""
    kept = place.keep()
    before = place.file().read_bytes()
    monkeypatch.setattr(column_source, "SETTLED_SECONDS", 1e6)
    copy = place.data.with_name("copy.csv")
    copy.write_text("the table")
    assert place.fill(copy) == kept
    assert place.file().read_bytes() == before


def never(path: Path) -> str:
    raise AssertionError(f"{path} is read")


def test_a_table_changed_just_before_it_was_read_is_not_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_source, "SETTLED_SECONDS", 1e6)
    with pytest.raises(Unfit, match="only just"):
        place.keep()
    assert place.files() == []


@pytest.mark.parametrize("changed", ["data", "dataset"])
def test_a_table_changed_while_it_was_read_is_not_kept(place: Place, changed: str) -> None:
    source = Source.of(place.data, place.dataset)
    getattr(place, changed).write_text("something else")
    with (
        ColumnCache(place.folder) as cache,
        region_of(place.data) as region,
        pytest.raises(Unfit, match="while it was read"),
    ):
        keep(cache.fd, region.fd, source, place.data, place.dataset)
    assert place.files() == []


# -- is the file what was written? ----------------------------------------------------


def test_a_wrong_byte_is_found_anywhere(place: Place) -> None:
    kept = place.keep()
    whole, path = place.file().read_bytes(), place.file()
    places = [*range(60), *range(60, len(whole), 61), BLOCK - 1, BLOCK, len(whole) - 1]
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        path.chmod(0o600)
        assert place.fill() is None, at
        assert "damaged" in place.said[-1], at
        assert place.files() == [], at
    path.write_bytes(whole)
    path.chmod(0o600)
    assert place.fill() == kept


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut within the first block": lambda whole: whole[:100],
    "cut after the first block": lambda whole: whole[:BLOCK],
    "one byte short": lambda whole: whole[:-1],
    "one byte long": lambda whole: whole + b"\0",
    "all zeros": lambda whole: bytes(len(whole)),
    "zeros after the first block": lambda whole: whole[:BLOCK].ljust(len(whole), b"\0"),
    "something else": lambda whole: b"question,answer\n" * (len(whole) // 16),
    "twice": lambda whole: whole * 2,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_removed_and_the_log_says_so(
    place: Place, damage: Callable[[bytes], bytes]
) -> None:
    kept = place.keep()
    path = place.file()
    path.write_bytes(damage(path.read_bytes()))
    assert place.fill() is None
    (said,) = place.said
    assert said.startswith(f"the cached columns {path} are not believed: ")
    assert place.files() == []
    assert place.keep() == place.fill() == kept


def test_a_file_of_another_version_is_removed(place: Place) -> None:
    place.keep()
    path = place.file()
    header = msgspec.json.decode(path.read_bytes()[48:BLOCK])
    del header["content"]
    block = column_cache._encoded(header)
    path.write_bytes(block + path.read_bytes()[BLOCK:])
    assert place.fill() is None
    assert "another version" in place.said[-1]


def link_elsewhere(path: Path) -> None:
    elsewhere = path.rename(path.parent.with_name("elsewhere"))
    path.symlink_to(elsewhere)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "content").write_text("somebody's")


def put_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "a link": link_elsewhere,
    "a folder": put_folder,
    "a pipe": put_pipe,
    "a file that others can write": lambda path: path.chmod(0o620),
}


@pytest.mark.parametrize("put", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_lies_in_the_place_of_a_file_is_not_believed_nor_in_the_way(
    place: Place, put: Callable[[Path], object]
) -> None:
    kept = place.keep()
    path = place.file()
    put(path)
    assert place.fill() is None
    assert place.said
    assert not os.path.lexists(path)
    assert place.keep() == place.fill() == kept
    for left in place.files():
        assert left == path or (left / "content").read_text() == "somebody's"


def test_a_link_is_removed_but_not_what_it_leads_to(place: Place) -> None:
    place.keep()
    link_elsewhere(place.file())
    assert place.fill() is None
    assert place.folder.with_name("elsewhere").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_believed(place: Place) -> None:
    place.keep()
    os.chown(place.file(), 12345, -1)
    assert place.fill() is None
    assert "somebody else" in place.said[-1]


# -- the folder -----------------------------------------------------------------------


def test_two_tables_by_turns_are_both_kept(place: Place) -> None:
    other = place.data.with_name("other.csv")
    other.write_text("other one")
    kept = {data: place.keep(data) for data in (place.data, other)}
    for data in [place.data, other] * 3:
        assert place.fill(data) == kept[data]
    assert len(set(kept.values())) == len(place.files()) == MOST


def test_the_table_that_was_not_used_for_longest_goes_first(
    place: Place, eventually: Callable[..., None]
) -> None:
    tables = [place.data.with_name(f"{n}.csv") for n in range(MOST + 2)]
    for n, data in enumerate(tables):
        data.write_text(f"table {n}")
        place.keep(data)
        eventually(lambda: tick_since(max(place.files(), key=changed)))
        assert place.fill(tables[0]), "the first one is always used"
        eventually(lambda: tick_since(max(place.files(), key=changed)))
    assert len(place.files()) == MOST
    assert [place.fill(data) is not None for data in tables] == [True, *[False] * MOST, True]


def changed(path: Path) -> int:
    return path.stat().st_mtime_ns


def tick_since(path: Path) -> bool:
    """Whether a file that is written now would be younger."""
    probe = path.parent.with_name("probe")
    probe.write_bytes(b"")
    return changed(probe) > changed(path)


def test_what_a_dead_process_has_left_half_written_is_removed(place: Place) -> None:
    place.keep()
    (place.folder / TEMPORARY).write_text("half")
    assert place.fill()
    assert place.file().suffix == SUFFIX


def test_only_one_writes_at_a_time_and_what_it_writes_is_left_alone(place: Place) -> None:
    place.keep()
    (place.folder / TEMPORARY).write_text("half")
    holder = os.open(place.folder, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(Unfit, match="another server"):
            place.keep()
        assert place.fill()
        assert (place.folder / TEMPORARY).read_text() == "half"
    finally:
        os.close(holder)


def test_a_link_is_no_folder(place: Place, tmp_path: Path) -> None:
    place.folder.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    place.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Not a directory"):
        place.keep()


def test_a_folder_that_takes_no_writes_still_gives_what_it_has(
    tmp_path: Path, place: Place
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        there = Place(disk.path / "columns", place.data, place.dataset, place.said)
        kept = there.keep()
        os.utime(place.data)
        disk.make_read_only()
        assert there.fill() == kept
        with pytest.raises(OSError, match="Read-only") as caught:
            there.keep(place.dataset)
        assert caught.value.errno == errno.EROFS
        assert len(there.files()) == 1


def test_a_file_takes_no_more_than_its_share_of_the_room(tmp_path: Path, place: Place) -> None:
    with small_disk(tmp_path / "disk", "16k") as disk:
        there = Place(disk.path / "columns", place.data, place.dataset)
        with pytest.raises(Unfit, match="too much for the 0 MiB left"):
            there.keep()
        assert there.files() == []


def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_cache, "SHARE_OF_DISK", 1e6)
    with small_disk(tmp_path / "disk", "64k") as disk:
        there = Place(disk.path / "columns", place.data, place.dataset)
        there.folder.mkdir()
        disk.fill()
        os.truncate(disk.path / "filler", (disk.path / "filler").stat().st_size - 4096)
        with pytest.raises(OSError, match="No space left"):
            there.keep()
        assert there.files() == []


# -- killed while it writes -----------------------------------------------------------

LIVES = """
import os, signal, sys, threading
from pathlib import Path
from server import column_cache, column_source, digest
from server.shared_data import SharedRegion
from tests.test_column_cache import Place, content, region_of

column_source.SETTLED_SECONDS = -1.0
WATCHED = {module.__file__ for module in (column_cache, digest)}

def live(place, deadly):
    taken = 0
    def trace(frame, event, argument):
        nonlocal taken
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            taken += 1
            if taken == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    threading.settrace(trace)
    sys.settrace(trace)
    place.keep()
    os._exit(0)

folder = Path(sys.argv[1])
place = Place(folder / "columns", folder / "table.csv", folder / "table.toml")
with region_of(place.data) as region:
    expected = content(region)
filled = []
for deadly in range(1, 10_000):
    code = live(place, deadly)
    found = place.fill()
    names = [path.suffix for path in place.files()]
    assert found in (None, expected), deadly
    assert names == ([] if found is None else [".columns"]), (deadly, names)
    filled.append(found is not None)
    for path in place.files():
        path.unlink()
    if code == 0:
        break
    assert code == -signal.SIGKILL, code
print(deadly, sum(filled))
"""


def test_killed_at_any_step_it_leaves_all_or_nothing(
    place: Place, run_python: Callable[..., str]
) -> None:
    printed = run_python(LIVES, place.data.parent)
    steps, filled = map(int, printed.split())
    assert steps > 60
    assert 2 <= filled < steps / 2
