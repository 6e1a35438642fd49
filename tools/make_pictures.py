"""Makes the README's pictures anew, from the page and the command line of this very project.

    python -m tools.make_pictures

A server over the sample table answers three questions. The chart is what `sportiv ask --plot`
writes; the screenshots are what chromium shows of the page, wide and light, narrow and dark.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import Browser, sync_playwright

from server.client import Client
from server.settings import ROOT

IMAGES = ROOT / "docs" / "images"
QUESTION = "Percent of adults aged 18 years and older who have obesity"
RANKING = {"question": QUESTION, "n_resamples": 9_999, "seed": 1}
TREND = ("--question", QUESTION, "--by", "state", "--states", "Michigan", "--states", "Ohio")
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
    program = [sys.executable, "-m", "server.cli", "--url", url, "ask", "trend", *TREND]
    plot = ["--csv", "--plot", str(IMAGES / "trend.svg")]
    subprocess.run([*program, *plot], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def take_screenshots(url: str, job: int, browser: Browser) -> None:
    """`page.png` and `page-narrow.png` in `docs/images`: the answer of a job."""
    looks: tuple[tuple[str, int, Literal["light", "dark"]], ...] = (
        ("page.png", 1100, "light"),
        ("page-narrow.png", 390, "dark"),
    )
    for name, width, scheme in looks:
        size = {"width": width, "height": HEIGHT}
        page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")
        page.goto(f"{url}/#/jobs/{job}")
        page.locator("svg.marks").wait_for()
        page.screenshot(path=IMAGES / name)
        page.close()


def main() -> int:
    """Make all of them; the exit code."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("the screenshots need a browser: apt-get install chromium", file=sys.stderr)
        return 1
    with sample_server() as url, Client(url) as client:
        job = client.submit("ranking_stability", **RANKING)
        job.wait()
        draw_chart(url)
        with sync_playwright() as playwright:
            flags = ["--no-sandbox"] if os.geteuid() == 0 else []
            with playwright.chromium.launch(executable_path=chromium, args=flags) as browser:
                take_screenshots(url, job.id, browser)
    for name in sorted(path.name for path in IMAGES.iterdir()):
        print(f"written: docs/images/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
