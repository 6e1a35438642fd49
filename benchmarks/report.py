"""The report of a run: everything as JSON, and a page that asks nobody for anything.

    python -m benchmarks.report benchmarks/report/report.json

makes the page anew, beside the JSON that it is made of.
"""

import sys
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks import wording
from benchmarks.finding import finding
from benchmarks.results import Report, read_json, write_json

FOLDER = Path(__file__).parent / "report"
TEMPLATE = "report_page.html.jinja"


def write_report(report: Report, folder: Path = FOLDER) -> Path:
    """Write `report.json`, then `index.html`, into `folder`; gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(report, folder / "report.json")
    return write_page(report, folder)


def write_page(report: Report, folder: Path) -> Path:
    """Write `index.html` into `folder`; gives its path."""
    path = folder / "index.html"
    path.write_text(page_of(report), encoding="utf-8")
    return path


def page_of(report: Report) -> str:
    """The page; the same report gives the same text."""
    # imported when all is measured: no side shall be forked from a process of that size
    from benchmarks.charts import chart

    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    goals = list(report.goals())
    every = [goal for _, some in goals for goal in some]
    return pages.get_template(TEMPLATE).render(
        report=report,
        finding=finding(report),
        goals=goals,
        reached=sum(goal.is_reached for goal in every),
        many=len(every),
        chart=chart,
        wording=wording,
    )


def main(path: Path) -> None:
    """Make the page of a report that was written before."""
    print(write_page(read_json(path), path.parent))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
