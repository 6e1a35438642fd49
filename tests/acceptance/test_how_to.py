"""The pages that say how to, followed to the letter."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.pages import Reader, blocks, section, session, text_of
from tests.support.servers import ROOT, running_server

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on the PATH")

SAMPLE = {"SPORTIV_DATA": str(ROOT / "data" / "sample.csv.gz")}
OWN_TABLE = text_of("docs/how-to/your-own-table.md")


def own_table(folder: Path) -> dict[str, str]:
    """The page's table and description, saved in `folder`; the settings that the page says."""
    (table,) = blocks(OWN_TABLE, "csv")
    (description,) = blocks(OWN_TABLE, "toml")
    (folder / "hours.csv").write_text(table, "utf-8")
    (folder / "hours.toml").write_text(description, "utf-8")
    (start,) = blocks(section(OWN_TABLE, "3. Start it"), "sh")
    settings = dict(re.findall(r"(SPORTIV_\w+)=(\S+) ", start))
    assert start == " ".join(f"{name}={value}" for name, value in settings.items()) + " make run\n"
    return {name: str(folder / value) for name, value in settings.items()}


@needs_curl
def test_a_table_of_ones_own_is_answered_as_the_page_shows(tmp_path: Path) -> None:
    with running_server(tmp_path, **own_table(tmp_path)) as server:
        Reader(tmp_path, server.port).follow(session(OWN_TABLE))


CHANGES = [
    ("hours.toml", 'value = "Hours"', 'value = "Hour"'),
    ("hours.toml", 'year = "Year"', 'years = "Year"'),
    ("hours.csv", ",3.9,", ",3,9,"),
    ("hours.csv", ",3.9,", ",3.9 h,"),
    ("hours.csv", ",301\n", ",many\n"),
]


def refusals() -> list[str]:
    """What the page has the start say, for each change."""
    rows = re.findall(
        r"^\| .* \| (`+)(.*)\1 \|$", section(OWN_TABLE, "When the start refuses"), re.M
    )
    return [said.strip() for _, said in rows]


@pytest.mark.parametrize(("change", "said"), list(zip(CHANGES, refusals(), strict=True)))
def test_a_table_that_is_wrong_is_refused_as_the_page_says(
    tmp_path: Path, change: tuple[str, str, str], said: str
) -> None:
    settings = own_table(tmp_path)
    name, right, wrong = change
    changed = (tmp_path / name).read_text("utf-8").replace(right, wrong, 1)
    (tmp_path / name).write_text(changed, "utf-8")
    with running_server(tmp_path, wait=False, **settings) as server:
        assert server.exit_code() != 0
        printed = server.errors.read_text("utf-8").replace(f"{tmp_path}/", "")
    assert f"sportiv: cannot start: {said}\n" in printed


# -- adding a statistic ---------------------------------------------------------------

ADDING = text_of("docs/how-to/adding-a-statistic.md")


def checkout(folder: Path) -> Path:
    """A copy of the project, with the page's two files in it."""
    root = folder / "checkout"
    for name in ("server", "tools", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        *("README.md", "gunicorn.conf.py", "pyproject.toml"),
        *("data/sample.csv.gz", "data/cdc_brfss.toml"),
    ):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    names = re.findall(r"^As `(\S+\.py)`", ADDING, re.MULTILINE)
    for name, code in zip(names, blocks(ADDING, "python"), strict=True):
        (root / name).write_text(code, "utf-8")
    return root


@needs_curl
def test_a_statistic_is_added_by_one_file_and_its_test(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    own = {"PYTHONPATH": str(root)}
    reader = Reader(root, 0, **own)
    reader.run("python -m pytest -q -p no:cacheprovider tests/stats/test_thresholds.py")
    reader.run("ruff check --no-cache server/stats tests/stats && ruff format --check --no-cache .")
    assert "share_above" in reader.run("python -m tools.make_docs && grep share_above README.md")
    reader.run("python -m tools.make_docs --check")
    with running_server(
        tmp_path, configuration=str(root / "gunicorn.conf.py"), **SAMPLE, **own
    ) as server:
        Reader(root, server.port, **own).follow(session(ADDING))
        listed = {each["name"]: each for each in server.get("/api/statistics")["data"]}
        assert [each["name"] for each in listed["share_above"]["fields"]][-1] == "threshold"
        assert "/api/share_above" in server.get("/openapi.json")["paths"]
        assert server.get("/api/jobs/1/table")["data"]["columns"] == ["state", "share"]
        assert server.get("/api/jobs/1/chart")["data"]["mark"]


# -- upgrading ------------------------------------------------------------------------

UPGRADING = text_of("docs/how-to/upgrading.md")
OBESITY = "Percent of adults aged 18 years and older who have obesity"


def run_block(folder: Path, title: str, number: int = 0) -> None:
    """Run a block of the page's section as it stands."""
    Reader(folder, 0).run(blocks(section(UPGRADING, title), "sh")[number])


@needs_curl
def test_a_folder_is_copied_used_by_the_next_version_and_put_back(tmp_path: Path) -> None:
    started = section(UPGRADING, "3. Get the new version, and start")
    with running_server(tmp_path, **SAMPLE) as server:
        server.data("global_mean", question=OBESITY)
        Reader(tmp_path, server.port).follow(session(section(UPGRADING, "1. Stop")))
        assert server.stop() == 0
    run_block(tmp_path, "2. Copy")
    with running_server(tmp_path, **SAMPLE) as server:
        Reader(tmp_path, server.port).follow(session(started))
        server.data("states_mean", question=OBESITY)
        assert server.stop() == 0
    with closing(sqlite3.connect(tmp_path / "results/.ledger/ledger.sqlite3")) as ledger:
        ledger.execute("PRAGMA user_version = 99")
    with running_server(tmp_path, wait=False, **SAMPLE) as server:
        assert server.exit_code() != 0
        (refusal,) = blocks(UPGRADING, "text")
        assert refusal in server.errors.read_text("utf-8").replace(f"{tmp_path}/", "")
    run_block(tmp_path, "Going back")
    with running_server(tmp_path, **SAMPLE) as server:
        Reader(tmp_path, server.port).follow(session(started))
        assert server.get("/api/jobs")["data"] == [{"job_id_1": "done"}]


@needs_curl
def test_the_copy_of_a_server_that_runs_is_whole(tmp_path: Path) -> None:
    with running_server(tmp_path, **SAMPLE) as server:
        server.data("global_mean", question=OBESITY)
        run_block(tmp_path, "2. Copy", 1)
        server.data("states_mean", question=OBESITY)
    copy = {"SPORTIV_RESULTS_DIR": str(tmp_path / "results.copy")}
    with running_server(tmp_path, **SAMPLE, **copy) as server:
        assert server.result(1) == {"status": "done", "data": {"global_mean": 33.18340718857706}}
        assert server.get("/api/jobs")["data"] == [{"job_id_1": "done"}]
