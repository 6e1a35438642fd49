"""Programs that benchmarks start are ended with all that they have started."""

import sys
from pathlib import Path

import pytest

from benchmarks.servers import free_port, running, serving
from tests.support import pools
from tests.support.pools import alive, children, wait_until

nothing_left_behind = pools.nothing_left_behind

STUBBORN = 'trap "" TERM; sleep 600 & touch "$0"; wait'
"""A shell program that SIGTERM does not end, nor its child; it makes a file when that is there."""


@pytest.mark.parametrize("grace", [0.0, 0.2])
def test_a_program_that_ignores_sigterm_is_killed_with_its_children(
    tmp_path: Path, grace: float
) -> None:
    is_up = tmp_path / "up"
    with running(["sh", "-c", STUBBORN, str(is_up)], grace=grace) as process:
        wait_until(is_up.exists)
        wait_until(lambda: len(children(process.pid)) == 1)  # which `touch` is not for long
        family = {process.pid, *children(process.pid)}
    wait_until(lambda: not any(map(alive, family)))


def test_a_server_that_leaves_instead_of_answering_is_an_error() -> None:
    with (
        pytest.raises(RuntimeError, match="did not start"),
        serving([sys.executable, "-c", "pass"], free_port(), "/"),
    ):
        pytest.fail("it is said to have answered")
