"""A job's file is replaced whole, and whatever else lies at its place is never taken for it."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server import result_store
from server.result_store import MOST_SET_ASIDE, RUNNING, ResultStore, checksum

DEADLINE = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    (folder / ".ledger").mkdir(parents=True)
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[ResultStore]:
    with ResultStore(folder, folder / ".ledger") as store:
        yield store


def file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if not path.is_dir()}


def place(store: ResultStore) -> Path:
    return store.path(1)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_written_is_read(store: ResultStore, folder: Path) -> None:
    store.write(7, b'{"status":"done"}')
    assert store.read(7) == b'{"status":"done"}'
    assert (folder / "job_id_7.json").read_bytes() == b'{"status":"done"}'
    assert store.path(7) == folder / "job_id_7.json"


def test_nothing_but_the_file_is_left(store: ResultStore, folder: Path) -> None:
    store.write(7, RUNNING)
    store.write(7, b"final")
    assert file_names(folder) == {"job_id_7.json"}


def test_a_job_without_a_file_reads_as_none(store: ResultStore) -> None:
    assert store.read(7) is None


@pytest.mark.parametrize("length", [0, 1, 5_000_000])
def test_content_of_any_length_is_written(store: ResultStore, length: int) -> None:
    store.write(1, b"longer than some")
    store.write(1, b"x" * length)
    assert store.read(1) == b"x" * length


def test_a_file_is_for_its_owner_alone(store: ResultStore) -> None:
    store.write(1, RUNNING)
    assert place(store).stat().st_mode & 0o777 == 0o600


def test_no_reader_ever_sees_half_a_file(store: ResultStore) -> None:
    contents = [b"a" * 100, b"b" * 300_000, b"c" * 70_000]
    written = threading.Event()
    store.write(1, contents[0])

    def read_all() -> set[bytes]:
        seen: set[bytes] = set()
        while not written.is_set():
            content = store.read(1)
            assert content in contents, f"half a file of {len(content or b'')} bytes"
            assert place(store).read_bytes() in contents
            seen.add(content)
        return seen

    with ThreadPoolExecutor(2) as threads:
        reading = [threads.submit(read_all) for _ in range(2)]
        for turn in range(300):
            store.write(1, contents[turn % 3])
        written.set()
        seen = set[bytes]().union(*(each.result(DEADLINE) for each in reading))
    assert len(seen) > 1, "nobody read while it was written, so this says nothing"


def test_a_reader_keeps_what_it_has_opened(store: ResultStore) -> None:
    store.write(1, b"old")
    with place(store).open("rb") as file:
        store.write(1, b"new")
        assert file.read() == b"old"
    assert store.read(1) == b"new"


def test_what_a_killed_server_left_half_written_is_in_nobody_s_way(
    store: ResultStore, folder: Path
) -> None:
    (folder / ".ledger" / "result.tmp").write_bytes(b"half of a much longer answ")
    store.write(1, b"whole")
    assert store.read(1) == b"whole"


def test_a_write_that_fails_leaves_the_old_content(store: ResultStore, folder: Path) -> None:
    store.write(1, b"old")
    (folder / ".ledger" / "result.tmp").mkdir()
    (folder / ".ledger" / "set_aside").write_text("so that it cannot be moved away")
    before = open_descriptors()
    with pytest.raises(OSError, match="directory"):
        store.write(1, b"new")
    assert store.read(1) == b"old"
    assert open_descriptors() == before


def test_a_full_disk_leaves_the_old_content(
    tmp_path: Path, store: ResultStore, folder: Path, run_python: Callable[..., str]
) -> None:
    store.write(1, b"old")
    printed = run_python(
        "import pathlib, resource, sys\n"
        "from server.result_store import ResultStore\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with ResultStore(folder, folder / '.ledger') as store:\n"
        "        store.write(1, bytes(5000))\n"
        "except OSError as error:\n"
        "    print(error.strerror)",
        folder,
    )
    assert printed == "File too large\n"
    assert store.read(1) == b"old"


# -- what is not a job's file ---------------------------------------------------------


def test_a_symbolic_link_is_not_followed(store: ResultStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not for clients")
    place(store).symlink_to(secret)
    assert store.read(1) == b""
    store.write(1, b"answer")
    assert secret.read_bytes() == b"not for clients"
    assert store.read(1) == b"answer"


def test_a_folder_in_a_job_s_place_is_no_file(store: ResultStore) -> None:
    place(store).mkdir()
    before = open_descriptors()
    assert store.read(1) == b""
    assert open_descriptors() == before


def test_a_folder_in_a_job_s_place_makes_way_and_is_kept(store: ResultStore, folder: Path) -> None:
    place(store).mkdir()
    (place(store) / "somebody's").write_bytes(b"own")
    store.write(1, b"answer")
    assert store.read(1) == b"answer"
    (kept,) = (folder / ".ledger" / "set_aside").iterdir()
    assert (kept / "somebody's").read_bytes() == b"own"


@pytest.mark.parametrize("kind", ["file", "folder", "symbolic link", "nothing"])
def test_what_lies_in_a_job_s_place_can_be_set_aside(
    store: ResultStore, folder: Path, kind: str
) -> None:
    if kind == "file":
        store.write(1, b"torn")
    elif kind == "folder":
        place(store).mkdir()
    elif kind == "symbolic link":
        place(store).symlink_to(folder)
    moved = store.set_aside(1)
    assert not place(store).exists()
    assert (moved is None) == (kind == "nothing")
    assert moved is None or moved.is_symlink() or moved.exists()


def test_the_same_place_can_be_cleared_again_and_again(store: ResultStore, folder: Path) -> None:
    for content in (b"first", b"second"):
        store.write(1, content)
        store.set_aside(1)
    kept = {path.read_bytes() for path in (folder / ".ledger" / "set_aside").iterdir()}
    assert kept == {b"first", b"second"}


def test_of_many_files_set_aside_the_last_ones_are_kept_and_every_folder(
    store: ResultStore, folder: Path
) -> None:
    place(store).mkdir()
    store.set_aside(1)
    for number in range(MOST_SET_ASIDE + 3):
        store.write(1, str(number).encode())
        store.set_aside(1)
    kept = list((folder / ".ledger" / "set_aside").iterdir())
    assert sum(path.is_dir() for path in kept) == 1
    assert sorted(int(path.read_bytes()) for path in kept if path.is_file()) == list(
        range(3, MOST_SET_ASIDE + 3)
    )


@pytest.mark.parametrize("kind", ["file", "folder", "symbolic link", "nothing"])
def test_a_removed_result_is_gone_and_no_link_is_followed(
    store: ResultStore, folder: Path, kind: str
) -> None:
    other = folder / "other"
    other.write_bytes(b"stays")
    if kind == "file":
        store.write(1, b"old")
    elif kind == "folder":
        place(store).mkdir()
    elif kind == "symbolic link":
        place(store).symlink_to(other)
    store.remove(1)
    assert not place(store).exists()
    assert other.read_bytes() == b"stays"


def test_tidying_removes_what_was_half_written_and_nothing_else(
    store: ResultStore, folder: Path
) -> None:
    store.write(1, b"whole")
    for name in ("result.tmp", "probe.1.tmp", "ledger.sqlite3"):
        (folder / ".ledger" / name).write_bytes(b"half")
    store.tidy()
    assert [path.name for path in (folder / ".ledger").iterdir()] == ["ledger.sqlite3"]
    assert store.read(1) == b"whole"


def test_a_folder_that_can_be_written_to_is_found_so_and_left_as_it_is(
    store: ResultStore, folder: Path
) -> None:
    store.check_writable()
    assert [path.name for path in folder.rglob("*")] == [".ledger"]


def test_a_folder_that_is_gone_is_found_out(store: ResultStore, folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        store.check_writable()


def test_a_checksum_tells_whole_content_from_torn(tmp_path: Path) -> None:
    whole = b'{"status":"done","data":[1,2,3]}'
    others = [whole[:n] for n in range(len(whole))] + [whole + b" ", whole.replace(b"2", b"3")]
    assert checksum(whole) not in {checksum(other) for other in others}
    assert 0 <= checksum(bytes(2**20)) < 2**63


@pytest.fixture
def pipe(store: ResultStore) -> Iterator[Path]:
    """A named pipe in a job's place, which lets go of whoever waits at it in the end."""
    os.mkfifo(place(store))
    yield place(store)
    os.close(os.open(place(store), os.O_RDWR))


