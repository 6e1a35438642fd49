"""The report of a run, as a file."""

from pathlib import Path

from benchmarks.results import Report, write_json

FOLDER = Path(__file__).parent / "report"


def write_report(report: Report, folder: Path = FOLDER) -> Path:
    """Write `report.json` into `folder`; gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.json"
    write_json(report, path)
    return path
