"""A short soak: every kind of kill, and every job ends with the right answer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.settings import ROOT
from tests.support.servers import wait_for
from tools.soak.__main__ import main
from tools.soak.kills import ALL_KINDS


def figures(printed: str) -> dict[str, str]:
    """The lines of the table, by name."""
    return {line[:48].strip(): line[48:].strip() for line in printed.splitlines()[1:]}


def test_a_server_survives_every_kind_of_kill(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--kills", "1", "--seed", "7"])
    printed, errors = capsys.readouterr()
    assert code == 0, printed + errors
    found = figures(printed)
    assert {
        name: value for name, value in found.items() if "must be 0" in name and value != "0"
    } == {}
    assert int(found["jobs accepted"].replace(",", "")) > 0
    assert {f"killed: {kind.name}" for kind in ALL_KINDS if not kind.may_be_absent} <= found.keys()


def test_sigint_ends_a_soak_and_its_server(tmp_path: Path) -> None:
    soak = subprocess.Popen(
        [sys.executable, "-m", "tools.soak", "--minutes", "10"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: list(tmp_path.glob("*/results/job_id_*")), "jobs end")
        soak.send_signal(signal.SIGINT)
        printed, _ = soak.communicate(timeout=60)
    finally:
        soak.kill()
        soak.communicate()
    assert soak.returncode == 130
    assert "interrupted" in printed
    assert not list(tmp_path.iterdir())
