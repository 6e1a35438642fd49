"""The documents as their readers have them: their blocks, and their commands, run as written.

A `console` block holds commands, each behind `$ `, and under each what it prints. Only where
the server listens is the test's: a page says 127.0.0.1:5000.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.servers import ROOT, wait_for

ADDRESS = "127.0.0.1:5000"
SECONDS = 60.0


class Step(NamedTuple):
    """One command of a page, and what the page says that it prints."""

    command: str
    shown: str


def text_of(name: str) -> str:
    """The page of this name below the project's folder."""
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks that are marked with `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def session(text: str) -> list[Step]:
    """The commands of all consoles, in order; one goes on behind a backslash."""
    return [
        Step(*each)
        for block in blocks(text, "console")
        for each in re.findall(r"^\$ ((?:.*\\\n)*.*)\n([\s\S]*?)(?=^\$ |\Z)", block, re.MULTILINE)
    ]


class Reader:
    """Who follows a page in `folder`, with a server that listens on `port`."""

    def __init__(self, folder: Path, port: int, **environment: str) -> None:
        self._folder = folder
        self._address = f"127.0.0.1:{port}"
        own = {name: value for name, value in os.environ.items() if "SPORTIV" not in name}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
        self._environment = own | {
            "PATH": programs,
            "COLUMNS": "100",
            "SPORTIV_URL": f"http://{self._address}",
            **environment,
        }

    def run(self, command: str) -> str:
        """What the command prints, on both streams; AssertionError where it fails."""
        done = subprocess.run(
            ["sh", "-c", command.replace(ADDRESS, self._address)],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout.replace(self._address, ADDRESS)

    def follow(self, steps: list[Step]) -> None:
        """Run each command, and see that it prints what the page shows."""
        assert steps
        for step in steps:
            assert_as_shown(self._printed(step), step.shown, step.command)

    def _printed(self, step: Step) -> str:
        """What the command prints: where that is a status, once that is the shown one.

        A reader types more slowly than a test.
        """
        status = _status(step.shown)
        if status is None or " -d " in step.command:
            return self.run(step.command)

        def settled() -> str | None:
            printed = self.run(step.command)
            return printed if _status(printed) == status else None

        return wait_for(settled, f"{step.command} prints {status}", SECONDS) or ""


def assert_as_shown(printed: str, shown: str, what: str) -> None:
    """The same: JSON by its structure, order, texts, and numbers up to rounding; else by lines.

    In a text, `...` stands for whatever else there is in a line, and alone in one for lines.
    """
    try:
        wanted = json.loads(shown)
    except ValueError:
        pattern = re.escape(shown.rstrip()).replace(r"\.\.\.", ".*")
        pattern = re.sub(r"^\.\*\\?$", r"(?:.*\n)*?.*", pattern, flags=re.MULTILINE)
        assert re.fullmatch(pattern, printed.rstrip()), f"{what} prints\n{printed}\nnot\n{shown}"
    else:
        assert_alike(json.loads(printed), wanted)


def assert_alike(printed: Any, shown: Any, rel: float = 1e-12) -> None:
    """The same structure in the same order, the same texts, and the same numbers up to `rel`."""
    assert type(printed) is type(shown), (printed, shown)
    match shown:
        case dict():
            assert list(printed) == list(shown)
            for name, each in shown.items():
                assert_alike(printed[name], each, rel)
        case list():
            assert len(printed) == len(shown)
            for mine, each in zip(printed, shown, strict=True):
                assert_alike(mine, each, rel)
        case float():
            assert printed == pytest.approx(shown, rel=rel)
        case _:
            assert printed == shown


def _status(text: str) -> Any:
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    return answer.get("status") if isinstance(answer, Mapping) else None
