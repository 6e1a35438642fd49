"""The documents' pictures are what this software draws."""

import re
import shutil
from pathlib import Path

import pytest

from server.settings import ROOT
from tools import make_pictures

IMAGES = ROOT / "docs" / "images"
PNG = b"\x89PNG\r\n\x1a\n"


def figures_of(picture: Path) -> list[str]:
    """What a picture says of its marks to those who cannot see it: its figures."""
    return re.findall(r'aria-label="([^"]*)"', picture.read_text("utf-8"))


def test_the_chart_that_is_kept_has_the_figures_that_would_be_drawn_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_pictures, "IMAGES", tmp_path)
    with make_pictures.sample_server() as url:
        make_pictures.draw_chart(url)
    drawn = figures_of(tmp_path / "trend.svg")
    assert len(drawn) > 20
    assert drawn == figures_of(IMAGES / "trend.svg")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="screenshots need chromium")
def test_all_pictures_can_be_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_pictures, "IMAGES", tmp_path)
    assert make_pictures.main() == 0
    kept = {path.name for path in IMAGES.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == kept
    for picture in tmp_path.glob("*.png"):
        assert picture.read_bytes().startswith(PNG)
