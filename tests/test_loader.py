"""A table is in shared memory, whether it was parsed or had been before; or the start says why."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from server.column_source import Source
from server.loader import LoadFailed, load_region
from server.shared_data import SharedRegion, attach_table
from tests.support.servers import ROOT

SAMPLE = ROOT / "data" / "sample.csv.gz"
DESCRIPTION = ROOT / "data" / "cdc_brfss.toml"


@dataclass
class Log:
    """What is said of columns."""

    lines: list[str] = field(default_factory=list)

    def has(self, text: str) -> bool:
        return any(text in line for line in self.lines)


@pytest.fixture
def log() -> Iterator[Log]:
    said = Log()
    handler = logging.Handler()
    handler.emit = lambda record: said.lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("sportiv.columns")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield said
    logger.setLevel(before)
    logger.removeHandler(handler)


def content(region: SharedRegion) -> bytes:
    return os.pread(region.fd, region.size, 0)


def loaders() -> list[str]:
    """The loader processes that this process has started and not seen the end of."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, line in lines.items() if b"server.loader" in line or not line]


def settled(path: Path, eventually: Callable[..., None]) -> Path:
    """The path, once its last change is long enough ago."""
    eventually(lambda: Source.of(path, DESCRIPTION).settled)
    return path


def test_a_table_from_the_cache_is_the_parsed_one_to_the_bit(
    tmp_path: Path, log: Log, eventually: Callable[..., None]
) -> None:
    settled(SAMPLE, eventually)
    with load_region(SAMPLE, DESCRIPTION) as region:
        parsed = content(region)
    with load_region(SAMPLE, DESCRIPTION, tmp_path) as region:
        assert content(region) == parsed
        eventually(lambda: log.has("are kept for the next start"))
    assert not log.has("come from the cache")
    with load_region(SAMPLE, DESCRIPTION, tmp_path) as region:
        assert content(region) == parsed
        assert not loaders()
        assert attach_table(region.fd).rows > 10_000
    assert log.has("come from the cache")


def test_a_region_from_the_cache_is_sealed(
    tmp_path: Path, log: Log, eventually: Callable[..., None]
) -> None:
    settled(SAMPLE, eventually)
    with load_region(SAMPLE, DESCRIPTION, tmp_path):
        eventually(lambda: log.has("are kept"))
    with load_region(SAMPLE, DESCRIPTION, tmp_path) as region:
        assert log.has("come from the cache")
        with pytest.raises(PermissionError):
            os.pwrite(region.fd, b"x", 0)


def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, log: Log, eventually: Callable[..., None]
) -> None:
    settled(SAMPLE, eventually)
    with load_region(SAMPLE, DESCRIPTION, tmp_path) as region:
        parsed = content(region)
        eventually(lambda: log.has("are kept"))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] + bytes(100))
    log.lines.clear()
    with load_region(SAMPLE, DESCRIPTION, tmp_path) as region:
        assert content(region) == parsed
        eventually(lambda: log.has("are kept"))
    assert log.has("the columns are damaged")
    assert path.read_bytes()[4096:] == whole[4096:]


READ = {"0", "63"}
"""The number of the system call read on the usual processors."""


def waits_for_its_input(pid: str) -> bool:
    call, first, *_ = (*Path(f"/proc/{pid}/syscall").read_text().split(), "")
    return call in READ and first == "0x0"


@pytest.mark.skipif(not Path("/proc/self/syscall").exists(), reason="needs /proc/<pid>/syscall")
def test_nobody_reads_the_region_while_it_is_being_sealed(
    tmp_path: Path, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is read at that moment has a reference, and the kernel refuses the seal."""
    settled(SAMPLE, eventually)
    seal = SharedRegion.seal

    def seal_when_the_loader_waits(region: SharedRegion) -> None:
        (pid,) = loaders()
        eventually(lambda: waits_for_its_input(pid))
        assert not list(tmp_path.glob("*.columns"))
        seal(region)

    monkeypatch.setattr(SharedRegion, "seal", seal_when_the_loader_waits)
    with load_region(SAMPLE, DESCRIPTION, tmp_path):
        eventually(lambda: list(tmp_path.glob("*.columns")))


def test_leaving_does_not_wait_for_the_cache_and_leaves_nothing_half_written(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    settled(SAMPLE, eventually)
    for _ in range(5):
        with load_region(SAMPLE, DESCRIPTION, tmp_path):
            pass
        assert not loaders()
        assert all(path.suffix == ".columns" for path in tmp_path.iterdir())


def test_where_the_cache_cannot_be_the_table_is_loaded_all_the_same(
    tmp_path: Path, log: Log
) -> None:
    (tmp_path / "file").write_text("no folder")
    with load_region(SAMPLE, DESCRIPTION, tmp_path / "file" / "columns") as region:
        assert attach_table(region.fd).rows > 10_000
    assert log.has(f"the column cache {tmp_path}/file/columns cannot be used: ")


def test_a_table_that_was_changed_only_now_is_loaded_and_not_kept(
    tmp_path: Path, log: Log, eventually: Callable[..., None]
) -> None:
    table, cache = tmp_path / "table.csv.gz", tmp_path / "cache"
    shutil.copyfile(SAMPLE, table)
    os.utime(table, ns=(0, 0))
    with load_region(table, DESCRIPTION, cache) as region:
        assert attach_table(region.fd).rows > 10_000
        eventually(lambda: log.has("next start"))
    assert log.has("are not kept") or list(cache.iterdir()), "on a slow machine it has settled"


@pytest.mark.parametrize("cached", [False, True])
def test_a_table_that_cannot_be_read_is_an_error_in_words(tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache" if cached else None
    missing = tmp_path / "missing.csv"
    with (
        pytest.raises(LoadFailed, match=f"data file {missing}: No such file"),
        load_region(missing, DESCRIPTION, cache),
    ):
        pass
    assert not loaders()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "table.csv"
    os.mkfifo(pipe)
    with pytest.raises(LoadFailed, match="is a pipe, not a file"), load_region(pipe, DESCRIPTION):
        pass


@pytest.mark.parametrize("limit", [60, 100, 150, 190, 300])
def test_too_little_memory_is_an_error_in_words(
    run_python: Callable[..., str], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """`limit`, in megabytes, is that of the loader process: it meets it here or there, or not."""
    monkeypatch.setenv("RUST_BACKTRACE", "1")
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from server.loader import LoadFailed, load_region\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    with load_region(Path(sys.argv[2]), Path(sys.argv[3])):\n"
        "        print('loaded')\n"
        "except LoadFailed as error:\n"
        "    print(error)\n"
    )
    said = run_python(program, limit * 10**6, SAMPLE, DESCRIPTION)
    assert "too little memory" in said or said == "loaded\n"
    assert limit > 100 or said != "loaded\n"


def test_a_cached_table_whose_file_is_gone_is_not_served(
    tmp_path: Path, log: Log, eventually: Callable[..., None]
) -> None:
    table, cache = tmp_path / "table.csv.gz", tmp_path / "cache"
    shutil.copyfile(SAMPLE, table)
    with load_region(settled(table, eventually), DESCRIPTION, cache):
        eventually(lambda: log.has("are kept"))
    table.unlink()
    with pytest.raises(LoadFailed, match="No such file"), load_region(table, DESCRIPTION, cache):
        pass
