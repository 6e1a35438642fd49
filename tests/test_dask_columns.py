"""Columns on a host of Dask workers: whole and the right ones, or not there."""

import os
import time
from pathlib import Path

import pytest

from server import dask_columns
from server.dask_columns import MOST, ColumnStore
from server.digest import digest
from tests.support.pools import published, small_table


@pytest.fixture
def content() -> bytes:
    """What a region holds."""
    with published(small_table()) as region:
        return os.pread(region.fd, region.size, 0)


def digest_of(content: bytes, folder: Path) -> str:
    path = folder / "content"
    path.write_bytes(content)
    with path.open("rb") as file:
        return digest(file.fileno(), len(content))


def send(store: ColumnStore, content: bytes, columns: str) -> None:
    name = store.begin(columns, len(content))
    for at in range(0, len(content), 1000):
        store.add(name, content[at : at + 1000], at)
    store.end(name, columns)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"identity"}


def test_columns_that_were_sent_are_the_servers_columns(tmp_path: Path, content: bytes) -> None:
    store, columns = ColumnStore(tmp_path / "store"), digest_of(content, tmp_path)
    assert store.attach(columns) is None
    send(store, content, columns)
    table = ColumnStore(tmp_path / "store").attach(columns)
    assert table is not None
    assert table.fingerprint == small_table().fingerprint
    assert table.value.tolist() == small_table().value.tolist()
    with pytest.raises(ValueError, match="read-only"):
        table.value[0] = 2.0


def test_columns_damaged_on_the_way_are_refused(tmp_path: Path, content: bytes) -> None:
    store, columns = ColumnStore(tmp_path / "store"), digest_of(content, tmp_path)
    name = store.begin(columns, len(content))
    store.add(name, content[100:], 100)
    with pytest.raises(ValueError, match="damaged"):
        store.end(name, columns)
    assert store.attach(columns) is None
    assert names(tmp_path / "store") == set()


def test_columns_damaged_on_the_disk_are_removed(tmp_path: Path, content: bytes) -> None:
    store, columns = ColumnStore(tmp_path / "store"), digest_of(content, tmp_path)
    send(store, content, columns)
    (path,) = (tmp_path / "store").glob("*.columns")
    path.chmod(0o600)
    path.write_bytes(content[:-8] + b"\0" * 8)
    assert store.attach(columns) is None
    assert names(tmp_path / "store") == set()


def test_what_is_not_whole_cannot_be_attached(tmp_path: Path, content: bytes) -> None:
    store, columns = ColumnStore(tmp_path / "store"), digest_of(content, tmp_path)
    store.add(store.begin(columns, len(content)), content, 0)
    assert store.attach(columns) is None


def test_only_the_latest_used_tables_are_kept(tmp_path: Path, content: bytes) -> None:
    store, columns = ColumnStore(tmp_path / "store"), digest_of(content, tmp_path)
    send(store, content, columns)
    for number in range(MOST + 2):
        (tmp_path / "store" / f"{number}.columns").touch()
        os.utime(tmp_path / "store" / f"{number}.columns", (number, number))
    assert store.attach(columns) is not None
    store.begin("next", 100)
    whole = {name for name in names(tmp_path / "store") if name.endswith(".columns")}
    assert whole == {f"{columns}.columns", *(f"{n}.columns" for n in range(4, MOST + 2))}


def test_what_a_server_that_is_gone_has_begun_is_removed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ColumnStore(tmp_path / "store")
    abandoned = store.begin("columns", 100)
    store.begin("others", 100)
    assert abandoned in names(tmp_path / "store")
    monkeypatch.setattr(dask_columns, "ABANDONED_SECONDS", -1.0)
    later = store.begin("others", 100)
    assert names(tmp_path / "store") == {later}
    assert time.time() - (tmp_path / "store" / later).stat().st_mtime < 60


def test_a_folder_has_one_identity_whoever_asks(tmp_path: Path) -> None:
    first = ColumnStore(tmp_path / "store").identity()
    assert ColumnStore(tmp_path / "store").identity() == first
    assert ColumnStore(tmp_path / "other").identity() != first


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionError, match="somebody else"):
        ColumnStore(folder)


def test_a_link_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError, match="somebody else"):
        ColumnStore(tmp_path / "link")
