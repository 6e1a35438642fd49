"""The page about systemd: its unit is one, and agrees with the settings."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from server.settings import Settings
from server.wsgi import CANNOT_START, LEAVE_SECONDS
from tests.support.pages import blocks, text_of
from tests.support.servers import ROOT, running_server

PAGE = text_of("docs/how-to/systemd.md")
(UNIT,) = blocks(PAGE, "ini")


def value(name: str) -> str:
    """What the unit says behind `name=`."""
    (found,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_understands_every_line_of_the_unit(tmp_path: Path) -> None:
    programs = str(Path(sys.executable).parent)
    unit = tmp_path / "sportiv.service"
    unit.write_text(UNIT.replace("/opt/sportiv/.venv/bin", programs), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_is_the_one_of_make_run() -> None:
    program, _, rest = value("ExecStart").partition(" ")
    assert Path(program).name == "gunicorn"
    assert f"/gunicorn {rest}" in text_of("Makefile")


def test_the_stop_is_given_longer_than_the_drain() -> None:
    (drain,) = re.findall(r"SPORTIV_DRAIN_TIMEOUT=(\d+)", UNIT)
    assert float(drain) == Settings.read({}).drain_timeout
    gunicorns = 10
    assert int(value("TimeoutStopSec")) >= int(drain) + gunicorns + LEAVE_SECONDS


def test_a_server_that_cannot_start_leaves_with_a_code_at_which_it_is_not_started_again(
    tmp_path: Path,
) -> None:
    codes = {int(code) for code in value("RestartPreventExitStatus").split()}
    assert CANNOT_START in codes
    for settings in ({"SPORTIV_WORKERS": "none"}, {"SPORTIV_DATA": "/nowhere.csv"}):
        with running_server(tmp_path, wait=False, **settings) as server:
            assert server.exit_code() in codes


def test_every_folder_that_is_written_to_is_the_services_own() -> None:
    folders = dict(re.findall(r"^Environment=SPORTIV_(\w+)_DIR=(.*)$", UNIT, re.MULTILINE))
    assert Path(folders["RESULTS"]).is_relative_to(f"/var/lib/{value('StateDirectory')}")
    assert Path(folders["LOG"]) == Path("/var/log") / value("LogsDirectory")
    assert Settings.read({}).results_dir == ROOT / "results"
