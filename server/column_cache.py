"""Tables that were loaded before, kept in files so that an unchanged one is not parsed again.

A file holds what the region held, behind a block of 4096 bytes that says what it was made of,
with a digest of each. It is believed where all of this is so, and else the table is read anew:

- it is this user's own file, nobody else can write to it, and it is as long as it says;
- the same program would make the columns by the same description;
- the table is unchanged: it is the very file, not written to since; or a copy of it, by its
  content;
- the bytes that were copied into the region have the digest that was noted.

Reading looks at everything each time and changes nothing that could be wrong for another
reader: several servers may have one folder, and one of them writes to it at a time.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Self

import msgspec

from server.column_source import Source, content_of
from server.digest import PIECE, digest, write_at
from server.shared_data import reserve_space

MOST = 2
"""How many tables are kept, the latest used ones."""

SHARE_OF_DISK = 0.5
"""How much of the room that the disk has left a file may take; the rest is for results."""

SUFFIX = ".columns"
TEMPORARY = "columns.tmp"

_BLOCK = 4096
_MAGIC = b"sportiv columns\n"
_START = Struct(f"<{len(_MAGIC)}s32s")
_FLUSHED = 64 * PIECE  # bytes, so that nobody else's flush has to wait for many of ours

# A link is not followed, and a pipe in a file's place is not waited for.
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

log = logging.getLogger("sportiv.columns")


class Unfit(Exception):
    """A file is not believed, or columns are not kept; the text says why."""


class _Header(msgspec.Struct, frozen=True):
    """What columns were made of: `content` is the table's digest, `columns` that of their bytes."""

    source: Source
    content: str
    size: int
    columns: str


