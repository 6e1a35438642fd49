"""One JSON file per job, replaced whole: a reader never sees half of one."""

import ctypes
import errno
import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

RUNNING = b'{"status":"running"}'
"""What the file of a job holds that has not ended."""

# A link is not followed, and a pipe in a file's place is not waited for.
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EACCES)  # a link, a socket, not to be read


def checksum(content: bytes) -> int:
    """A number that tells `content` from what is left of it when it is torn or emptied.

    Its length and its CRC-32, in less than 63 bits.
    """
    return len(content) << 32 | zlib.crc32(content)


class ResultStore:
    """The files `job_id_<n>.json` in one folder. One thread writes; any may read.

    New content is written beside the folder's files, under `private`, and then takes the
    place of the old in one step. What cannot be a result is moved to `private/set_aside/`.
    """

    def __init__(self, folder: Path, private: Path) -> None:
        self._folder = str(folder)
        self._temporary = str(private / "result.tmp")
        self._private = private
        self._set_aside = private / "set_aside"

    def path(self, job_id: int) -> str:
        """Where the job's file lies."""
        return f"{self._folder}/job_id_{job_id}.json"

    def write(self, job_id: int, content: bytes) -> None:
        """Put `content` in the place of what the job's file holds; OSError as it comes.

        It is not flushed: see `flush`.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(self._temporary, flags, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        try:
            os.replace(self._temporary, self.path(job_id))  # noqa: PTH105 - one call per result
        except IsADirectoryError:
            self.set_aside(job_id)
            os.replace(self._temporary, self.path(job_id))  # noqa: PTH105

    def read(self, job_id: int) -> bytes | None:
        """What the job's file holds; None where there is none.

        Nothing (`b""`) where something else lies in its place, such as a link or a folder.
        """
        try:
            fd = os.open(self.path(job_id), _READ_FILE)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _NO_FILE:
                return b""
            raise
        try:
            status = os.fstat(fd)
            return os.read(fd, status.st_size) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(fd)

    def set_aside(self, job_id: int) -> Path | None:
        """Move whatever lies in the place of the job's file away; where to, if there was any."""
        self._set_aside.mkdir(mode=0o700, exist_ok=True)
        target = self._set_aside / f"job_id_{job_id}.json.{time.time_ns()}"
        try:
            Path(self.path(job_id)).rename(target)
        except FileNotFoundError:
            return None
        return target

    def remove(self, job_id: int) -> None:
        """Remove the job's file, if there is one."""
        path = Path(self.path(job_id))
        try:
            path.unlink(missing_ok=True)
        except (IsADirectoryError, PermissionError):  # nothing that the server has put there
            self.set_aside(job_id)

    def tidy(self) -> None:
        """Remove what a server that was killed has left half written."""
        for path in self._private.glob("*.tmp"):
            if path.is_file() or path.is_symlink():
                path.unlink()

    def check_writable(self) -> None:
        """OSError where the folder is gone or the disk takes no file; by trying."""
        _flush(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, lambda fd: None)
        probe = self._private / f"probe.{threading.get_ident()}.tmp"
        try:
            probe.write_bytes(RUNNING)
        finally:
            probe.unlink(missing_ok=True)

    def flush(self, job_ids: Iterable[int]) -> None:
        """Make the files of these jobs, and that they are there, survive loss of power.

        A file that is gone by now (somebody has emptied the folder) needs none. Where the
        system can flush a whole file system in one call, that is one flush for all.
        """
        if _syncfs is None:
            for job_id in job_ids:
                self._flush_file(job_id)
        _flush(self._folder, os.O_RDONLY | os.O_CLOEXEC, _syncfs or os.fsync)

    def _flush_file(self, job_id: int) -> None:
        try:
            _flush(self.path(job_id), _READ_FILE, os.fsync)
        except OSError as error:
            # Gone, or something else put in its place: nothing of ours to flush.
            if error.errno not in (errno.ENOENT, errno.EINVAL, *_NO_FILE):
                raise


def _flush(path: str, flags: int, by: Callable[[int], None]) -> None:
    fd = os.open(path, flags)
    try:
        by(fd)
    finally:
        os.close(fd)


def _find_syncfs() -> Callable[[int], None] | None:
    """The C library's `syncfs`, raising OSError as the functions of `os` do; None without."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        return None

    def syncfs(fd: int) -> None:
        if library.syncfs(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


_syncfs = _find_syncfs()
