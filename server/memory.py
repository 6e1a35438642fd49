"""How much memory a process has, keeps and may take, and how that is said."""

import contextlib
import ctypes
import resource
from pathlib import Path

KEPT = 256 * 2**20
"""How many freed bytes a process of glibc keeps for what it needs next."""

KEEPING_FREED = {"MALLOC_TRIM_THRESHOLD_": str(KEPT), "MALLOC_MMAP_THRESHOLD_": str(KEPT)}
"""The environment of a process that keeps them.

One that gives its memory back to the kernel after each block of a resampling, and has it
faulted in again for the next, takes several times as long.
"""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def keep_freed() -> None:
    """Have this process keep them, whoever has started it; without glibc all stays as it is."""
    with contextlib.suppress(AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_TRIM_THRESHOLD, KEPT)
        set_option(_MMAP_THRESHOLD, KEPT)


def private_memory(pid: int) -> int:
    """The memory in bytes that only process `pid` uses; 0 where it cannot be read."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return 1024 * sum(
        int(line.split()[1])
        for line in rollup.splitlines()
        if line.startswith(("Private_Clean:", "Private_Dirty:"))
    )


def kept_memory() -> int:
    """The memory in bytes that this process has touched and does not share with files.

    Cheaper than `private_memory`, and enough to see it grow: pages that a fork has in common
    with its parent count.
    """
    _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(resident) - int(shared)) * resource.getpagesize()


class MemoryLimit:
    """This process may take `more` bytes beyond what it has now, while a `with` holds it to that.

    What is beyond fails as MemoryError, or as C code takes a `malloc` that fails. Counts
    what can be written and is not shared, touched or not; so not the columns. Outside of
    the `with` it may take `room` more: for C code that takes a failure badly, as msgspec's
    encoder does, but that has no need without end.
    """

    def __init__(self, more: int, room: int = 0) -> None:
        _, self._hard = resource.getrlimit(resource.RLIMIT_DATA)
        self._inside = _data_size() + more
        self._outside = self._inside + room
        self._set(self._outside)

    def __enter__(self) -> None:
        self._set(self._inside)

    def __exit__(self, *error: object) -> None:
        self._set(self._outside)

    def _set(self, size: int) -> None:
        if self._hard != resource.RLIM_INFINITY:
            size = min(size, self._hard)
        resource.setrlimit(resource.RLIMIT_DATA, (size, self._hard))


def _data_size() -> int:
    """What the kernel holds against RLIMIT_DATA, in bytes."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmData:"))
    return 1024 * int(line.split()[1])


def in_words(size: int) -> str:
    """`size` bytes in the largest unit that gives a whole number: 512 MiB, 1 GiB, 1000 bytes."""
    for unit, length in _UNITS:
        if size and size % length == 0:
            return f"{size // length} {unit}"
    return f"{size} bytes"
