"""The columns are shared, not copied; nobody can change them, and nothing of them is left."""

import ctypes
import errno
import gc
import mmap
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.shared_data import SharedRegion, attach_table, write_table
from server.table import Table
from tests.support.tables import Row, table_of

TABLE = table_of(
    [
        Row("Q1", "Hawai'i", "Age", "18 - 24", 2011, 1.5, 100.0),
        Row("Q1", "Curaçao", "Sex", "Female", 2012, 2.5),
        Row("Q2", "\u2028 \"\\'", None, None, None, -0.0),
        Row("Q2", "Nowhere", None, None, None, None),
    ],
    better_low=["Q2"],
    fingerprint="0123abcd",
)

NAMES = st.text(max_size=5)
TABLES = st.builds(
    table_of,
    st.lists(
        st.builds(
            Row,
            NAMES,
            NAMES,
            st.none() | NAMES,
            st.none() | NAMES,
            st.none() | st.integers(-5000, 5000),
            st.none() | st.floats(-1e9, 1e9),
            st.none() | st.floats(0, 1e9),
        ),
        max_size=12,
    ),
    better_low=st.sets(NAMES, max_size=2),
    fingerprint=NAMES,
)


def publish(table: Table) -> SharedRegion:
    region = SharedRegion()
    write_table(region.fd, table)
    region.seal()
    return region


@pytest.fixture
def region() -> Iterator[SharedRegion]:
    with publish(TABLE) as region:
        yield region


