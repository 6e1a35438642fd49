"""One JSON file per job, replaced whole: a reader never sees half of one."""

import ctypes
import errno
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

RUNNING = b'{"status":"running"}'

# A link is not followed, and a pipe in a file's place is not waited for.
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_NAME = re.compile(r"job_id_([1-9][0-9]{0,17})\.json")


class ResultStore:
    """The files `job_id_<n>.json` in one folder. One thread writes; any may read.

    New content is written beside the folder's files, under `private`, and then takes the
    place of the old in one step.
    """

    def __init__(self, folder: Path, private: Path) -> None:
        self._folder = str(folder)
        self._temporary = str(private / "result.tmp")

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
        os.replace(self._temporary, self.path(job_id))  # noqa: PTH105 - one call per result

    def read(self, job_id: int) -> bytes | None:
        """What the job's file holds; None where there is none, or not a plain file."""
        try:
            fd = os.open(self.path(job_id), _READ_FILE)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            return os.read(fd, status.st_size) if stat.S_ISREG(status.st_mode) else None
        finally:
            os.close(fd)

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
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.EINVAL):
                raise

    def job_ids(self) -> set[int]:
        """The jobs that have a file."""
        names = (_NAME.fullmatch(entry.name) for entry in os.scandir(self._folder))
        return {int(name[1]) for name in names if name}


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
