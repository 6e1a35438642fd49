"""The columns on a host of Dask workers: one checked file per table, mapped by every worker there.

A file holds what a server's region holds and is named by the digest of that, so that no table
is ever taken for another. It is written under a name of its own, checked, and only then given
its name. Workers of several hosts may have one folder; then the columns are sent once for all.
"""

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from server.digest import digest, write_at
from server.shared_data import attach_table, reserve_space
from server.table import Table

MOST = 8
"""How many tables are kept in a folder, the latest used ones."""

ABANDONED_SECONDS = 600.0
"""How long nobody has written to a file that is half there before it is removed."""

SUFFIX = ".columns"
HALF = ".half"

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def default_folder() -> Path:
    """This user's folder in shared memory, or among the temporary files where there is none."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else Path(tempfile.gettempdir())
    return parent / f"sportiv-columns-{os.geteuid()}"


class ColumnStore:
    """The files of one folder, which is made where it is missing.

    OSError where the folder cannot be had, or where somebody else could write to it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        if not ours or status.st_mode & 0o022:
            raise PermissionError(f"somebody else could write to {folder}")
        self._folder = folder

    def identity(self) -> str:
        """A name of the folder: the same for everyone who has the folder, on whichever host."""
        path = self._folder / "identity"
        with self._alone():
            if not path.exists():
                path.write_text(secrets.token_hex(8))
        return path.read_text()

    def attach(self, columns: str) -> Table | None:
        """The table whose columns have this digest, mapped read-only; None where it is not here.

        A file that is damaged counts as none, and is removed.
        """
        path = self._path(columns)
        try:
            fd = os.open(path, _READ_FILE)
        except FileNotFoundError:
            return None
        try:
            if digest(fd, os.fstat(fd).st_size) == columns:
                os.utime(path)
                return attach_table(fd)
        finally:
            os.close(fd)
        path.unlink(missing_ok=True)
        return None

    def begin(self, columns: str, size: int) -> str:
        """Begin to take the columns; a name by which to go on.

        SharedMemoryError where there is not the room for them.
        """
        self._tidy()
        path = self._folder / f"{columns[:16]}-{secrets.token_hex(8)}{HALF}"
        fd = os.open(path, _NEW_FILE, 0o600)
        try:
            reserve_space(fd, size)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(fd)
        return path.name

    def add(self, name: str, piece: bytes, at: int) -> None:
        """Write a piece of the columns."""
        fd = os.open(self._folder / name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            write_at(fd, piece, at)
        finally:
            os.close(fd)

    def end(self, name: str, columns: str) -> None:
        """All pieces are there: from now on the columns can be attached.

        ValueError, and nothing is kept, where they are not what they should be.
        """
        path = self._folder / name
        fd = os.open(path, _READ_FILE)
        try:
            whole = digest(fd, os.fstat(fd).st_size) == columns
        finally:
            os.close(fd)
        if not whole:
            path.unlink()
            raise ValueError("the columns have been damaged on the way")
        path.chmod(0o400)
        path.replace(self._path(columns))

    def _path(self, columns: str) -> Path:
        return self._folder / (columns + SUFFIX)

    def _tidy(self) -> None:
        """Make room for one more table; those that are mapped stay so until nobody has them."""
        with self._alone():
            whole = {path: _used(path) for path in self._folder.glob(f"*{SUFFIX}")}
            for path in sorted(whole, key=whole.__getitem__)[: -(MOST - 1)]:
                path.unlink(missing_ok=True)
            for path in self._folder.glob(f"*{HALF}"):
                if _used(path) < time.time() - ABANDONED_SECONDS:
                    path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _used(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0
