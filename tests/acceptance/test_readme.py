"""The README's thirty seconds, run as they are written: only port and folders are the test's."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import ROOT, RunningServer, running_server, wait_for

README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:5000"
SECONDS = 30.0


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def session() -> list[tuple[str, str]]:
    """(command, what it prints) of the console in the section, in order."""
    (block,) = re.findall(r"^```console\n(.*?)^```$", section("Thirty seconds"), re.M | re.S)
    steps = [step.partition("\n") for step in re.split(r"^\$ ", block, flags=re.M)[1:]]
    return [(command, printed) for command, _, printed in steps]


def run(command: str, server: RunningServer) -> Any:
    """What the command prints, which is JSON, when the server listens elsewhere."""
    assert ADDRESS in command
    done = subprocess.run(
        ["sh", "-c", command.replace(ADDRESS, f"127.0.0.1:{server.port}")],
        capture_output=True,
        check=True,
        text=True,
        timeout=SECONDS,
    )
    return json.loads(done.stdout)


def run_until_shown(command: str, shown: Any, server: RunningServer) -> Any:
    """What the command prints once its status is the shown one: a reader types more slowly."""

    def settled() -> Any:
        printed = run(command, server)
        return printed if printed["status"] == shown["status"] else None

    return wait_for(settled, f"{command} prints {shown['status']}", SECONDS)


def assert_as_shown(printed: Any, shown: Any) -> None:
    """The same structure in the same order, the same texts, and the same numbers up to rounding."""
    assert type(printed) is type(shown)
    if isinstance(shown, dict):
        assert list(printed) == list(shown)
        for key, value in shown.items():
            assert_as_shown(printed[key], value)
    elif isinstance(shown, float):
        assert printed == pytest.approx(shown, rel=1e-12)
    else:
        assert printed == shown


def test_make_run_is_the_gunicorn_that_is_tested_here() -> None:
    first, *_ = re.findall(r"^```sh\n(.*?)^```$", section("Thirty seconds"), re.M | re.S)
    assert first == "make run\n"
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\nrun: ")[2].partition("\n\n")[0]
    assert recipe.endswith("/gunicorn -c gunicorn.conf.py")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")
def test_the_thirty_seconds_print_what_the_readme_shows(tmp_path: Path) -> None:
    sample = str(ROOT / "data" / "sample.csv.gz")
    with running_server(tmp_path, SPORTIV_DATA=sample) as server:
        for command, text in session():
            shown = json.loads(text)
            assert_as_shown(run_until_shown(command, shown, server), shown)
        assert server.ask("POST", "/api/best5", {"question": "obesity"}).status == 503
        assert server.get("/api/get_results/1")["status"] == "done"
        assert server.stop() == 0
        assert server.processes() == []


def test_the_session_asks_reads_and_shuts_down() -> None:
    addresses = [re.findall(rf"http://{ADDRESS}([^\s;]+)", command) for command, _ in session()]
    assert addresses == [["/api/best5"], ["/api/get_results/1"], ["/api/graceful_shutdown"]]
