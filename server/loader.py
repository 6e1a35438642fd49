"""Loading a table into shared memory: from the column cache, or by a process of its own.

    data file unchanged ── column cache ── copied and checked ──────────────▶ region, sealed
         else ── loader process ── parses ──▶ region ── "loaded" ─▶ sealed ─┘
                      └── goes on when it is sealed: keeps the columns for next time

The CSV library and the memory that parsing takes never enter the server: a short-lived
process reads the file into the region that it was handed, and says how that went in one line
of JSON. It says so before it writes the cache file, so that nobody waits for that, and what
became of the file in another line. It reads nothing of the region before that is sealed: a
page that is being read at that moment would keep the seal off. It leaves at once when the
server is gone.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from server.column_cache import ColumnCache, Unfit, keep
from server.column_source import Source
from server.dataset import load_description
from server.errors import SharedMemoryError, SportivError, StartError
from server.interpreter import computing_environment, module_command
from server.shared_data import SharedRegion, write_table

KEEPING_NICE = 10
"""By how much the loader process steps back behind the workers when the table is loaded."""

_WITHOUT_BACKTRACES = {"RUST_BACKTRACE": "0"}
"""polars hangs where there is too little memory to print one."""

_OF_TOO_LITTLE_MEMORY = (signal.SIGKILL, signal.SIGABRT)

log = logging.getLogger("sportiv.columns")


class _Job(msgspec.Struct, frozen=True):
    fd: int
    lifeline: int
    data: str
    dataset: str
    cache: int | None


class _Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    pass


class _Failure(msgspec.Struct, frozen=True, tag="failure"):
    reason: str


class _Kept(msgspec.Struct, frozen=True, tag="kept"):
    size: int


class _NotKept(msgspec.Struct, frozen=True, tag="not kept"):
    reason: str


_Said = _Loaded | _Failure | _Kept | _NotKept
_decode = msgspec.json.Decoder(_Said).decode


class LoadFailed(StartError):
    """The table cannot be loaded; the text says where and why."""


@contextmanager
def load_region(data: Path, dataset: Path, cache: Path | None = None) -> Iterator[SharedRegion]:
    """A sealed region with the table of file `data`, read as the description `dataset` says.

    `cache` is a folder with the columns of tables that were loaded before, and for this one's;
    with None, or where it cannot be used, the file is parsed. Leaving closes the region, and
    ends what still keeps the columns. Raises LoadFailed with the text of the DataError,
    DescriptionError or SharedMemoryError that was met.
    """
    with SharedRegion() as region, ExitStack() as opened:
        columns = _opened(cache, opened)
        try:
            cached = columns is not None and columns.fill(region.fd, data, dataset)
        except SharedMemoryError as error:
            raise LoadFailed(str(error)) from None
        if cached:
            log.info("the columns of %s come from the cache %s", data, cache)
        else:
            loader = opened.enter_context(_Loader(region, data, dataset, columns))
            log.info("the columns are those of %s, read now", data)
        region.seal()
        if not cached:
            loader.go_on()
        yield region


def _opened(cache: Path | None, opened: ExitStack) -> ColumnCache | None:
    if cache is None:
        return None
    try:
        return opened.enter_context(ColumnCache(cache))
    except OSError as error:
        log.warning("the column cache %s cannot be used: %s", cache, error)
        return None


class _Loader:
    """Owns the loader process; a context manager, entered when the table is in the region.

    A thread waits for what the process still does then, and logs what became of it.
    """

    def __init__(
        self, region: SharedRegion, data: Path, dataset: Path, cache: ColumnCache | None
    ) -> None:
        descriptors = [region.fd, *([cache.fd] if cache else [])]
        lifeline, self._held = os.pipe()  # reads end of file when this process is gone
        job = _Job(region.fd, lifeline, str(data), str(dataset), cache.fd if cache else None)
        try:
            self._process = subprocess.Popen(
                module_command("server.loader", msgspec.json.encode(job).decode()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[*descriptors, lifeline],
                env=computing_environment() | _WITHOUT_BACKTRACES,
            )
        except BaseException:
            os.close(self._held)
            raise
        finally:
            os.close(lifeline)
        self._thread = threading.Thread(target=self._wait, name="loader", daemon=True)
        self._leaving = False
        self._keeps = cache is not None

    def __enter__(self) -> Self:
        """Wait until the table is in the region; LoadFailed where it cannot be."""
        try:
            match self._heard():
                case _Loaded():
                    self._thread.start()
                case _Failure(reason):
                    raise LoadFailed(reason)
                case _:
                    raise LoadFailed(f"the process that loads the table {self._end()}")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving = True
        self._process.kill()
        self._thread.join()
        self._close()

    def go_on(self) -> None:
        """Let the process keep the columns, where it is to: the region is sealed."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _wait(self) -> None:
        match self._heard():
            case None if not self._keeps:
                pass
            case _Kept(size):
                log.info("the columns are kept for the next start, %.1f MiB", size / 2**20)
            case _NotKept(reason):
                log.warning("the columns are not kept for the next start: %s", reason)
            case _:
                reason = "the server leaves" if self._leaving else f"their writer {self._end()}"
                log.warning("the columns are not kept for the next start: %s", reason)
        self._process.wait()

    def _heard(self) -> _Said | None:
        """The next line that the process says; None where it has left without one."""
        assert self._process.stdout is not None
        with suppress(msgspec.DecodeError):
            said: _Said = _decode(self._process.stdout.readline())
            return said
        return None

    def _end(self) -> str:
        code = self._process.wait()
        if -code in _OF_TOO_LITTLE_MEMORY:
            return f"was killed by signal {-code}: too little memory?"
        if code < 0:
            return f"was killed by signal {-code}"
        return f"left with exit code {code}; see standard error"

    def _close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        os.close(self._held)


def main(job: _Job) -> int:
    """Load the table into the region, then keep it where there is a cache; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the server that leaves, and this then too
    data, dataset = Path(job.data), Path(job.dataset)
    source = _source(data, dataset) if job.cache is not None else None
    try:
        threading.Thread(target=_watch_lifeline, args=(job.lifeline,), daemon=True).start()
        _load(job.fd, data, dataset)
    except SportivError as error:
        _say(_Failure(str(error)))
        return 1
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "new thread" not in str(error):
            raise
        _say(_Failure(f"data file {data}: there is too little memory to load it"))
        return 1
    _say(_Loaded())
    if job.cache is not None:
        sys.stdin.buffer.read()  # until the region is sealed
        os.nice(KEEPING_NICE)
        try:
            if source is None:
                raise Unfit("what they were made of is not known")
            _say(_Kept(keep(job.cache, job.fd, source, data, dataset)))
        except (Unfit, OSError) as error:
            _say(_NotKept(str(error)))
    return 0


def _load(region: int, data: Path, dataset: Path) -> None:
    from server.ingest import read_table  # here, so that the server's end does not import it

    write_table(region, read_table(data, load_description(dataset)))


def _source(data: Path, dataset: Path) -> Source | None:
    with suppress(OSError):  # reading them will say what it is
        return Source.of(data, dataset)
    return None


def _say(said: _Said) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


def _watch_lifeline(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(msgspec.json.decode(sys.argv[1], type=_Job)))
