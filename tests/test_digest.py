"""A digest says whether bytes are the same, and what was copied is what was digested."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.digest import PIECE, digest, write_at
from server.machine import Machine

CONTENT = bytes(range(251)) * (3 * PIECE // 251 + 7)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    fd = os.open(path, os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, len(CONTENT)])
@pytest.mark.parametrize("cores", [1, 2, 5])
def test_the_number_of_cores_makes_no_difference(
    fd: int, size: int, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest(fd, size)
    monkeypatch.setattr(Machine, "cores", lambda self: cores)
    assert digest(fd, size) == expected
    assert len(bytes.fromhex(expected)) == 32


@pytest.mark.parametrize("at", [0, 1, PIECE - 1, PIECE, 2 * PIECE, len(CONTENT) - 1])
def test_every_byte_counts(fd: int, at: int) -> None:
    before = digest(fd, len(CONTENT))
    os.pwrite(fd, bytes([CONTENT[at] ^ 1]), at)
    assert digest(fd, len(CONTENT)) != before


def test_pieces_in_another_order_are_other_bytes(fd: int) -> None:
    before = digest(fd, 2 * PIECE)
    os.pwrite(fd, CONTENT[PIECE : 2 * PIECE] + CONTENT[:PIECE], 0)
    assert digest(fd, 2 * PIECE) != before


def test_the_place_where_it_begins_is_not_part_of_it(fd: int, tmp_path: Path) -> None:
    (tmp_path / "rest").write_bytes(CONTENT[777:])
    rest = os.open(tmp_path / "rest", os.O_RDONLY)
    try:
        size = len(CONTENT) - 777
        assert digest(fd, size, begin=777) == digest(rest, size)
    finally:
        os.close(rest)


def test_what_is_taken_is_the_whole(fd: int) -> None:
    taken = bytearray(len(CONTENT))

    def take(piece: memoryview, at: int) -> None:
        taken[at : at + len(piece)] = piece

    assert digest(fd, len(CONTENT), take=take) == digest(fd, len(CONTENT))
    assert taken == CONTENT


def test_a_file_that_ends_too_early_is_an_error(fd: int) -> None:
    with pytest.raises(OSError, match=f"ends at byte {len(CONTENT)}"):
        digest(fd, len(CONTENT) + 1)


def test_what_is_written_is_in_its_place(fd: int) -> None:
    write_at(fd, b"written", 5)
    assert os.pread(fd, 20, 0) == CONTENT[:5] + b"written" + CONTENT[12:20]
