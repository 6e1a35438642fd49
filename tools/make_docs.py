"""Writes the pages that follow from the code: the settings, and the statistics' table.

    python -m tools.make_docs [--check]

`docs/settings.md` comes whole from the fields of `server.settings.Settings`, and
`docs/statistics.md` from the rows in `server.stats`; so does what stands between the two
markers in `README.md`. Tables of measured figures come from the kept report (`tools.figures`),
the reference in `docs/command-line.md` from the commands in `server.cli`. With `--check`
nothing is written: a page that is out of step is printed as a diff, and the exit code is 1.
"""

import argparse
import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from server.settings import ROOT, Settings
from server.stats import STATISTICS
from server.stats.statistic import Filters, Statistic
from server.variable import Variable
from tools.command_page import command_reference
from tools.figures import pages_with_figures
from tools.statistics_page import statistics_page

README = Path("README.md")
SETTINGS = Path("docs/settings.md")
STATISTICS_PAGE = Path("docs/statistics.md")
COMMANDS_PAGE = Path("docs/command-line.md")
SAMPLE = (ROOT / "data" / "sample.csv.gz", ROOT / "data" / "cdc_brfss.toml")

BEGIN = "<!-- statistics: written by `make docs` from the rows in server/stats -->"
END = "<!-- end of the statistics -->"

COMMANDS_BEGIN = "<!-- commands: written by `make docs` from server/cli -->"
COMMANDS_END = "<!-- end of the commands -->"

_SETTINGS_HEAD = """\
# Settings

<!-- Written by `make docs` from the fields in server/settings.py; change them there. -->

All settings are environment variables, read once when the server starts. A variable that is
empty counts as not set. A value that is not allowed stops the start with a sentence that names
the variable.

"""


def settings_page(variables: Iterable[Variable]) -> str:
    """The page of all settings, in the order of the fields."""
    rows = [
        (
            f"`{variable.name}`",
            f"`{variable.older}`" if variable.older else "",
            _default(variable.default),
            variable.allowed,
            variable.about,
        )
        for variable in variables
    ]
    header = ("variable", "older name", "default", "allowed", "what it does")
    return _SETTINGS_HEAD + _table(header, rows)


def _default(text: str) -> str:
    """A default as a person reads it; `@` alone stands for one that is found at the start."""
    if text == "@":
        return "found at the start"
    if text.startswith("@"):
        return f"`{text[1:]}` beside `gunicorn.conf.py`"
    return f"`{text}`"


def statistics_table(statistics: Mapping[str, Statistic]) -> str:
    """One row for each statistic: its address, its fields, its answer, its sentence."""
    rows = [
        (
            f"`/api/{row.name}`",
            ", ".join(f"`{name}`" for name in _own_fields(row)),
            _promise(row.partial.__doc__ or ""),
            row.summary,
        )
        for row in statistics.values()
    ]
    return _table(("`POST`", "fields of the body", "`data` of the answer", "what it is"), rows)


def _own_fields(statistic: Statistic) -> list[str]:
    """The fields of a request without those that every request may have."""
    common = set(Filters.__struct_fields__)
    return [name for name in statistic.request.__struct_fields__ if name not in common]


def _promise(docstring: str) -> str:
    """The first paragraph of a docstring, on one line and without its full stop."""
    return " ".join(docstring.partition("\n\n")[0].split()).removesuffix(".")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def with_statistics(page: str, table: str) -> str:
    """The README with `table` between its markers; as `between`."""
    return between(page, BEGIN, END, table)


def between(page: str, begin: str, end: str, text: str) -> str:
    """`page` with `text` between its markers; ValueError where these are not there once each."""
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"the page needs one line {begin!r} and one line {end!r}")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def generated(root: Path) -> dict[Path, str]:
    """What each generated page below `root` should hold."""
    readme = (root / README).read_text(encoding="utf-8")
    commands = (root / COMMANDS_PAGE).read_text(encoding="utf-8")
    return {
        README: with_statistics(readme, statistics_table(STATISTICS)),
        SETTINGS: settings_page(variable for _, variable in Settings.variables()),
        STATISTICS_PAGE: statistics_page(STATISTICS, *SAMPLE),
        COMMANDS_PAGE: between(commands, COMMANDS_BEGIN, COMMANDS_END, command_reference()),
        **pages_with_figures(root),
    }


def differences(root: Path) -> str:
    """A diff from the pages as they are to what they should be; empty where all are in step."""
    return "".join(
        line
        for path, wanted in generated(root).items()
        for line in difflib.unified_diff(
            _present(root / path).splitlines(keepends=True),
            wanted.splitlines(keepends=True),
            f"{path} as it is",
            f"{path} as it should be",
        )
    )


def _present(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Write the pages below `root`, or check them; the exit code."""
    parser = argparse.ArgumentParser(description="Write the documents that follow from the code.")
    parser.add_argument("--check", action="store_true", help="only say what is out of step")
    if parser.parse_args(arguments).check:
        found = differences(root)
        sys.stdout.write(found)
        return 1 if found else 0
    for path, wanted in generated(root).items():
        if _present(root / path) != wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(wanted, encoding="utf-8")
            print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
