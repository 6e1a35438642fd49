"""The README's thirty seconds, run as they are written: only port and folders are the test's."""

import re
import shutil
from pathlib import Path

import pytest

from tests.support.pages import ADDRESS, Reader, blocks, section, session, text_of
from tests.support.servers import ROOT, running_server

THIRTY_SECONDS = section(text_of("README.md"), "Thirty seconds")


def test_make_run_is_the_gunicorn_that_is_tested_here() -> None:
    first, *_ = blocks(THIRTY_SECONDS, "sh")
    assert first == "make run\n"
    recipe = text_of("Makefile").partition("\nrun: ")[2].partition("\n\n")[0]
    assert recipe.endswith("/gunicorn -c gunicorn.conf.py")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")
def test_the_thirty_seconds_print_what_the_readme_shows(tmp_path: Path) -> None:
    sample = str(ROOT / "data" / "sample.csv.gz")
    with running_server(tmp_path, SPORTIV_DATA=sample) as server:
        Reader(tmp_path, server.port).follow(session(THIRTY_SECONDS))
        assert server.ask("POST", "/api/best5", {"question": "obesity"}).status == 503
        assert server.get("/api/get_results/1")["status"] == "done"
        assert server.stop() == 0
        assert server.processes() == []


def test_the_session_asks_reads_and_shuts_down() -> None:
    commands = [step.command for step in session(THIRTY_SECONDS)]
    addresses = [re.findall(rf"http://{ADDRESS}([^\s;]+)", each) for each in commands]
    assert addresses == [["/api/best5"], ["/api/get_results/1"], ["/api/graceful_shutdown"]]
