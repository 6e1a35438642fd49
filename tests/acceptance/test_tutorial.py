"""The tutorial, followed from its first command to its last."""

import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import needs_chromium, visiting
from tests.support.pages import ADDRESS, Reader, blocks, section, session, text_of
from tests.support.servers import ROOT, running_server

PAGE = text_of("docs/tutorial.md")
SAMPLE = str(ROOT / "data" / "sample.csv.gz")
REAL = Path(os.environ.get("SPORTIV_TEST_DATA", "nowhere")) / "cdc_brfss_2011_2023.csv.gz"

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on the PATH")


@needs_curl
def test_every_command_prints_what_the_tutorial_shows(tmp_path: Path) -> None:
    with running_server(tmp_path, SPORTIV_DATA=SAMPLE) as server:
        Reader(tmp_path, server.port).follow(session(PAGE))
        assert (tmp_path / "trend.svg").read_text("utf-8").startswith("<svg")
        assert server.ask("POST", "/api/best5", {"question": "obesity"}).status == 503


def test_the_program_prints_what_the_tutorial_shows(tmp_path: Path) -> None:
    (program,) = blocks(section(PAGE, "7. In a program"), "python")
    (shown,) = blocks(section(PAGE, "7. In a program"), "text")
    with running_server(tmp_path, SPORTIV_DATA=SAMPLE) as server:
        here = program.replace(ADDRESS, f"127.0.0.1:{server.port}")
        (tmp_path / "rising.py").write_text(here, "utf-8")
        printed = Reader(tmp_path, server.port, PYTHONPATH=str(ROOT)).run("python rising.py")
    assert printed == shown


@pytest.mark.skipif(not REAL.exists(), reason="SPORTIV_TEST_DATA names no folder with that edition")
def test_the_real_table_says_what_the_tutorial_shows(tmp_path: Path) -> None:
    (block,) = blocks(section(PAGE, "8. The real table"), "console real")
    steps = session(f"```console\n{block}```\n")
    with running_server(tmp_path, SPORTIV_DATA=str(REAL)) as server:
        Reader(tmp_path, server.port).follow(steps)


@needs_chromium
def test_the_page_answers_what_the_tutorial_has_it_asked(browser: Browser, tmp_path: Path) -> None:
    (shown,) = [each.shown for each in session(PAGE) if "--plot" in each.command]
    (link,) = re.findall(rf"http://{ADDRESS}/(#/ask/[^)]+)\)", PAGE)
    with (
        running_server(tmp_path, SPORTIV_DATA=SAMPLE) as server,
        visiting(browser, server, width=1000) as visit,
    ):
        visit.open("#/", "What do you want to know")
        visit.find("#statistics a").filter(has_text="rise or fall a year").click()
        visit.choose("question", "obesity")
        visit.find("[data-field=by]").get_by_label("state").check()
        for state in ("Ohio", "Arizona"):
            visit.choose("states", state)
        visit.choose("category", "Total")
        asked = visit.submit()
        visit.await_answer()
        rows = [" ".join(row) for row in visit.rows()]
        assert rows == [" ".join(line.split()) for line in shown.splitlines()[1:3]]
        assert "#/jobs/" in visit.page.url
        visit.picture("tutorial")
        visit.open(link)
        linked = visit.submit()
        first, second = (server.get(f"/api/jobs/{job}")["data"] for job in (asked, linked))
        assert first["request"] == second["request"]
