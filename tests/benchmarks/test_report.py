"""The report's page, and the JSON that it is made of."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from benchmarks import wording
from benchmarks.measure import Chart, Comparison
from benchmarks.report import main, page_of, write_report
from benchmarks.results import Report
from tests.support.reports import BARS, LINES, ODD, REPORT

EMPTY = {"area", "br", "col", "hr", "img", "input", "link", "meta"}
TIMES = " \N{MULTIPLICATION SIGN}"


class _Page(HTMLParser):
    """A page read with the rule that every element is closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def values(self, key: str) -> list[str]:
        return [found for _, attrs in self.tags if (found := attrs.get(key)) is not None]


@pytest.fixture(scope="module")
def page() -> _Page:
    return _Page(page_of(REPORT))


def _comparisons() -> list[Comparison]:
    return [each for section in REPORT.sections for each in section.comparisons]


def test_every_figure_is_in_a_table_with_its_median_and_spread(page: _Page) -> None:
    cells = "|".join(" ".join(cell.split()) for cell in page.cells)
    for comparison in _comparisons():
        for figure in comparison.figures:
            numbers = "|".join(map(wording.short, (figure.median, figure.low, figure.high)))
            at = "" if figure.at is None else f"{figure.at:g}|"
            name = " ".join(figure.name.split())
            assert f"{name}|{at}{numbers}|{len(figure.values)}" in cells


def test_each_drawn_comparison_has_a_chart_that_says_its_figures_in_words(page: _Page) -> None:
    charts = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert {chart["role"] for chart in charts} == {"img"}
    words = [str(chart["aria-label"]) for chart in charts]
    drawn = [each for each in _comparisons() if each.chart is not Chart.NONE]
    assert [text.partition(", medians")[0] for text in words] == [each.title for each in drawn]
    assert "process pool, 2 workers: 200;" in words[0]


def test_nothing_on_the_page_is_asked_of_anybody_else(page: _Page) -> None:
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    addresses = [*page.values("href"), *page.values("src"), *page.values("xlink:href")]
    assert all(address.startswith("#") for address in addresses)
    styles = [*page.values("style"), *page.values("clip-path"), page.text]
    urls = re.findall(r"url\((.)|(@import)", " ".join(styles))
    assert {first or other for first, other in urls} <= {"#"}


def test_every_id_is_there_once_and_every_link_leads_to_one(page: _Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = {link[1:] for link in (*page.values("href"), *page.values("xlink:href"))}
    clips = set(re.findall(r"url\(#([^)]+)\)", " ".join((*page.values("clip-path"), page.text))))
    assert links | clips <= set(ids)


def test_names_and_facts_are_text_and_never_markup(page: _Page) -> None:
    for text in (ODD[0].name, ODD[1].name, BARS.title, LINES.notes[0], "<Fast> & hot"):
        assert text in page.text


def test_the_table_of_goals_has_those_that_are_bound_and_says_which_are_reached(
    page: _Page,
) -> None:
    begin = page.cells.index("what")
    assert page.cells[begin + 4 : begin + 14] == [
        LINES.title,
        *(
            "process pool against thread pool",
            f"3.92{TIMES}",
            "at least 1.9",
            "reached",
        ),
        *(
            "process pool against bare processes",
            f"0.500{TIMES}",
            "at least 0.95",
            "missed",
        ),
        BARS.title,
    ]
    assert page.cells[begin + 14 : begin + 18] == [
        *("odd against zero", f"0.100{TIMES}", "at most 0.333", "reached")
    ]
    assert "The goals: 2 of 3 reached" in page.text


def test_a_skipped_section_says_why(page: _Page) -> None:
    assert "Skipped: no redis-server <here>" in page.text


def test_each_section_says_how_long_it_took(page: _Page) -> None:
    assert "It took 1 min 1 s." in page.text
    assert "It took 0.500 s." in page.text


def test_the_same_report_gives_the_same_page() -> None:
    assert page_of(REPORT) == page_of(REPORT)


def test_no_colour_of_the_drawing_is_left_that_the_style_does_not_set() -> None:
    assert set(re.findall(r"#010[12]\d\d", page_of(REPORT))) == set()


def test_a_report_without_any_section_is_a_page() -> None:
    assert "Not measured" in _Page(page_of(Report({}, ()))).text


def test_the_page_is_made_again_from_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = write_report(REPORT, tmp_path / "new" / "report")
    first = written.read_text(encoding="utf-8")
    written.unlink()
    main(written.with_name("report.json"))
    assert written.read_text(encoding="utf-8") == first
    assert capsys.readouterr().out == f"{written}\n"
