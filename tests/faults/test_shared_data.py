"""Too little memory, a worker that writes where it may not, and everything killed at once."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.backends import WHERE_WORKERS_ARE_PROCESSES, Settings
from tests.support.servers import FOR_TESTS, running_server, wait_for

MIB = 2**20


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A control group of 96 MiB; the test is skipped where none can be made."""
    for tree, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", tree, f"sportiv-test-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(96 * MIB))
            yield group
            return
        except OSError:
            continue
        finally:
            wait_for(lambda group=group: removed(group), "the group is empty")
    pytest.skip("no control group for memory can be made here")


def removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def test_a_table_larger_than_the_memory_is_an_error_before_it_is_written(
    memory_group: Path, run_python: Callable[..., str]
) -> None:
    printed = run_python(
        "import os, pathlib, sys\n"
        "import numpy as np\n"
        "from server.errors import SharedMemoryError\n"
        "from server.shared_data import SharedRegion, write_table\n"
        "from tests.support.pools import small_table\n"
        "from dataclasses import replace\n"
        "table = replace(small_table(), value=np.zeros(25_000_000))  # no page of it is touched\n"
        "pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()))\n"
        "with SharedRegion() as region:\n"
        "    try:\n"
        "        write_table(region.fd, table)\n"
        "    except SharedMemoryError as error:\n"
        "        print(region.size, error)\n",
        memory_group,
    )
    assert printed.startswith("0 the columns need 190.")
    assert "MiB are available" in printed


@WHERE_WORKERS_ARE_PROCESSES
def test_a_worker_that_writes_to_a_column_fails_its_own_job_and_changes_nothing(
    tmp_path: Path, backend: Settings
) -> None:
    # Dask may try again what has ended its worker before it is told not to.
    attempts = "3" if backend["SPORTIV_BACKEND"] == "dask" else "1"
    settings = {"SPORTIV_MAX_ATTEMPTS": attempts, **backend}
    with running_server(tmp_path, configuration=FOR_TESTS, **settings) as server:
        before = server.data("value_sum")
        for statistic in ("write_column", "unlock_column", "overwrite_memory"):
            server.wait_until_whole()
            assert server.result(server.submit(statistic))["status"] == "error"
        assert server.data("value_sum") == before


@pytest.mark.alone  # others may make named memory of their own meanwhile
def test_no_segment_is_left_when_everything_is_killed(tmp_path: Path) -> None:
    before = named_memory()
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        server.submit("pause", seconds=60)
        assert named_memory() == before, "the columns have no name that could be left"
        os.killpg(server.process.pid, signal.SIGKILL)
        wait_for(lambda: not server.processes(), "no process is left", 10)
        assert named_memory() == before


def named_memory() -> set[str]:
    """What lies in shared memory under a name."""
    return {path.name for path in Path("/dev/shm").iterdir()}
