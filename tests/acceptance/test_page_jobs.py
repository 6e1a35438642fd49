"""Jobs on the page: watched, cancelled, taken away, shared, found again."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import NOT_LOADED, Visit, needs_chromium, visiting
from tests.support.servers import FOR_TESTS, ROOT, RunningServer, running_server, wait_for

pytestmark = needs_chromium

OBESITY = "Percent of adults aged 18 years and older who have obesity"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("jobs"), configuration=FOR_TESTS) as running:
        yield running


@pytest.fixture
def visit(browser: Browser, server: RunningServer) -> Iterator[Visit]:
    with visiting(browser, server) as begun:
        yield begun


def ended(server: RunningServer, statistic: str, **request: object) -> int:
    """A job that has ended."""
    job = server.submit(statistic, **request)
    server.result(job)
    return job


# -- while it runs --------------------------------------------------------------------


def test_a_long_job_is_watched_and_cancelled(visit: Visit, server: RunningServer) -> None:
    visit.open("#/ask/bootstrap_ci")
    visit.choose("question", "obesity")
    visit.find("summary").click()
    visit.field("n_resamples").fill("5000000")
    job = visit.submit()
    progress = visit.find("#progress")
    visit.await_true(lambda: progress.evaluate("bar => bar.value > 0"), "some parts are done")
    parts = server.get(f"/api/jobs/{job}")["data"]["parts"]
    expect(visit.find("#share")).to_contain_text(f"% of {parts:,} parts")
    visit.picture("job-running")
    visit.find("#cancel").click()
    visit.await_state("cancelled")
    visit.find("#trouble").get_by_text("This job was cancelled.").wait_for()
    assert not progress.is_visible()
    assert server.get(f"/api/jobs/{job}")["data"]["state"] == "cancelled"


def test_a_job_s_end_is_shown_and_told_without_a_reload(
    visit: Visit, server: RunningServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job = server.submit("wait_for_file", path=str(gate), value="through")
    visit.open(f"#/jobs/{job}")
    visit.await_state("running")
    expect(visit.find("#share")).to_have_text("Computing")
    gate.touch()
    visit.await_state("done")
    visit.await_answer()
    assert visit.rows() == [["through"]]


def test_a_failed_job_says_why_and_what_it_cost(visit: Visit, server: RunningServer) -> None:
    job = ended(server, "signal_self", value=int(signal.SIGSEGV))
    visit.open(f"#/jobs/{job}")
    visit.await_state("failed")
    record = server.get(f"/api/jobs/{job}")["data"]
    expect(visit.find("#reason")).to_have_text(record["reason"])
    lines = visit.find("#attempts li").all_text_contents()
    for line, attempt in zip(lines, record["attempts"], strict=True):
        assert attempt["cause"] in line
        assert attempt["stage"] in line


def test_a_job_that_is_not_there_is_said_so(browser: Browser, server: RunningServer) -> None:
    with visiting(browser, server, expected=NOT_LOADED) as visit:
        visit.open("#/jobs/987654", "There is no job 987654")


# -- taken away -----------------------------------------------------------------------


@pytest.fixture
def answered(visit: Visit, server: RunningServer) -> int:
    """The page shows the answer of this job."""
    request = {"question": OBESITY, "years": [2015, 2019], "states": ["Ohio", "Iowa", "Guam"]}
    job = ended(server, "states_mean", **request)
    visit.open(f"#/jobs/{job}")
    visit.await_answer()
    return job


def downloaded(visit: Visit, kind: str) -> tuple[str, bytes]:
    """The name and the bytes of what a button gives."""
    with visit.page.expect_download() as began:
        visit.find(f"[data-download={kind}]").click()
    return began.value.suggested_filename, began.value.path().read_bytes()


def test_an_answer_is_downloaded_as_the_api_gives_it(
    visit: Visit, server: RunningServer, answered: int
) -> None:
    name, csv = downloaded(visit, "csv")
    assert name == f"job_id_{answered}.csv"
    assert csv == server.ask("GET", f"/api/jobs/{answered}/table?format=csv").content
    name, answer = downloaded(visit, "json")
    assert name == f"job_id_{answered}.json"
    assert answer == server.ask("GET", f"/api/get_results/{answered}").content


def test_a_chart_is_downloaded_as_a_drawing_and_as_a_picture(visit: Visit, answered: int) -> None:
    name, svg = downloaded(visit, "svg")
    assert name == f"job_id_{answered}.svg"
    drawing = ElementTree.fromstring(svg)
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"Ohio", "Iowa", "Guam"} <= {text.strip() for text in drawing.itertext()}
    name, png = downloaded(visit, "png")
    assert name == f"job_id_{answered}.png"
    assert png.startswith(PNG)


def copied(visit: Visit, kind: str) -> str:
    """What a button puts into the clipboard."""
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = visit.find(f"[data-copy={kind}]")
    button.click()
    expect(button).to_have_text("Copied")
    return visit.page.evaluate("navigator.clipboard.readText()")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the command is curl's")
def test_the_curl_command_that_is_copied_gives_the_same_answer(
    visit: Visit, server: RunningServer, answered: int
) -> None:
    command = copied(visit, "curl")
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, check=True, text=True, timeout=30
    )
    assert json.loads(done.stdout) == server.get(f"/api/get_results/{answered}")


def test_the_command_line_that_is_copied_gives_the_same_answer(
    visit: Visit, server: RunningServer, answered: int
) -> None:
    words = shlex.split(copied(visit, "cli"))
    assert words[:5] == ["sportiv", "--url", visit.origin, "ask", "states_mean"]
    options = list(zip(words[5::2], words[6::2], strict=True))
    assert sorted(options) == [
        ("--question", OBESITY),
        ("--states", "Guam"),
        ("--states", "Iowa"),
        ("--states", "Ohio"),
        ("--years", "2015-2019"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", *words[1:], "--json"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == server.get(f"/api/get_results/{answered}")["data"]


@pytest.mark.parametrize("text", ["it's", 'a "b" $HOME `id`', "back\\slash", "two\nlines", ""])
def test_what_is_copied_survives_a_shell(visit: Visit, text: str) -> None:
    visit.open("#/")
    quoted = visit.page.evaluate(
        "async text => (await import('/assets/commands.js')).quoted(text)", text
    )
    command = ["sh", "-c", f"printf %s {quoted}"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == text


def test_a_shared_link_shows_the_same_answer_to_somebody_else(
    browser: Browser, server: RunningServer, visit: Visit, answered: int
) -> None:
    link = copied(visit, "link")
    with visiting(browser, server) as other:
        other.page.goto(link)
        other.await_answer()
        assert other.rows() == visit.rows()
        assert other.chart_data() == visit.chart_data()


def test_an_answer_is_asked_for_again_and_changed(
    visit: Visit, server: RunningServer, answered: int
) -> None:
    visit.find("#change").click()
    visit.find("#ask-form").wait_for()
    assert visit.field("question").input_value() == OBESITY
    visit.page.get_by_role("button", name="Remove Guam").click()
    changed = visit.submit()
    request = server.get(f"/api/jobs/{changed}")["data"]["request"]
    assert sorted(request["states"]) == ["Iowa", "Ohio"]
    visit.find("#again").click()
    visit.page.wait_for_url(f"**/#/jobs/{changed + 1}")
    visit.await_answer()
    assert server.get(f"/api/jobs/{changed + 1}")["data"]["request"] == request


# -- found again ----------------------------------------------------------------------


def listed(visit: Visit) -> list[int]:
    rows = visit.find("#jobs tbody tr")
    return [int(each) for each in rows.evaluate_all("rows => rows.map(row => row.dataset.key)")]


def test_past_jobs_are_listed_newest_first_and_filtered(
    visit: Visit, server: RunningServer
) -> None:
    jobs = [ended(server, "global_mean", question=OBESITY) for _ in range(2)]
    jobs.append(ended(server, "fail", value="on purpose"))
    visit.open("#/jobs", "Jobs")
    assert listed(visit)[:3] == jobs[::-1]
    visit.find("#filter-statistic").select_option("global_mean")
    visit.await_true(lambda: listed(visit)[:2] == jobs[1::-1], "the jobs of one statistic")
    assert visit.page.url.endswith("#/jobs?statistic=global_mean")
    visit.page.go_back()
    visit.find("#filter-status").select_option("failed")
    states = visit.find("#jobs .state")
    visit.await_true(lambda: set(states.all_text_contents()) == {"failed"}, "those that failed")
    assert listed(visit)[0] == jobs[2]
    visit.find(f"#jobs tr[data-key='{jobs[2]}'] a").click()
    visit.await_state("failed")


def test_older_jobs_come_on_demand(visit: Visit, server: RunningServer) -> None:
    body = {"jobs": [{"statistic": "echo", "value": number} for number in range(60)]}
    ids = server.ask("POST", "/api/batch", body).json["job_ids"]
    for job in ids:
        server.result(job)
    visit.open("#/jobs?statistic=echo", "Jobs")
    assert listed(visit) == ids[:-51:-1]
    visit.find("#older").click()
    visit.await_true(lambda: listed(visit)[:60] == ids[::-1], "the older ones as well")
    assert not visit.find("#older").is_visible()


def test_a_job_that_runs_is_listed_as_done_when_it_is(
    visit: Visit, server: RunningServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job = server.submit("wait_for_file", path=str(gate))
    wait_for(Path(f"{gate}.begun").exists, "it has begun")
    visit.open("#/jobs", "Jobs")
    state = visit.find(f"#jobs tr[data-key='{job}'] .state")
    expect(state).to_have_text("running")
    gate.touch()
    expect(state).to_have_text("done")
