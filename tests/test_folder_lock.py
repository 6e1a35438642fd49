"""A results folder has one holder, which is named to the second, and dies with its lock."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server.errors import StartError
from server.folder_lock import holding_folder

HOLD = (
    "import pathlib, sys\n"
    "from server.folder_lock import holding_folder\n"
    "with holding_folder(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / ".ledger"
    folder.mkdir(parents=True)
    return folder


def hold_elsewhere(start_python: Start, folder: Path) -> "subprocess.Popen[str]":
    holder = start_python(HOLD, folder, stdin=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_the_second_server_is_refused_and_told_who_the_first_is(
    folder: Path, start_python: Start
) -> None:
    holder = hold_elsewhere(start_python, folder)
    refused = pytest.raises(StartError, match=rf"process {holder.pid}$")
    with refused as caught, holding_folder(folder):
        pytest.fail("two hold the same folder")
    assert str(folder.parent) in str(caught.value)


def test_a_refused_server_changes_nothing(folder: Path, start_python: Start) -> None:
    holder = hold_elsewhere(start_python, folder)
    for _ in range(2):
        with pytest.raises(StartError, match=str(holder.pid)), holding_folder(folder):
            pass


def test_the_folder_is_free_when_its_holder_has_left(folder: Path, start_python: Start) -> None:
    holder = hold_elsewhere(start_python, folder)
    holder.communicate("")
    assert holder.returncode == 0
    with holding_folder(folder):
        pass


def test_the_folder_is_free_when_its_holder_has_been_killed(
    folder: Path, start_python: Start
) -> None:
    holder = hold_elsewhere(start_python, folder)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with holding_folder(folder):
        assert (folder / "lock").read_text() == f"{os.getpid()}\n"


def test_a_longer_process_number_of_an_earlier_holder_leaves_nothing(folder: Path) -> None:
    (folder / "lock").write_text("123456789012345\n")
    with holding_folder(folder):
        assert (folder / "lock").read_text() == f"{os.getpid()}\n"


def test_one_process_does_not_hold_a_folder_twice(folder: Path) -> None:
    with holding_folder(folder):
        with pytest.raises(StartError, match=str(os.getpid())), holding_folder(folder):
            pass
        with pytest.raises(StartError), holding_folder(folder):
            pass
    with holding_folder(folder):
        pass


def test_a_holder_that_has_not_written_its_number_is_unknown(folder: Path) -> None:
    with holding_folder(folder):
        (folder / "lock").write_text("")
        with pytest.raises(StartError, match="process unknown"), holding_folder(folder):
            pass


def test_the_folder_is_free_after_an_error(folder: Path) -> None:
    with pytest.raises(RuntimeError), holding_folder(folder):
        raise RuntimeError
    with holding_folder(folder):
        pass


def test_a_child_process_does_not_keep_the_folder(
    folder: Path, eventually: Callable[..., None]
) -> None:
    def is_free() -> bool:
        try:
            with holding_folder(folder):
                return True
        except StartError:
            return False

    with holding_folder(folder):
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            close_fds=False,
        )
    try:
        eventually(is_free)  # the kernel may close the child's copy a moment after its exec
        assert child.poll() is None
    finally:
        child.communicate()


def test_two_folders_have_two_holders(folder: Path, tmp_path: Path) -> None:
    with holding_folder(folder), holding_folder(tmp_path):
        pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "somebody's"
    victim.write_text("precious")
    (folder / "lock").symlink_to(victim)
    with pytest.raises(StartError, match="cannot be held"), holding_folder(folder):
        pass
    assert victim.read_text() == "precious"
