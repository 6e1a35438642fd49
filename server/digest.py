"""The digest of a file's bytes, taken by all cores; what is copied is digested on the way.

A piece is read once into a buffer that stays in a core's cache, so that what was digested is
what was copied, whatever becomes of the file meanwhile. Hashing and copying free Python's
lock, so threads share the pieces; the digest is that of all pieces' digests in order.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, zip_longest

from server.machine import Machine

PIECE = 1 << 18  # bytes

Take = Callable[[memoryview, int], object]
"""What is done with a piece beside digesting it, given its bytes and its place among all."""


def digest(fd: int, size: int, *, begin: int = 0, take: Take | None = None) -> str:
    """The digest, as 64 hex digits, of `size` bytes of `fd` from the place `begin`.

    OSError where the file ends before them or cannot be read.
    """
    threads = min(Machine().cores(), 8)

    def every_nth(first: int) -> list[bytes]:
        buffer = memoryview(bytearray(PIECE))
        digests = []
        for at in range(first * PIECE, size, threads * PIECE):
            piece = buffer[: min(PIECE, size - at)]
            _read_at(fd, begin + at, piece)
            digests.append(hashlib.sha256(piece).digest())
            if take is not None:
                take(piece, at)
        return digests

    with ThreadPoolExecutor(threads) as together:
        digests = zip_longest(*together.map(every_nth, range(threads)), fillvalue=b"")
    return hashlib.sha256(b"".join(chain.from_iterable(digests))).hexdigest()


def _read_at(fd: int, place: int, piece: memoryview) -> None:
    while piece:
        if not (read := os.preadv(fd, [piece], place)):
            raise OSError(f"the file ends at byte {place}")
        piece, place = piece[read:], place + read


def write_at(fd: int, piece: bytes | memoryview, place: int) -> None:
    """Write all of `piece` from the place `place` of the file; OSError as it comes."""
    view = memoryview(piece)
    while view:
        written = os.pwrite(fd, view, place)
        view, place = view[written:], place + written
