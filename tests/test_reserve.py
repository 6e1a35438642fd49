"""Room that is held back is there when the disk is full."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.reserve import Reserve
from tests.support.disks import Disk, small_disk

SIZE = 256 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", "2m") as disk:
        yield disk


def write(disk: Disk, size: int) -> None:
    (disk.path / "needed").write_bytes(bytes(size))


def test_what_is_released_can_be_written_on_a_full_disk(disk: Disk) -> None:
    with Reserve(disk.path / "reserve", SIZE) as reserve:
        disk.fill()
        with pytest.raises(OSError, match="No space"):
            write(disk, SIZE)
        assert reserve.release()
        write(disk, SIZE)
        assert not reserve.release(), "it is given up once"


def test_a_reserve_is_made_again_when_there_is_room(disk: Disk) -> None:
    path = disk.path / "reserve"
    with Reserve(path, SIZE) as reserve:
        reserve.release()
        disk.fill()
        reserve.restore()
        assert not reserve.release()
        disk.free()
        reserve.restore()
        assert path.stat().st_blocks * 512 >= SIZE
        reserve.restore()
        assert reserve.release()


def test_nothing_is_left_of_it(disk: Disk) -> None:
    path = disk.path / "reserve"
    with Reserve(path, SIZE):
        assert path.exists()
    assert not path.exists()
    disk.fill()
    with Reserve(path, SIZE):
        assert not path.exists(), "a full disk has no room to hold back"


def test_a_link_in_its_place_is_not_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "somebody's"
    victim.write_text("precious")
    (tmp_path / "reserve").symlink_to(victim)
    with Reserve(tmp_path / "reserve", SIZE) as reserve:
        assert not reserve.release()
    assert victim.read_text() == "precious"


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    os.mkfifo(path)
    with Reserve(path, SIZE) as reserve:
        assert not reserve.release()