class ColumnCache:
    """The files of one folder. A context manager that owns a descriptor of the folder, `fd`.

    Another process may be handed `fd`, to `keep` columns there. Entering and leaving remove
    what a process that is gone has left half written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder
        self.fd = -1

    def __enter__(self) -> Self:
        """Open the folder, made where it is missing; OSError where that cannot be."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.fd = os.open(self._path, _FOLDER)
        _tidy(self.fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _tidy(self.fd)
        os.close(self.fd)

    def fill(self, region: int, data: Path, dataset: Path) -> bool:
        """Copy the columns of table `data` into the empty `region`; whether they were kept.

        Where they were not, the region is still empty. SharedMemoryError where there is not
        the memory for them. What is not believed is removed, and the log says why.
        """
        try:
            source = Source.of(data, dataset)
            for name in _names(self.fd):
                with self._doubting(name), _opened(name, self.fd) as (fd, header):
                    if _is_of(header, source, data):
                        _copy(fd, header, region)
                        self._note_use(name, header, source)
                        return True
        except OSError as error:
            log.warning("the column cache %s is of no use: %s", self._path, error)
        return False

    @contextmanager
    def _doubting(self, name: str) -> Iterator[None]:
        """Remove the file, and go on without it, where it turns out to be unfit."""
        try:
            yield
        except (Unfit, OSError) as error:
            log.warning("the cached columns %s are not believed: %s", self._path / name, error)
            _remove(name, self.fd)

    def _note_use(self, name: str, header: _Header, source: Source) -> None:
        """Let the file be the latest used one, and know its table in the present state too."""
        with contextlib.suppress(OSError):  # a folder that takes no writes
            os.utime(name, dir_fd=self.fd, follow_symlinks=False)
            if source.settled and header.source != source:
                fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
                try:
                    write_at(fd, _encoded(msgspec.structs.replace(header, source=source)), 0)
                finally:
                    os.close(fd)


def _is_of(header: _Header, source: Source, data: Path) -> bool:
    """Whether the columns would come out the same again."""
    if not header.source.is_as(source):
        return False
    return header.source.state == source.state or header.content == content_of(data)


def _copy(fd: int, header: _Header, region: int) -> None:
    """Copy the columns into the empty region; Unfit where they are not what they were."""
    reserve_space(region, header.size)
    try:
        take = partial(write_at, region)
        if digest(fd, header.size, begin=_BLOCK, take=take) != header.columns:
            raise Unfit("the columns are damaged")
    except BaseException:
        os.ftruncate(region, 0)
        raise


# -- one file -------------------------------------------------------------------------


@contextmanager
def _opened(name: str, folder: int) -> Iterator[tuple[int, _Header]]:
    """The file and its header; Unfit where it cannot be one of ours or its header is damaged."""
    fd = os.open(name, _READ_FILE, dir_fd=folder)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise Unfit("there is something else in its place")
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise Unfit("somebody else could have written to it")
        header = _decoded(os.pread(fd, _BLOCK, 0))
        if status.st_size != _BLOCK + header.size:
            raise Unfit(f"it has {status.st_size} bytes, and should have {_BLOCK + header.size}")
        yield fd, header
    finally:
        os.close(fd)


def _encoded(header: _Header) -> bytes:
    rest = msgspec.json.encode(header).ljust(_BLOCK - _START.size)
    return _START.pack(_MAGIC, hashlib.sha256(rest).digest()) + rest


def _decoded(block: bytes) -> _Header:
    rest = block[_START.size :]
    if len(block) < _BLOCK or _START.unpack_from(block) != (_MAGIC, hashlib.sha256(rest).digest()):
        raise Unfit("its first block is damaged")
    try:
        return msgspec.json.decode(rest, type=_Header)
    except msgspec.DecodeError:
        raise Unfit("it was written by another version of this program") from None


def keep(folder: int, region: int, source: Source, data: Path, dataset: Path) -> int:
    """Keep the columns in `region`, made of `source`, in a file of the folder; its size.

    Raises Unfit where they are not to be kept, OSError where they cannot be; then nothing of
    the file is left. The table's file is read once more, for its digest.
    """
    if not source.settled:
        raise Unfit("the table was changed only just before it was read")
    size = os.fstat(region).st_size
    with _writing_alone(folder):
        for name in _names(folder)[MOST - 1 :]:
            _remove(name, folder)
        _check_room(folder, _BLOCK + size)
        content = content_of(data)
        if content is None or Source.of(data, dataset) != source:
            raise Unfit("the table was changed while it was read")
        try:
            _write(folder, region, _Header(source, content, size, ""))
            name = _name(source, content)
            os.replace(TEMPORARY, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            _remove(TEMPORARY, folder)
    return _BLOCK + size


def _name(source: Source, content: str) -> str:
    """The name of a file: a fingerprint of all that its columns were made of."""
    made_of = msgspec.json.encode((source.program, source.description, content))
    return hashlib.sha256(made_of).hexdigest()[:32] + SUFFIX


def _write(folder: int, region: int, header: _Header) -> None:
    """Write the file under its temporary name, flushed."""
    fd = os.open(TEMPORARY, _NEW_FILE, 0o600, dir_fd=folder)

    def take(piece: memoryview, at: int) -> None:
        write_at(fd, piece, _BLOCK + at)
        if at % _FLUSHED == 0:
            os.fdatasync(fd)

    try:
        os.posix_fallocate(fd, 0, _BLOCK + header.size)
        columns = digest(region, header.size, take=take)
        write_at(fd, _encoded(msgspec.structs.replace(header, columns=columns)), 0)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _check_room(folder: int, size: int) -> None:
    disk = os.fstatvfs(folder)
    room = disk.f_bavail * disk.f_frsize
    if size > room * SHARE_OF_DISK:
        raise Unfit(f"{size / 2**20:.0f} MiB are too much for the {room / 2**20:.0f} MiB left")


# -- the folder -----------------------------------------------------------------------


@contextmanager
def _writing_alone(folder: int) -> Iterator[None]:
    """Hold the folder, and clear what is half written; Unfit where another process holds it.

    The lock is of a descriptor of its own, so that it ends with the process that took it.
    """
    fd = os.open(".", _FOLDER, dir_fd=folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(TEMPORARY, folder)
        yield
    except BlockingIOError:
        raise Unfit("another server is writing to the folder") from None
    finally:
        os.close(fd)


def _tidy(folder: int) -> None:
    with contextlib.suppress(Unfit, OSError), _writing_alone(folder):
        pass


def _names(folder: int) -> list[str]:
    """The names of the files, the latest used one first."""
    used = {
        entry.name: entry.stat(follow_symlinks=False).st_mtime_ns
        for entry in os.scandir(folder)
        if entry.name.endswith(SUFFIX)
    }
    return sorted(used, key=used.__getitem__, reverse=True)


def _remove(name: str, folder: int) -> None:
    """Remove what has this name, if anything has and the folder takes writes.

    A folder is nothing that this program has made: it is moved out of the way.
    """
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        os.rename(name, f"{name}.{time.time_ns()}", src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:
        pass
