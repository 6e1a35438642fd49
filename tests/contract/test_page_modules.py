"""The page's own modules: few words each, imports only downward, nothing that runs a text."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.dashboard import STATIC

ROOT = Path(__file__).parents[2]
MODULES = sorted(STATIC.glob("*.js"))
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
LONGEST = 300
"""How many lines a file of the page has at most."""


def rows() -> Iterator[list[str]]:
    """The modules of each row of the table in ARCHITECTURE.md, from the top."""
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    section = page.partition("\n## The page\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            yield re.findall(r"`([\w.]+\.js)`", line.split("|")[1])


def test_the_table_has_every_module_once() -> None:
    assert sorted(name for row in rows() for name in row) == [each.name for each in MODULES]


@every_module
def test_a_module_imports_only_from_rows_below_its_own(module: Path) -> None:
    place = {name: number for number, row in enumerate(rows()) for name in row}
    imported = re.findall(r'^import [^;]+ from "\./([\w.]+)";$', module.read_text("utf-8"), re.M)
    assert module.read_text("utf-8").count("\nimport ") == len(imported)
    for name in imported:
        assert place[name] > place[module.name], name


@every_module
def test_no_text_becomes_html_or_a_program(module: Path) -> None:
    text = module.read_text("utf-8")
    for danger in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert danger not in text


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_a_file_of_the_page_is_short_and_asks_nobody_else(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) < LONGEST
    addresses = re.findall(r"https?://[^\s\"'`]+", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg", "http://127.0.0.1:5000/"}