def test_a_named_pipe_in_a_job_s_place_stops_no_reader(store: ResultStore, pipe: Path) -> None:
    read: list[bytes | None] = []
    reading = threading.Thread(target=lambda: read.append(store.read(1)), daemon=True)
    reading.start()
    reading.join(5.0)
    assert read == [b""]


# -- the folder -----------------------------------------------------------------------


def test_an_emptied_folder_takes_new_results(store: ResultStore, folder: Path) -> None:
    store.write(1, RUNNING)
    place(store).unlink()
    assert store.read(1) is None
    store.write(1, b"again")
    assert store.read(1) == b"again"


@pytest.fixture(params=["at once", "one by one"])
def _flushing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How files are flushed: with one call for all, or where the system has none."""
    if request.param == "one by one":
        monkeypatch.setattr(result_store, "_syncfs", None)


@pytest.mark.usefixtures("_flushing")
def test_flushing_spares_files_that_have_gone(store: ResultStore) -> None:
    store.write(1, b"here")
    before = open_descriptors()
    store.flush([1, 2, 3])
    store.flush([])
    assert store.read(1) == b"here"
    assert open_descriptors() == before


@pytest.mark.usefixtures("_flushing")
@pytest.mark.parametrize("kind", ["folder", "symbolic link", "named pipe"])
def test_flushing_spares_what_is_no_file(store: ResultStore, folder: Path, kind: str) -> None:
    if kind == "folder":
        place(store).mkdir()
    elif kind == "symbolic link":
        place(store).symlink_to(folder)
    else:
        os.mkfifo(place(store))
    errors: list[OSError] = []
    flushing = threading.Thread(target=flush_into, args=(store, errors), daemon=True)
    flushing.start()
    flushing.join(5.0)
    stuck = flushing.is_alive()
    if stuck:
        os.close(os.open(place(store), os.O_RDWR))
        flushing.join(DEADLINE)
    assert not stuck
    assert errors == []


def flush_into(store: ResultStore, errors: list[OSError]) -> None:
    try:
        store.flush([1])
    except OSError as error:
        errors.append(error)


@pytest.mark.usefixtures("_flushing")
def test_the_results_folder_may_be_a_symbolic_link(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "on another disk"
    link.symlink_to(folder)
    with ResultStore(link, link / ".ledger") as store:
        store.write(1, b"here")
        assert store.read(1) == b"here"
        store.flush([1])


def test_a_folder_that_has_gone_takes_no_result_also_where_another_has_its_name(
    store: ResultStore, folder: Path
) -> None:
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        with pytest.raises(OSError, match="No such file"):
            store.write(1, b"new")
        with pytest.raises(OSError, match="No such file"):
            store.check_writable()
        assert store.read(1) is None
        (folder / ".ledger").mkdir(parents=True)
        assert file_names(folder) == set()


@pytest.mark.parametrize("folder_there", [True, False])
def test_what_lies_in_the_place_of_a_half_written_result_is_not_written_to(
    store: ResultStore, folder: Path, tmp_path: Path, folder_there: bool
) -> None:
    victim = tmp_path / "somebody's"
    victim.write_text("precious")
    temporary = folder / ".ledger" / "result.tmp"
    if folder_there:
        temporary.mkdir()
    else:
        temporary.symlink_to(victim)
    store.write(1, b"new")
    assert store.read(1) == b"new"
    assert victim.read_text() == "precious"
    assert not place(store).is_symlink()


def test_a_file_longer_than_any_result_is_not_read(store: ResultStore) -> None:
    with place(store).open("wb") as file:
        file.truncate(8 * 2**30)
    assert store.read(1) == b""


def test_a_folder_that_cannot_be_searched_damages_no_result(
    store: ResultStore, folder: Path
) -> None:
    store.write(1, b"here")
    folder.rename(folder.with_name("moved"))
    folder.symlink_to("results")
    assert store.read(1) == b"here"
