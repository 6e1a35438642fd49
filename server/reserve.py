"""Room on the disk that is held back for what must still be written when the disk is full."""

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

# A link is not followed, and a pipe in the file's place is not waited for.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Reserve:
    """Owns a file of `size` bytes at `path`. A context manager: leaving it removes the file.

    Where the disk has no room for it, or no way to reserve any, there is just no reserve.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._held = False

    def __enter__(self) -> Self:
        self.restore()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> bool:
        """Give the room back to the disk; whether there was any."""
        held, self._held = self._held, False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        return held

    def restore(self) -> None:
        """Hold the room again, if it is not held and the disk has it now."""
        if self._held:
            return
        try:
            fd = os.open(self._path, _FLAGS, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(fd, 0, self._size)
            self._held = True
        except OSError:
            self.release()
        finally:
            os.close(fd)
