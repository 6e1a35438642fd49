"""The columns in shared memory: one owner publishes them, any process attaches read-only.

The region is a memfd: it has no name, so nothing can attach to it or destroy it by accident,
it is gone when its last holder is, however that one ended, and once sealed not even its
owner can change a byte. Where the system has no memfd, an unlinked temporary file serves.

Layout: the length of a JSON header (eight bytes, little endian), the header (fingerprint,
names, and for each array its type, length and offset), then the arrays, each at a multiple
of 64 bytes from the start of the file.
"""

import errno
import mmap
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from struct import Struct
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from server.digest import write_at
from server.errors import SharedMemoryError
from server.machine import Machine
from server.table import Names, Table

_ALIGNMENT = 64
_LENGTH = Struct("<Q")


class _ArrayPlace(msgspec.Struct, frozen=True):
    dtype: str
    length: int
    offset: int


class _Header(msgspec.Struct, frozen=True):
    fingerprint: str
    names: Names
    arrays: dict[str, _ArrayPlace]


class SharedRegion:
    """Owns the descriptor of one region; a context manager that closes it.

    The creator makes it empty, lets one process `write_table` into `fd`, and `seal`s it.
    Mappings made by `attach_table` outlive the descriptor.
    """

    def __init__(self) -> None:
        self.fd = _anonymous_file()

    def seal(self) -> None:
        """Make the bytes final for everyone, this process included."""
        if hasattr(os, "memfd_create"):
            import fcntl

            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)

    @property
    def size(self) -> int:
        """The region's length in bytes."""
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        """Close the descriptor; calling it again does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sportiv-columns", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fd, name = tempfile.mkstemp(prefix="sportiv-columns-")
    Path(name).unlink()
    return fd


def write_table(fd: int, table: Table) -> None:
    """Write `table` into the empty region `fd`.

    The space is reserved before a byte is written, so that too little memory is a
    SharedMemoryError here and never a SIGBUS in whoever reads.
    """
    arrays = table.arrays()
    header, size = _encode_header(table, arrays)
    reserve_space(fd, size)
    write_at(fd, _LENGTH.pack(len(header)) + header, 0)
    places = msgspec.json.decode(header, type=_Header).arrays
    with ThreadPoolExecutor() as together:
        for _ in together.map(lambda name: _write_array(fd, arrays[name], places[name]), arrays):
            pass


def _write_array(fd: int, array: npt.NDArray[Any], place: _ArrayPlace) -> None:
    write_at(fd, array.view(np.uint8).data, place.offset)


def _encode_header(table: Table, arrays: dict[str, npt.NDArray[Any]]) -> tuple[bytes, int]:
    """The header's bytes and the region's size.

    Offsets are part of the header and start behind it, so the space for the header is
    taken from one with the longest offsets there can be.
    """

    def encode(offsets: dict[str, int]) -> bytes:
        places = {
            name: _ArrayPlace(array.dtype.str, len(array), offsets[name])
            for name, array in arrays.items()
        }
        header = _Header(table.fingerprint, table.names, places)
        return msgspec.json.encode(header, order="deterministic")

    longest = encode(dict.fromkeys(arrays, 2**62))
    position = _LENGTH.size + len(longest)
    offsets = {}
    for name, array in arrays.items():
        offsets[name] = position = -(-position // _ALIGNMENT) * _ALIGNMENT
        position += array.nbytes
    return encode(offsets), position


def reserve_space(fd: int, size: int) -> None:
    """Take `size` bytes for the empty region now, or SharedMemoryError.

    The kernel promises more memory than there is, so what is left is looked at first: where
    it does not suffice, it would kill somebody when the pages are written.
    """
    available = Machine().available_memory()
    if available is not None and size > available:
        raise SharedMemoryError(
            f"the columns need {size / 2**20:.1f} MiB of shared memory, "
            f"but only {available / 2**20:.1f} MiB are available"
        )
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
            raise
        raise SharedMemoryError(
            f"the columns need {size / 2**20:.1f} MiB of shared memory, "
            f"which the system does not have: {error.strerror}"
        ) from error


def attach_table(fd: int, *, populate: bool = False) -> Table:
    """The table in the region `fd`, mapped read-only: nothing is copied.

    The caller keeps `fd` and may close it at once. The mapping goes when the last of the
    table's arrays does. With `populate` the pages are entered into this process's page
    table now instead of at the first touch.
    """
    region = _mapped(fd, getattr(mmap, "MAP_POPULATE", 0) if populate else 0)
    (length,) = _LENGTH.unpack_from(region, 0)
    header = msgspec.json.decode(region[_LENGTH.size : _LENGTH.size + length], type=_Header)
    arrays = {
        name: np.frombuffer(region, place.dtype, place.length, place.offset)
        for name, place in header.arrays.items()
    }
    return Table.from_arrays(header.fingerprint, header.names, arrays)


def _mapped(fd: int, flags: int) -> mmap.mmap:
    """The region, read-only.

    A shared mapping of a sealed memfd cannot be made writable any more, whoever asks for it;
    but kernels before 6.7 refuse one. A private mapping shares every page as well.
    """
    try:
        return mmap.mmap(fd, 0, flags=mmap.MAP_SHARED | flags, prot=mmap.PROT_READ)
    except PermissionError:
        return mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE | flags, prot=mmap.PROT_READ)
