"""The page for everybody: no barriers in light or dark, on a phone or a desktop, no outsiders."""

import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit, needs_chromium, visiting
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

pytestmark = needs_chromium

OBESITY = "Percent of adults aged 18 years and older who have obesity"
COLOURS = ("color-contrast", "link-in-text-block")
"""The rules of axe-core whose outcome depends on the colours."""

NARROW, USUAL, WIDE = 320, 360, 1280


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("looks"), configuration=FOR_TESTS, SPORTIV_WORKERS="3"
    ) as running:
        yield running


def job_of(statistic: str, **request: object) -> Callable[[Visit], None]:
    """Shows a job that has ended."""

    def show(visit: Visit) -> None:
        job = visit.server.submit(statistic, **request)
        done = visit.server.result(job)["status"] == "done"
        visit.open(f"#/jobs/{job}", f"Job {job}")
        visit.find("#state:not([data-state=running])").wait_for()
        if done:
            visit.await_answer()

    return show


def running_job(visit: Visit) -> None:
    gate = visit.server.results.parent / "a gate that nobody opens"
    job = visit.server.submit("wait_for_file", path=str(gate))
    wait_for(Path(f"{gate}.begun").exists, "it has begun")
    visit.open(f"#/jobs/{job}", f"Job {job}")
    visit.await_state("running")


def form(visit: Visit) -> None:
    visit.open("#/ask/bootstrap_ci")
    visit.find("summary").click()
    for state in ("ohio", "new"):
        visit.choose("states", state)
    visit.find("#submit").click()  # without a question, so that something is wrong
    visit.field("question").press("ArrowDown")


def drain_dialog(visit: Visit) -> None:
    visit.open("#/server", "Server")
    visit.find("#drain").click()


def view(address: str, ready: str) -> Callable[[Visit], None]:
    """Shows a view that has something of this selector."""

    def show(visit: Visit) -> None:
        visit.open(address)
        visit.find(ready).first.wait_for()

    return show


VIEWS: dict[str, Callable[[Visit], None]] = {
    "home": view("#/", "#statistics li"),
    "form": form,
    "job-under-way": running_job,
    "job-failed": job_of("signal_self", value=int(signal.SIGKILL)),
    "ranked": job_of("best5", question=OBESITY),
    "intervals": job_of("bootstrap_ci", question=OBESITY, by="year", n_resamples=99, seed=1),
    "trends": job_of("trend", question=OBESITY, by="state", states=["Ohio", "Iowa", "Guam"]),
    "map": job_of("mean_by_category", question=OBESITY, category="Education"),
    "history": view("#/jobs", "#jobs tbody tr"),
    "live": view("#/live", "#workers tbody tr"),
    "server": view("#/server", "#drain"),
    "dialog": drain_dialog,
}
"""Each view of the page, and how it is come to."""


def overflow(visit: Visit) -> int:
    """By how many pixels the page is wider than its window."""
    return visit.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_no_barriers_and_fits_every_width(
    browser: Browser, server: RunningServer, name: str
) -> None:
    with visiting(browser, server, width=WIDE, reduced_motion="reduce") as visit:
        VIEWS[name](visit)
        assert visit.barriers() == ""
        visit.picture(f"{name}-{WIDE}-light")
        visit.page.set_viewport_size({"width": NARROW, "height": 640})
        assert overflow(visit) == 0
        visit.page.set_viewport_size({"width": USUAL, "height": 740})
        visit.page.emulate_media(color_scheme="dark")
        assert visit.barriers(*COLOURS) == ""
        visit.picture(f"{name}-{USUAL}-dark")


def test_a_chart_takes_the_colours_of_the_page(browser: Browser, server: RunningServer) -> None:
    def ink(visit: Visit) -> str:
        return visit.find("#chart .role-title-text text").first.get_attribute("fill") or ""

    with visiting(browser, server, color_scheme="light") as visit:
        VIEWS["ranked"](visit)
        light = ink(visit)
        visit.page.emulate_media(color_scheme="dark")
        visit.await_true(lambda: ink(visit) not in ("", light), "the title has another colour")


def test_the_page_is_told_to_those_who_hear_it(browser: Browser, server: RunningServer) -> None:
    with visiting(browser, server) as visit:
        job_of("best5", question=OBESITY)(visit)
        chart = visit.find("#chart [role=graphics-document], #chart[role=graphics-document]")
        assert "five best states" in (chart.get_attribute("aria-label") or "")
        for landmark in ("banner", "navigation", "main"):
            assert visit.page.get_by_role(landmark).count() == 1
        levels = visit.find("h1, h2, h3").evaluate_all("all => all.map(each => +each.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert visit.page.title().startswith("Job ")


def test_all_can_be_done_with_the_keyboard(browser: Browser, server: RunningServer) -> None:
    with visiting(browser, server) as visit:
        ask_with_the_keyboard(visit)
        job = visit.job_shown()
        visit.await_answer()
        assert focused(visit) == "H1"
        assert server.get(f"/api/jobs/{job}")["data"]["statistic"] == "worst5"


def focused(visit: Visit) -> str:
    """The id of what has the focus, or its kind where it has none."""
    return visit.page.evaluate("document.activeElement.id || document.activeElement.tagName")


def ask_with_the_keyboard(visit: Visit) -> None:
    visit.open("#/", "What do you want to know")
    keyboard = visit.page.keyboard

    keyboard.press("Tab")
    assert focused(visit) == "skip"
    keyboard.press("Enter")
    assert focused(visit) == "main"
    keyboard.press("Tab")
    assert focused(visit) == "search"
    keyboard.type("five worst")
    keyboard.press("Tab")
    keyboard.press("Enter")
    visit.find("#ask-form").wait_for()
    assert focused(visit) == "H1"
    keyboard.press("Tab")
    keyboard.press("Tab")
    keyboard.type("leisure")
    keyboard.press("Escape")
    assert visit.field("question").get_attribute("aria-expanded") == "false"
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    active = visit.field("question").get_attribute("aria-activedescendant")
    assert visit.find(f"#{active}.active").count() == 1
    keyboard.press("ArrowUp")
    keyboard.press("Enter")
    assert "leisure" in visit.field("question").input_value()
    keyboard.press("Enter")
