"""One JSON file per job, replaced whole: a reader never sees half of one."""

import contextlib
import ctypes
import errno
import os
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from server.channel import MAX_FRAME

RUNNING = b'{"status":"running"}'
"""What the file of a job holds that has not ended."""

LONGEST_RESULT = MAX_FRAME + 1024
"""No result has more bytes: a worker's answer with what stands around it."""

# A link is not followed, and a pipe in a file's place is not waited for.
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

MOST_SET_ASIDE = 100
"""How many files are kept of those that were no result; the oldest make way for another."""

_TEMPORARY = "result.tmp"
_SET_ASIDE = "set_aside"


class LongResult(Exception):
    """A result has more bytes than whoever asks for it takes."""


def checksum(content: bytes) -> int:
    """A number that tells `content` from what is left of it when it is torn or emptied.

    Its length and its CRC-32, in less than 63 bits.
    """
    return len(content) << 32 | zlib.crc32(content)


def length_of(checksum: int) -> int:
    """How many bytes the content had of which this is the checksum."""
    return checksum >> 32


class ResultStore:
    """The files `job_id_<n>.json` in one folder. One thread writes; any may read.

    A context manager that owns a descriptor of the folder and one of `private`, so that it
    stays with these two whatever happens to their names. New content is written under
    `private`, and then takes the place of the old in one step. What cannot be a result is
    moved to `private/set_aside/`, which is bounded.
    """

    def __init__(self, folder: Path, private: Path) -> None:
        self._path = folder
        self._private_path = private

    def __enter__(self) -> Self:
        """Open the folders; OSError where they cannot be."""
        with ExitStack() as opened:
            self._folder = _open_folder(self._path, opened)
            self._private = _open_folder(self._private_path, opened)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def path(self, job_id: int) -> Path:
        """Where a person finds the job's file."""
        return self._path / name_of(job_id)

    def write(self, job_id: int, content: bytes) -> None:
        """Put `content` in the place of what the job's file holds; OSError as it comes.

        It is not flushed: see `flush`.
        """
        fd = self._open_temporary()
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        try:
            self._put_in_place(name_of(job_id))
        except IsADirectoryError:
            self.set_aside(job_id)
            self._put_in_place(name_of(job_id))

    def _open_temporary(self) -> int:
        """A new file under `private`, whatever lay there under its name before."""
        try:
            return os.open(_TEMPORARY, _NEW_FILE, 0o600, dir_fd=self._private)
        except FileExistsError:
            self._clear_temporary()
            return os.open(_TEMPORARY, _NEW_FILE, 0o600, dir_fd=self._private)

    def _clear_temporary(self) -> None:
        try:
            os.unlink(_TEMPORARY, dir_fd=self._private)
        except IsADirectoryError:
            self._move_aside(_TEMPORARY, self._private)

    def _put_in_place(self, name: str) -> None:
        os.replace(_TEMPORARY, name, src_dir_fd=self._private, dst_dir_fd=self._folder)

    def read(self, job_id: int) -> bytes | None:
        """What the job's file holds; None where there is none.

        Nothing (`b""`) where something else lies in its place: a link, a folder, or a file
        that is longer than any result.
        """
        try:
            fd = os.open(name_of(job_id), _READ_FILE, dir_fd=self._folder)
        except FileNotFoundError:
            return None
        except OSError:
            if self._is_foreign(job_id):
                return b""
            raise
        try:
            status = os.fstat(fd)
            is_result = stat.S_ISREG(status.st_mode) and status.st_size <= LONGEST_RESULT
            return os.read(fd, status.st_size) if is_result else b""
        finally:
            os.close(fd)

    def _is_foreign(self, job_id: int) -> bool:
        """Whether what cannot be opened is no file of ours, and not the folder that is at fault."""
        try:
            status = os.stat(name_of(job_id), dir_fd=self._folder, follow_symlinks=False)
        except OSError:
            return False
        return not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IRUSR

    def set_aside(self, job_id: int) -> Path | None:
        """Move whatever lies in the place of the job's file away; where to, if there was any."""
        return self._move_aside(name_of(job_id), self._folder)

    def _move_aside(self, name: str, folder: int) -> Path | None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(_SET_ASIDE, 0o700, dir_fd=self._private)
        target = f"{_SET_ASIDE}/{name}.{time.time_ns()}"
        try:
            os.rename(name, target, src_dir_fd=folder, dst_dir_fd=self._private)
        except FileNotFoundError:
            return None
        self._forget_oldest_aside()
        return self._private_path / target

    def _forget_oldest_aside(self) -> None:
        """Keep no more files aside than MOST_SET_ASIDE; a folder there is somebody's own."""
        with contextlib.suppress(OSError), ExitStack() as opened:
            folder = _open_folder(_SET_ASIDE, opened, self._private)
            with os.scandir(folder) as aside:
                names = [each.name for each in aside if not each.is_dir(follow_symlinks=False)]
            for name in sorted(names, key=_moment)[:-MOST_SET_ASIDE]:
                os.unlink(name, dir_fd=folder)

    def remove(self, job_id: int) -> None:
        """Remove the job's file, if there is one."""
        try:
            os.unlink(name_of(job_id), dir_fd=self._folder)
        except FileNotFoundError:
            return
        except IsADirectoryError:  # nothing that the server has put there
            self.set_aside(job_id)

    def tidy(self) -> None:
        """Remove what a server that was killed has left half written."""
        for path in self._private_path.glob("*.tmp"):
            if path.is_file() or path.is_symlink():
                path.unlink()
            else:
                self._move_aside(path.name, self._private)

    def check_writable(self) -> None:
        """OSError where the folder is gone or takes no result; by trying, any thread its own."""
        if not os.path.samestat(self._path.stat(), os.fstat(self._folder)):
            gone = "another folder is in its place"
            raise FileNotFoundError(errno.ENOENT, gone, str(self._path))
        name = f"probe.{threading.get_ident()}.tmp"
        place = f".{name}"
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=self._private)
        try:
            os.write(fd, RUNNING)
            os.replace(name, place, src_dir_fd=self._private, dst_dir_fd=self._folder)
        finally:
            os.close(fd)
            for left, folder in ((name, self._private), (place, self._folder)):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(left, dir_fd=folder)

    def flush(self, job_ids: Iterable[int]) -> None:
        """Make the files of these jobs, and that they are there, survive loss of power.

        A file that is gone by now (somebody has emptied the folder) needs none. Where the
        system can flush a whole file system in one call, that is one flush for all.
        """
        if _syncfs is not None:
            _syncfs(self._folder)
            return
        for job_id in job_ids:
            self._flush_file(job_id)
        os.fsync(self._folder)

    def _flush_file(self, job_id: int) -> None:
        try:
            fd = os.open(name_of(job_id), _READ_FILE, dir_fd=self._folder)
        except OSError as error:
            # Gone, or something else put in its place: nothing of ours to flush.
            if error.errno == errno.ENOENT or self._is_foreign(job_id):
                return
            raise
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        finally:
            os.close(fd)


def name_of(job_id: int) -> str:
    """The name of a job's file in its folder."""
    return f"job_id_{job_id}.json"


def _moment(name: str) -> str:
    """When what has this name was set aside."""
    return name.rpartition(".")[2]


def _open_folder(path: Path | str, opened: ExitStack, within: int | None = None) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=within)
    opened.callback(os.close, fd)
    return fd


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
