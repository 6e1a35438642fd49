"""Folders for what is measured, on the disk of the checkout.

Where thousands of files were removed within the last minutes, ext4 looks at each free place for
one that is not theirs, and a new file takes ten times as long: whoever is measured after tests, or
after another benchmark, would pay for what these have left. So nothing is removed before this
process ends, and each folder is placed away from the others, and so from what went before.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path

from server.settings import ROOT

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS: linux/fs.h
_TOP_OF_TREES = 0x20000  # FS_TOPDIR_FL: the folders in this one have nothing to do with each other
_FLAGS = struct.Struct("l")


def new_folder() -> Path:
    """An empty folder, which is removed when this process ends."""
    return Path(tempfile.mkdtemp(dir=_scratch()))


@cache
def _scratch() -> str:
    folder = tempfile.mkdtemp(prefix="sportiv-bench-", dir=ROOT)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # other file systems know of no such thing
        spread_out(folder)
    return folder


def spread_out(folder: str) -> None:
    """Have the folders in this one placed away from each other; OSError where that is not known."""
    flags = _FLAGS.pack(_flags(folder) | _TOP_OF_TREES)
    _control(folder, _SET_FLAGS, flags)


def is_spread_out(folder: str) -> bool:
    """Whether they are; OSError where that is not known."""
    return bool(_flags(folder) & _TOP_OF_TREES)


def _flags(folder: str) -> int:
    (flags,) = _FLAGS.unpack(_control(folder, _GET_FLAGS, bytes(_FLAGS.size)))
    return int(flags)


def _control(folder: str, operation: int, content: bytes) -> bytes:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return fcntl.ioctl(fd, operation, content)
    finally:
        os.close(fd)
