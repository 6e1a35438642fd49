"""The documents say what the code says, and point to what exists."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.__main__ import BENCHMARKS
from server import runtime
from server.dataset import load_description
from server.endpoints import create_app
from server.metrics import Figures, Metrics
from server.settings import Settings
from server.stats import STATISTICS
from server.stats.statistic import QuestionRequest
from tests.contract.test_layers import LAYERS
from tests.support.pages import assert_alike, blocks, prose, text_of
from tests.support.servers import ROOT, running_server
from tests.support.tables import Row, table_of
from tools import make_docs

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "data/*.md")
    for path in ROOT.glob(pattern)
    if not path.name.startswith(".")
)
SIX_DIGITS = 1e-4
"""How near the numbers of a page are to the true ones that it shows with six digits."""

OF_THE_TESTS = {"SPORTIV_TEST_DATA", "SPORTIV_TEST_SCREENSHOTS"}
"""Variables that the tests read and the server does not."""
OF_THE_CLIENT = {"SPORTIV_URL"}
"""Variables that the command line reads and the server does not."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# -- generated pages ------------------------------------------------------------------


def test_the_generated_pages_are_in_step_with_the_code() -> None:
    assert make_docs.differences(ROOT) == "", "`make docs` writes them anew"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with copies of the generated pages."""
    for path in make_docs.generated(ROOT):
        copy = tmp_path / path
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(text_of(str(path)), encoding="utf-8")
    return tmp_path


def test_check_says_what_is_out_of_step_and_writes_nothing(
    copies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = copies / make_docs.SETTINGS
    page.write_text(page.read_text("utf-8").replace("SPORTIV_BIND", "SPORTIV_BOUND"), "utf-8")
    assert make_docs.main(["--check"], copies) == 1
    printed = capsys.readouterr().out
    assert "-| `SPORTIV_BOUND`" in printed
    assert "+| `SPORTIV_BIND`" in printed
    assert "SPORTIV_BOUND" in page.read_text("utf-8")


def test_writing_brings_a_page_into_step(copies: Path) -> None:
    page = copies / make_docs.SETTINGS
    page.unlink()
    assert make_docs.main([], copies) == 0
    assert page.read_text("utf-8") == text_of(str(make_docs.SETTINGS))
    assert make_docs.main(["--check"], copies) == 0


@pytest.mark.parametrize(
    "page",
    ["", make_docs.BEGIN, make_docs.END, f"{make_docs.BEGIN}{make_docs.END}{make_docs.BEGIN}"],
)
def test_a_page_without_both_markers_once_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="the page needs one line"):
        make_docs.with_statistics(page, "table")


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    page = f"before\n{make_docs.BEGIN}\nold\n{make_docs.END}\nafter\n"
    once = make_docs.with_statistics(page, "| new |\n")
    assert once == f"before\n{make_docs.BEGIN}\n\n| new |\n\n{make_docs.END}\nafter\n"
    assert make_docs.with_statistics(once, "| new |\n") == once


def test_every_statistic_has_its_line_in_the_readme() -> None:
    listed = re.findall(r"^\| `/api/(\w+)` \|", text_of("README.md"), re.MULTILINE)
    assert listed[: len(STATISTICS)] == list(STATISTICS)


def test_every_example_in_the_statistics_page_is_answered_so(tmp_path: Path) -> None:
    page = text_of(str(make_docs.STATISTICS_PAGE))
    sections = re.findall(r"^## `(\w+)`$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in sections] == list(STATISTICS)
    with running_server(tmp_path) as server:
        for name, section in sections:
            asked, answered = blocks(section, "json")
            data = server.data(name, **json.loads(asked))
            assert_alike(data, json.loads(answered), SIX_DIGITS)


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_says_how_it_is_computed(name: str) -> None:
    row = STATISTICS[name]
    assert row.formula
    assert row.source
    assert row.example


# -- what the pages name --------------------------------------------------------------


def targets(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text("utf-8"))):
        if not re.match(r"[a-z]+:|#", target):
            yield target.partition("#")[0]


@every_page
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    missing = [target for target in targets(page) if not (page.parent / target).exists()]
    assert missing == []


@every_page
def test_every_variable_that_is_mentioned_is_a_setting(page: Path) -> None:
    known = {variable.name for _, variable in Settings.variables()} | OF_THE_TESTS | OF_THE_CLIENT
    assert set(re.findall(r"\bSPORTIV_[A-Z_]+\b", page.read_text("utf-8"))) <= known


@every_page
def test_every_metric_that_is_mentioned_is_one(page: Path) -> None:
    nothing = Figures(**dict.fromkeys(Figures.__dataclass_fields__, 0))
    kept = re.findall(r"^# TYPE (\w+)", Metrics(lambda: nothing).text().decode(), re.MULTILINE)
    mentioned = re.findall(r"\bsportiv_[a-z_]+\b", page.read_text("utf-8"))
    assert set(mentioned) <= set(kept)


@every_page
def test_every_make_target_that_is_mentioned_is_in_the_makefile(page: Path) -> None:
    known = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    page_text = page.read_text("utf-8")
    mentioned = {
        *re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z]+)\b", page_text),
        *re.findall(r"^(?:[A-Z_]+=\S+ )*make ([a-z]+)\b", page_text, re.MULTILINE),
    }
    assert mentioned <= known


@every_page
def test_every_benchmark_that_is_mentioned_is_one(page: Path) -> None:
    named = re.findall(r"python -m benchmarks ([a-z_]+)", page.read_text("utf-8"))
    assert set(named) <= set(BENCHMARKS)


@every_page
def test_no_page_names_a_folder_of_one_machine(page: Path) -> None:
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", page.read_text("utf-8"))


def test_every_decision_has_a_number_of_its_own_and_all_its_parts() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:5] for page in pages] == [f"{n:04}-" for n in range(1, len(pages) + 1)]
    parts = ["Context", "Decision", "Why", "What else was weighed", "Consequences"]
    for number, page in enumerate(pages, 1):
        text = page.read_text("utf-8")
        assert text.startswith(f"# {number}. "), page.name
        found = [re.match(r"\w+( else was weighed)?", head) for head in text.split("\n## ")[1:]]
        assert [match[0] for match in found if match] == parts, page.name


# -- ARCHITECTURE.md ------------------------------------------------------------------


def layer_table() -> list[tuple[int, str]]:
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", text_of("ARCHITECTURE.md"), re.MULTILINE)
    return [(int(layer), name) for layer, name in rows]


def test_the_layer_table_names_every_module_and_no_other() -> None:
    files = {path.stem for path in (ROOT / "server").glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in (ROOT / "server").glob("*/__init__.py")}
    named = [name for _, name in layer_table()]
    assert sorted(named) == sorted(files | packages)


def test_the_layer_table_is_the_one_that_the_imports_are_held_to() -> None:
    held = {(n, name.removeprefix("server.")) for n, layer in enumerate(LAYERS) for name in layer}
    assert set(layer_table()) == held


@cache
def definitions() -> dict[str, set[str]]:
    """What each module and each class of the server defines, under the module's or class's name."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "server").rglob("*.py"):
        module = path.parent.name if path.stem == "__init__" else path.stem
        tree = ast.parse(path.read_text("utf-8"))
        found.setdefault(module, set()).update(bound(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(bound(node))
    for package in ("server", "server/stats"):
        found[Path(package).name] |= {path.stem for path in (ROOT / package).glob("*")}
    return found


def bound(scope: ast.Module | ast.ClassDef) -> Iterator[str]:
    """The names that a module or a class binds in its own body."""
    for node in scope.body:
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                yield name
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                yield name


@every_page
def test_every_name_in_the_code_that_is_mentioned_exists(page: Path) -> None:
    known = definitions()
    everything = {name for names in known.values() for name in names}
    for mentioned in re.findall(
        r"`([A-Za-z_][\w.]*)(?:\([^`]*\))?`", prose(page.read_text("utf-8"))
    ):
        owner, *names = mentioned.split(".")
        if owner in known and names and names[0] not in ("py", "conf", "js"):
            for name in names:
                assert name in known[owner], mentioned
                owner = name
        elif owner.startswith("_"):
            assert owner in everything, mentioned


# -- README.md and CHANGELOG.md -------------------------------------------------------


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "\n## [Unreleased]\n" in text_of("CHANGELOG.md")


def test_the_readme_lists_every_address() -> None:
    jobs = cast(Any, SimpleNamespace(catalogue=SimpleNamespace(statistics=STATISTICS)))
    rules = [
        rule
        for rule in create_app(jobs, Settings.read({})).url_map.iter_rules()
        if "GET" in rule.methods
    ]
    served = {re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", rule.rule) for rule in rules}
    rest = text_of("README.md").partition("### The rest: GET")[2].partition("### Errors")[0]
    assert set(re.findall(r"^\| `(/[^`]*)` \|", rest, re.MULTILINE)) == served


def test_the_readme_names_the_folder_of_the_ledger() -> None:
    assert f"`results/{runtime.PRIVATE}/`" in text_of("README.md")


def test_the_readmes_description_of_a_table_is_one(tmp_path: Path) -> None:
    (block,) = blocks(text_of("README.md"), "toml")
    path = tmp_path / "hours.toml"
    path.write_text(block, encoding="utf-8")
    description = load_description(path)
    assert set(description.columns.by_role()) == set(type(description.columns).__struct_fields__)
    assert description.synonyms_of("location", "North") == ("The North",)


def test_the_statistic_in_contributing_works() -> None:
    (block,) = blocks(text_of("CONTRIBUTING.md"), "python")
    names: dict[str, Any] = {}
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    (row,) = names["ROWS"]
    assert row.name not in STATISTICS
    table = table_of(
        [
            Row("Sport", "North", None, None, 2020, 1.0),
            Row("Sport", "South", None, None, 2021, None),
            Row("Sleep", "South", None, None, 2021, 3.0),
        ]
    )
    count: Callable[..., Any] = row.partial
    assert count(table, QuestionRequest("Sport"), None) == {"rows": 1}