def assert_same(one: Table, other: Table) -> None:
    assert (one.fingerprint, one.names) == (other.fingerprint, other.names)
    ours, theirs = one.arrays(), other.arrays()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype, name
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def mappings(inode: int) -> list[range]:
    """The addresses at which this process has the file mapped."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    places = [re.match(rf"(\w+)-(\w+) \S+ \S+ \S+ {inode} ", line) for line in lines]
    return [range(int(place[1], 16), int(place[2], 16)) for place in places if place]


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir() if entry.exists()}


@settings(max_examples=40)
@given(TABLES)
def test_a_table_comes_back_as_it_was(table: Table) -> None:
    with publish(table) as region:
        assert_same(attach_table(region.fd), table)


def test_an_empty_table_comes_back(region: SharedRegion) -> None:
    with publish(table_of([])) as empty:
        attached = attach_table(empty.fd)
        assert attached.rows == 0
        assert_same(attached, table_of([]))


def test_a_populated_mapping_holds_the_same(region: SharedRegion) -> None:
    assert_same(attach_table(region.fd, populate=True), TABLE)


def test_the_arrays_cannot_be_written(region: SharedRegion) -> None:
    for name, array in attach_table(region.fd).arrays().items():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        assert len(array), f"{name} is empty, so this says nothing"


def test_a_sealed_region_cannot_be_written_to(region: SharedRegion) -> None:
    with pytest.raises(PermissionError):
        os.pwrite(region.fd, b"x", 0)


@pytest.mark.parametrize("length", [0, 8, 1 << 20])
def test_a_sealed_region_cannot_change_its_length(region: SharedRegion, length: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(region.fd, length)


def test_a_sealed_region_cannot_be_mapped_for_writing(region: SharedRegion) -> None:
    with pytest.raises(PermissionError):
        mmap.mmap(region.fd, 0)


def test_a_sealed_region_takes_no_other_seals(region: SharedRegion) -> None:
    with pytest.raises(PermissionError):
        region.seal()


def test_nothing_is_copied(region: SharedRegion) -> None:
    inode = os.fstat(region.fd).st_ino
    table = attach_table(region.fd)
    (mapped,) = mappings(inode)
    for name, array in table.arrays().items():
        assert array.ctypes.data in mapped, name
        assert array.ctypes.data + array.nbytes <= mapped.stop, name


def test_every_array_begins_at_a_multiple_of_64_bytes(region: SharedRegion) -> None:
    for name, array in attach_table(region.fd).arrays().items():
        assert array.ctypes.data % 64 == 0, name


def test_the_mapping_goes_with_the_last_array(region: SharedRegion) -> None:
    inode = os.fstat(region.fd).st_ino
    table = attach_table(region.fd)
    column = table.value
    del table
    gc.collect()
    assert mappings(inode)
    assert column.tolist() == TABLE.value.tolist()
    del column
    gc.collect()
    assert not mappings(inode)


def test_a_table_outlives_the_descriptor(region: SharedRegion) -> None:
    table = attach_table(region.fd)
    region.close()
    assert_same(table, TABLE)


def test_another_process_reads_the_same(
    region: SharedRegion, run_python: Callable[..., str]
) -> None:
    printed = run_python(
        "import sys; from server.shared_data import attach_table\n"
        "table = attach_table(int(sys.argv[1]))\n"
        "print(ascii((table.fingerprint, table.names.location, table.value.tolist())))",
        region.fd,
        pass_fds=[region.fd],
    )
    expected = (TABLE.fingerprint, TABLE.names.location, TABLE.value.tolist())
    assert printed.strip() == ascii(expected)


def test_another_process_can_write_the_table(run_python: Callable[..., str]) -> None:
    with SharedRegion() as region:
        run_python(
            "import sys; from server.shared_data import write_table\n"
            "from tests.test_shared_data import TABLE\n"
            "write_table(int(sys.argv[1]), TABLE)",
            region.fd,
            pass_fds=[region.fd],
        )
        region.seal()
        assert_same(attach_table(region.fd), TABLE)


def test_a_process_that_is_not_handed_the_region_does_not_have_it(
    region: SharedRegion, run_python: Callable[..., str]
) -> None:
    printed = run_python(
        "import os; print(*(os.path.realpath(f'/proc/self/fd/{fd}')"
        " for fd in os.listdir('/proc/self/fd')))",
        close_fds=False,
    )
    assert "sportiv" not in printed


def test_too_little_memory_is_an_error_in_words(run_python: Callable[..., str]) -> None:
    printed = run_python(
        "import resource\n"
        "from server.errors import SharedMemoryError\n"
        "from server.shared_data import SharedRegion, write_table\n"
        "from tests.test_shared_data import TABLE\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))\n"
        "with SharedRegion() as region:\n"
        "    try:\n"
        "        write_table(region.fd, TABLE)\n"
        "    except SharedMemoryError as error:\n"
        "        print(region.size, error)"
    )
    assert re.match(r"0 the columns need 0\.0 MiB of shared memory", printed)


def test_leaving_the_region_closes_its_descriptor() -> None:
    before = open_descriptors()
    with publish(TABLE) as region:
        fd = region.fd
        attach_table(fd)
        assert open_descriptors() - before
    assert open_descriptors() == before
    assert region.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_closing_twice_does_not_close_what_is_another_s(region: SharedRegion) -> None:
    region.close()
    with tempfile.TemporaryFile() as other:  # takes the number that has become free
        region.close()
        assert os.fstat(other.fileno())


def test_the_size_is_that_of_header_and_arrays(region: SharedRegion) -> None:
    arrays = sum(array.nbytes for array in TABLE.arrays().values())
    assert arrays < region.size < arrays + 64 * len(TABLE.arrays()) + 8192


def test_without_memfd_an_unlinked_temporary_file_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with publish(TABLE) as region:
        assert list(tmp_path.iterdir()) == []
        table = attach_table(region.fd)
        with pytest.raises(ValueError, match="read-only"):
            table.value[0] = 0.0
    assert_same(table, TABLE)


def test_a_page_of_the_columns_cannot_be_made_writable(region: SharedRegion) -> None:
    table = attach_table(region.fd)
    page = table.value.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    if mapping_of(page).split()[1].endswith("p"):
        pytest.skip("this kernel has no shared mapping of a sealed region")
    library = ctypes.CDLL(None, use_errno=True)
    asked = mmap.PROT_READ | mmap.PROT_WRITE
    assert library.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, asked) == -1
    assert ctypes.get_errno() == errno.EACCES


def mapping_of(address: int) -> str:
    """The line of this process's memory map that the address lies in."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, end = (int(text, 16) for text in line.split()[0].split("-"))
        if first <= address < end:
            return line
    raise AssertionError("the address is not mapped")
