"""The page's files as they are sent: whole, of the right kind, and nothing else."""

from pathlib import Path

import pytest

from server.chart_library import ChartLibrary
from server.dashboard import POLICY, STATIC, Dashboard
from server.errors import UnknownAsset


@pytest.fixture
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that gets a byte each time the library is made."""
    return tmp_path_factory.mktemp("runs") / "runs"


@pytest.fixture
def library(
    runs: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> ChartLibrary:
    """One whose program is quick: it takes down that it ran, and writes four letters."""
    folder = tmp_path_factory.mktemp("maker")
    code = f"open({str(runs)!r}, 'ab').write(b'.')\nprint('vega', end='')\n"
    (folder / "quick_maker.py").write_text(code, "utf-8")
    monkeypatch.syspath_prepend(str(folder))
    return ChartLibrary("quick_maker")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "static"
    made.mkdir()
    for name in ("index.html", "app.js", "style.css", "icon.svg", "picture.png"):
        (made / name).write_text(name)
    return made


def test_each_file_is_sent_as_it_stands_and_by_its_kind(
    library: ChartLibrary, folder: Path
) -> None:
    page = Dashboard(library, folder)
    assert page.page.content == b"index.html"
    assert page.page.media == "text/html; charset=utf-8"
    kinds = {
        "app.js": "text/javascript; charset=utf-8",
        "style.css": "text/css; charset=utf-8",
        "icon.svg": "image/svg+xml",
        "picture.png": "image/png",
    }
    for name, media in kinds.items():
        asset = page.asset(name)
        assert (asset.content, asset.media, asset.caching) == (name.encode(), media, "no-cache")


@pytest.mark.parametrize("name", [".app.js.swp", "app.js~", "notes.txt", ".hidden.js"])
def test_an_editor_s_leftovers_are_not_sent(library: ChartLibrary, folder: Path, name: str) -> None:
    (folder / name).write_text("secret")
    with pytest.raises(UnknownAsset):
        Dashboard(library, folder).asset(name)


@pytest.mark.parametrize("name", ["../secret.js", "deeper/secret.js", "vega-6.js", "deeper", ""])
def test_nothing_outside_the_folder_is_sent(
    library: ChartLibrary, tmp_path: Path, folder: Path, name: str
) -> None:
    (folder / "deeper").mkdir()
    for place in (tmp_path, folder / "deeper"):
        (place / "secret.js").write_text("secret")
    with pytest.raises(UnknownAsset):
        Dashboard(library, folder).asset(name)


def test_the_page_itself_has_one_address(library: ChartLibrary, folder: Path) -> None:
    with pytest.raises(UnknownAsset):
        Dashboard(library, folder).asset("index.html")


def test_a_tag_tells_one_content_from_another(library: ChartLibrary, folder: Path) -> None:
    before = Dashboard(library, folder)
    assert before.asset("app.js").tag == Dashboard(library, folder).asset("app.js").tag
    (folder / "app.js").write_text("changed")
    assert before.asset("app.js").tag != Dashboard(library, folder).asset("app.js").tag


def test_the_library_is_made_when_it_is_asked_for_and_not_before(
    library: ChartLibrary, runs: Path
) -> None:
    page = Dashboard(library)
    assert not runs.exists()
    asset = page.asset(page.library_name)
    assert (asset.content, asset.media) == (b"vega", "text/javascript; charset=utf-8")
    assert asset.caching == "public, max-age=31536000, immutable"
    assert page.asset(library.name) is asset
    assert runs.read_bytes() == b"."


def test_the_policy_lets_no_text_become_a_program() -> None:
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert "http" not in POLICY


def test_every_file_in_the_folder_is_served(library: ChartLibrary) -> None:
    page = Dashboard(library)
    names = {path.name for path in STATIC.iterdir()} - {"index.html"}
    assert names
    assert all(page.asset(name).content for name in names)
