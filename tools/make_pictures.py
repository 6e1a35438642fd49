"""Makes the documents' pictures anew, from the page and the command line of this very project.

    python -m tools.make_pictures

A server over the sample table answers two questions. The chart is what `sportiv ask --plot`
writes; the screenshots are what chromium shows of the page.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from server.client import Client
from server.settings import ROOT

IMAGES = ROOT / "docs" / "images"
QUESTION = "Percent of adults aged 18 years and older who have obesity"
RANKING = {"question": QUESTION, "seed": 1}
STATES = ("Ohio", "Arizona")
TREND = {"question": QUESTION, "category": "Total", "by": "state", "states": STATES}
START_SECONDS = 60.0
HEIGHT = 820


@contextmanager
def sample_server() -> Iterator[str]:
    """A server over the sample table, in folders of its own; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bind = f"127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="sportiv-pictures-") as folder:
        settings = {
            "SPORTIV_BIND": bind,
            "SPORTIV_DATA": str(ROOT / "data" / "sample.csv.gz"),
            "SPORTIV_RESULTS_DIR": f"{folder}/results",
            "SPORTIV_LOG_DIR": f"{folder}/logs",
        }
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"]
        with subprocess.Popen(
            command, cwd=ROOT, env=os.environ | settings, stderr=subprocess.DEVNULL
        ) as server:
            try:
                with Client(f"http://{bind}") as client:
                    client.health(patience=START_SECONDS)
                yield f"http://{bind}"
            finally:
                server.terminate()


def draw_chart(url: str) -> None:
    """`docs/images/trend.svg`, by the command line."""
    program = [sys.executable, "-m", "server.cli", "--url", url, "ask", "trend"]
    options = ["--question", QUESTION, "--category", "Total", "--by", "state"]
    states = [text for state in STATES for text in ("--states", state)]
    plot = ["--csv", "--plot", str(IMAGES / "trend.svg")]
    command = [*program, *options, *states, *plot]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True)
class Look:
    """A screenshot of the answer to a job; `whole` also of what is below the window."""

    name: str
    job: int
    width: int = 1000
    scheme: Literal["light", "dark"] = "light"
    whole: bool = False


def take_screenshot(url: str, look: Look, browser: Browser) -> None:
    """The file of that name in `docs/images`."""
    size = {"width": look.width, "height": HEIGHT}
    page = browser.new_page(viewport=size, color_scheme=look.scheme, reduced_motion="reduce")
    page.goto(f"{url}/#/jobs/{look.job}")
    page.locator("svg.marks").wait_for()
    page.screenshot(path=IMAGES / look.name, full_page=look.whole)
    page.close()


def main() -> int:
    """Make all of them; the exit code."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("the screenshots need a browser: apt-get install chromium", file=sys.stderr)
        return 1
    with sample_server() as url, Client(url) as client:
        trend, ranking = (
            client.submit("trend", **TREND),
            client.submit("ranking_stability", **RANKING),
        )
        trend.wait()
        ranking.wait()
        draw_chart(url)
        looks = (
            Look("page.png", ranking.id),
            Look("page-narrow.png", ranking.id, width=390, scheme="dark"),
            Look("answer.png", trend.id, whole=True),
        )
        with sync_playwright() as playwright:
            flags = ["--no-sandbox"] if os.geteuid() == 0 else []
            with playwright.chromium.launch(executable_path=chromium, args=flags) as browser:
                for look in looks:
                    take_screenshot(url, look, browser)
    for name in sorted(path.name for path in IMAGES.iterdir()):
        print(f"written: docs/images/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
