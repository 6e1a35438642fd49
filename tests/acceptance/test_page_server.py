"""The page and its server: workers that are killed, restarts, refusals, tokens, the end."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import NOT_LOADED, Visit, needs_chromium, visiting
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

pytestmark = needs_chromium

OBESITY = "Percent of adults aged 18 years and older who have obesity"
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("served")
    with running_server(folder, configuration=FOR_TESTS, SPORTIV_MAX_QUEUED="3") as running:
        yield running


def waiting_job(server: RunningServer, gate: Path) -> int:
    """A job that a worker has begun, and that waits for a file to go on."""
    job = server.submit("wait_for_file", path=str(gate), value="kept")
    wait_for(Path(f"{gate}.begun").exists, "it has begun")
    return job


# -- workers --------------------------------------------------------------------------


def pids(visit: Visit) -> set[int]:
    rows = visit.find("#workers tbody tr")
    return {int(each) for each in rows.evaluate_all("rows => rows.map(row => row.dataset.key)")}


def test_a_killed_worker_is_seen_replaced_and_its_job_goes_on(
    browser: Browser, server: RunningServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job = waiting_job(server, gate)
    with visiting(browser, server) as visit:
        visit.open("#/live", "Live")
        row = visit.find("#workers tr").filter(has_text=f"job {job}")
        expect(row).to_contain_text("wait_for_file")
        before = pids(visit)
        killed = int(row.get_attribute("data-key") or 0)
        os.kill(killed, signal.SIGKILL)
        visit.find("#events").get_by_text(f"Worker {killed} is gone.").wait_for()
        events = visit.find("#events li")
        expect(events.filter(has_text="has come.")).to_have_count(1)
        (come,) = pids(visit) - before
        expect(events.filter(has_text=f"Worker {come} has come.")).to_have_count(1)
        assert killed not in pids(visit)
        assert len(pids(visit)) == len(before) == 2
        gate.touch()
        assert server.result(job)["data"] == "kept"


def test_the_jobs_that_have_not_ended_are_listed_until_they_have(
    browser: Browser, server: RunningServer, tmp_path: Path
) -> None:
    gates = [tmp_path / f"gate {number}" for number in range(3)]
    jobs = [waiting_job(server, gate) for gate in gates[:2]]
    jobs.append(server.submit("wait_for_file", path=str(gates[2]), value="kept"))
    with visiting(browser, server) as visit:
        visit.open("#/live", "Live")
        rows = visit.find("#unfinished tbody tr")
        expect(rows).to_have_count(3)
        assert rows.evaluate_all("rows => rows.map(row => row.dataset.key)") == [
            str(job) for job in reversed(jobs)
        ]
        expect(rows.nth(0)).to_contain_text("wait_for_file")
        gates[0].touch()
        expect(rows).to_have_count(2)
        for gate in gates:
            gate.touch()
        visit.page.get_by_text("No job waits or is computed.").wait_for()
    assert [server.result(job)["data"] for job in jobs] == ["kept"] * 3


def test_the_throughput_is_what_the_server_has_ended(
    browser: Browser, server: RunningServer
) -> None:
    with visiting(browser, server) as visit:
        visit.open("#/live", "Live")
        for number in range(20):
            server.data("echo", value=number)
        rates = visit.find(".throughput rect")
        is_high = "bars => bars.some(bar => bar.getAttribute('height') > 0)"
        visit.await_true(lambda: rates.evaluate_all(is_high), "jobs have ended")


def test_the_focus_stays_where_it_is_while_the_workers_are_shown_anew(
    browser: Browser, server: RunningServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job = waiting_job(server, gate)
    with visiting(browser, server) as visit:
        visit.open("#/live", "Live")
        link = visit.page.get_by_role("link", name=f"job {job}")
        link.focus()
        server.data("echo", value="so that another worker has done a task")
        row = visit.find("#workers tbody tr").filter(has_not=link)
        done = row.locator("td").nth(3)
        before = int(done.inner_text().replace(",", ""))
        server.data("echo", value="and one more")
        visit.await_true(lambda: int(done.inner_text().replace(",", "")) > before, "it is shown")
        expect(link).to_be_focused()
    gate.touch()
    assert server.result(job)["data"] == "kept"


# -- refusals -------------------------------------------------------------------------


def test_a_server_that_takes_nothing_for_now_is_asked_again_until_it_does(
    browser: Browser, server: RunningServer, tmp_path: Path
) -> None:
    gates = [tmp_path / f"gate {number}" for number in range(2)]
    for gate in gates:
        waiting_job(server, gate)
    while server.ask("POST", "/api/echo", {"value": "in the queue"}).status == 202:
        pass
    with visiting(browser, server, expected=NOT_LOADED) as visit:
        visit.open("#/ask/global_mean")
        visit.choose("question", "obesity")
        visit.find("#submit").click()
        expect(visit.find("#banner")).to_contain_text("The server takes nothing for now: ")
        expect(visit.find("#banner")).to_contain_text(re.compile(r"Next try in \d+ s"))
        visit.picture("banner-refused")
        visit.page.get_by_role("button", name="Stop").click()
        expect(visit.find("#banner")).to_be_empty()
        visit.find("#submit").click()
        expect(visit.find("#banner")).to_contain_text("The server takes nothing for now: ")
        for gate in gates:
            gate.touch()
        visit.reconnect()
        visit.job_shown()
        visit.await_answer()
        expect(visit.find("#banner")).to_be_empty()


# -- restarts -------------------------------------------------------------------------


def test_a_restart_is_seen_and_the_job_that_was_watched_goes_on(
    browser: Browser, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        job = waiting_job(server, gate)
        with visiting(browser, server, expected=NOT_LOADED) as visit:
            visit.open(f"#/jobs/{job}")
            visit.await_state("running")
            server.kill()
            expect(visit.find("#banner")).to_contain_text("The server does not answer.")
            visit.picture("banner-gone")
            assert visit.barriers() == ""
            with running_server(tmp_path, configuration=FOR_TESTS, port=server.port) as again:
                visit.reconnect()
                gate.touch()
                visit.await_state("done")
                visit.await_answer()
                assert visit.rows() == [["kept"]]
                assert again.get(f"/api/jobs/{job}")["data"]["state"] == "done"


def test_a_question_that_is_asked_during_a_restart_becomes_one_job(
    browser: Browser, tmp_path: Path
) -> None:
    with (
        running_server(tmp_path) as server,
        visiting(browser, server, expected=NOT_LOADED) as visit,
    ):
        visit.open("#/ask/global_mean")
        visit.choose("question", "obesity")
        server.kill()
        visit.find("#submit").click()
        expect(visit.find("#banner")).to_contain_text("The server does not answer.")
        with running_server(tmp_path, port=server.port) as again:
            visit.reconnect()
            job = visit.job_shown()
            visit.await_answer()
            assert [each["job_id"] for each in again.get("/api/history")["data"]] == [job]


# -- the end --------------------------------------------------------------------------


def test_a_shutdown_is_confirmed_first_and_then_seen(browser: Browser, tmp_path: Path) -> None:
    with running_server(tmp_path) as server, visiting(browser, server) as visit:
        visit.open("#/server", "Server")
        facts = server.get("/api/server")["data"]
        page = visit.find("main").text_content() or ""
        for fact in (facts["version"], facts["python"], facts["table"]["title"]):
            assert fact in page
        visit.find("#drain").click()
        expect(visit.find("#keep-going")).to_be_focused()
        visit.picture("drain")
        assert visit.barriers() == ""
        visit.page.keyboard.press("Escape")
        expect(visit.find("#drain-dialog")).to_be_hidden()
        expect(visit.find("#drain")).to_be_focused()
        assert server.get("/api/server")["data"]["accepting"] is True
        visit.find("#drain").click()
        visit.find("#confirm-drain").click()
        expect(visit.find("#accepting")).to_contain_text("no")
        assert server.ask("POST", "/api/global_mean", {"question": OBESITY}).status == 503


# -- the token ------------------------------------------------------------------------


def test_a_server_that_wants_a_token_is_told_it_for_as_long_as_the_tab_is_open(
    browser: Browser, tmp_path: Path
) -> None:
    with running_server(tmp_path, SPORTIV_TOKEN=TOKEN) as server:
        with visiting(browser, server, expected=NOT_LOADED) as visit:
            visit.page.goto(f"{visit.origin}/")
            visit.find("#token-dialog[open]").wait_for()
            visit.picture("token")
            assert visit.barriers() == ""
            visit.find("#token").fill("this is a wrong one")
            visit.page.keyboard.press("Enter")
            visit.find("#token-reason").get_by_text("this is not the server's token").wait_for()
            visit.find("#token").fill(TOKEN)
            visit.page.keyboard.press("Enter")
            visit.find("#statistics li").first.wait_for()
            visit.open("#/ask/global_mean")
            visit.choose("question", "obesity")
            visit.submit()
            visit.await_answer()
            assert (
                '-H "Authorization: Bearer $SPORTIV_TOKEN"'
                in visit.find(".command").nth(1).inner_text()
            )
            assert TOKEN not in (visit.page.content())
            assert visit.page.evaluate("JSON.stringify({...localStorage})") == "{}"
            visit.page.reload()
            visit.await_answer()
        with visiting(browser, server, expected=NOT_LOADED) as other:
            other.page.goto(f"{other.origin}/")
            other.find("#token-dialog[open]").wait_for()
            other.page.get_by_role("button", name="Not now").click()
            other.find("[role=alert]").get_by_text("this needs the server's token").wait_for()
