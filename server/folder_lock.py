"""One server per results folder: an advisory lock that ends with its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.errors import StartError


@contextmanager
def holding_folder(folder: Path) -> Iterator[None]:
    """Hold `folder`, whose lock file is `folder/lock`; StartError names who else does.

    The kernel lets go of the lock when the process is gone, however it ended.
    """
    path = folder / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"the results folder {folder.parent} cannot be held: {error}") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise StartError(
                f"the results folder {folder.parent} is held by another server, process {holder}"
            ) from None
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise StartError(
                f"the results folder {folder.parent} cannot be written to: {error}"
            ) from error
        yield
    finally:
        os.close(fd)
