"""A process knows its memory, and may be kept from taking more than it should."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import pytest

from server.memory import in_words, private_memory
from tests.support.pools import wait_until

TAKE = (
    "from server.memory import MemoryLimit\n"
    "def take():\n"
    "    taken = []\n"
    "    try:\n"
    "        while len(taken) < 200: taken.append(bytearray(2**20))\n"
    "    except MemoryError:\n"
    "        return len(taken)\n"
    "limit = MemoryLimit(64 * 2**20, 32 * 2**20)\n"
    "for _ in range(2):\n"
    "    with limit: print(take())\n"
    "    print(take())\n"
)


def test_a_process_takes_no_more_than_its_limit_and_has_room_beyond_it_outside(
    run_python: Callable[..., str],
) -> None:
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc then gives back at once
    taken = map(int, run_python(TAKE, env=environment).split())
    inside, outside, inside_again, outside_again = taken
    assert 56 <= inside <= 64
    assert 88 <= outside <= 96
    assert 56 <= inside_again <= 64
    assert 88 <= outside_again <= 96


FAULTS = (
    "import resource\n"
    "from server.memory import keep_freed\n"
    "def faults():\n"
    "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
    "    for _ in range(20): b'x' * 2**20\n"
    "    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    "faults()\n"
    "keep_freed()\n"
    "b'x' * 2**20\n"
    "faults()\n"
)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_a_process_that_keeps_what_it_has_freed_need_not_fault_it_in_again(
    run_python: Callable[..., str],
) -> None:
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}  # as a nanny of Dask's does
    giving_back, keeping = map(int, run_python(FAULTS, env=environment).split())
    assert giving_back > 20 * 200
    assert keeping < 200


def test_private_memory_is_that_of_one_process() -> None:
    code = "taken = b'x' * (50 * 2**20); print(flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 50 * 2**20 < private_memory(process.pid) < 100 * 2**20
        process.kill()
        wait_until(lambda: private_memory(process.pid) == 0)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (2**30, "1 GiB"),
        (512 * 2**20, "512 MiB"),
        (1536 * 2**20, "1536 MiB"),
        (20_000 * 2**10, "20000 KiB"),
        (20_000_001, "20000001 bytes"),
        (0, "0 bytes"),
    ],
)
def test_a_size_is_said_in_words(size: int, words: str) -> None:
    assert in_words(size) == words
