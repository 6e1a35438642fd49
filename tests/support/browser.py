"""A real browser for tests of the page: chromium, driven by Playwright, judged by axe-core."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, sync_playwright

from tests.support.servers import ROOT, RunningServer, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
SECONDS = 30.0
NOT_LOADED = "Failed to load resource"
"""What the browser itself says of an answer that is no success, or of none."""

NOTHING = "(?!)"
"""A pattern that matches nothing."""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="the page's tests need a browser: apt-get install chromium"
)


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser; it ends when this is left."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """Somebody who has the page open; remembers what it complained of and whom it asked."""

    def __init__(self, page: Page, server: RunningServer) -> None:
        self.page = page
        self.server = server
        self.origin = f"http://127.0.0.1:{server.port}"
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.asked.append(request.url)

    def open(self, address: str, heading: str | re.Pattern[str] = "") -> None:
        """Go to an address within the page, and wait until its view is there."""
        self.page.goto(f"{self.origin}/{address}")
        self.find("h1").get_by_text(re.compile(heading)).first.wait_for()

    def find(self, selector: str) -> Locator:
        """What a selector finds."""
        return self.page.locator(selector)

    def field(self, name: str) -> Locator:
        """The first input of a form's field."""
        return self.find(f"[data-field={name}] input").first

    def choose(self, name: str, text: str) -> None:
        """Choose the first suggestion for `text` in a field that suggests names."""
        field = self.field(name)
        field.fill(text)
        field.press("ArrowDown")
        field.press("Enter")

    def submit(self) -> int:
        """Send the form; the number of the job that the page then shows."""
        self.find("#submit").click()
        return self.job_shown()

    def job_shown(self) -> int:
        """The number of the job that the page shows, as soon as it shows one."""
        self.page.wait_for_url("**/#/jobs/*")
        self.find("#state").wait_for()
        return int(self.page.url.rpartition("/")[2])

    def await_state(self, state: str) -> None:
        """Wait until the job shown is in this state."""
        self.find(f"#state[data-state={state}]").wait_for()

    def await_answer(self) -> None:
        """Wait until the answer is there, and the chart drawn where there is one."""
        self.find("#answer:not([hidden]) table").wait_for()
        if self.find("#chart").count():
            self.find("#chart svg").wait_for()
            wait_for(lambda: self.page.evaluate("window.sportiv.view !== null"), "the chart's view")

    def chart_data(self, name: str = "answer") -> list[dict[str, Any]]:
        """The rows behind the chart that is shown."""
        return self.page.evaluate(
            "name => window.sportiv.view.data(name).map(row => ({...row}))", name
        )

    def rows(self, table: str = "#answer table") -> list[list[str]]:
        """The texts of a table's cells."""
        return self.page.evaluate(
            "selector => [...document.querySelectorAll(`${selector} tbody tr`)]"
            ".map(row => [...row.cells].map(cell => cell.textContent))",
            table,
        )

    def reconnect(self) -> None:
        """Have the page try again without a pause until the server answers."""
        banner = self.find("#banner")

        def tried() -> bool:
            banner.locator("button").evaluate_all("all => all.forEach(each => each.click())")
            return banner.inner_text() == ""

        self.await_true(tried, "the server answers the page again")

    def await_true(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for a condition that looks at the page; what it gives."""
        return wait_for(condition, what, SECONDS)

    def picture(self, name: str) -> None:
        """Keep a picture of the page as it is now, for people to look at."""
        folder = Path(os.environ.get("SPORTIV_TEST_SCREENSHOTS") or ROOT / "build" / "screenshots")
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    def check(self, expected: str = NOTHING) -> None:
        """The page has complained of nothing but what the pattern matches, and asked nobody else.

        What was complained of before counts once.
        """
        complaints, self.complaints = self.complaints, []
        unexpected = [each for each in complaints if not re.search(expected, each)]
        assert not unexpected, unexpected
        outside = [each for each in self.asked if not each.startswith(f"{self.origin}/")]
        assert self.asked
        assert not outside, outside

    def barriers(self, *rules: str) -> str:
        """What axe-core finds that keeps somebody out, in its words; all rules, or these."""
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": rules}
        found = Axe().run(self.page, options=options)
        return found.generate_report() if found.violations_count else ""


@contextmanager
def visiting(
    browser: Browser,
    server: RunningServer,
    *,
    width: int = 1280,
    height: int = 900,
    expected: str = NOTHING,
    **options: Any,
) -> Iterator[Visit]:
    """A visit in a fresh profile, at whose end the page is checked."""
    size = {"width": width, "height": height}
    context = browser.new_context(viewport=size, **options)
    try:
        visit = Visit(context.new_page(), server)
        yield visit
    finally:
        context.close()
    visit.check(expected)
