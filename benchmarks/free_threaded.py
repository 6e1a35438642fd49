"""Finding a Python without the interpreter lock, so that threads are measured on it as well."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_NAME = re.compile(r"python3\.(\d+)t")
_LONGEST_LOOK = 60.0

PROBE = "import sys, benchmarks.side_process; sys.exit(sys._is_gil_enabled())"
"""Ends well where the interpreter has all that a side takes, and no lock after its import."""


def found_on(path: str, probe: str = PROBE) -> tuple[str | None, str]:
    """The newest free-threaded Python in the folders of `path` that can run a side, and a note.

    None where there is none; the note then says what is missing.
    """
    present = sorted(_candidates(path), reverse=True)
    for _, executable in present:
        if _can_run(executable, probe):
            return executable, f"the free-threaded Python is {executable}"
    if present:
        names = ", ".join(executable for _, executable in present)
        return None, f"{names}: lacks NumPy or msgspec, so the thread rows are not run on it"
    return None, "no free-threaded Python (python3.14t and the like) is there to run threads on"


def found_here() -> tuple[str | None, str]:
    """As `found_on`, on this process's PATH; none where this Python is one itself."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None, "this Python is free-threaded: all threads here are without the lock"
    return found_on(os.environ.get("PATH", ""))


def environment() -> Mapping[str, str]:
    """What another interpreter needs to see the project's modules; its packages are its own."""
    return {"PYTHONPATH": str(Path(__file__).parents[1])}


def _candidates(path: str) -> Iterator[tuple[int, str]]:
    """(minor version, executable) of every one whose name says that it is free-threaded."""
    for folder in filter(None, path.split(os.pathsep)):
        for file in sorted(Path(folder).glob("python3.*t")):
            match = _NAME.fullmatch(file.name)
            if match and os.access(file, os.X_OK):
                yield int(match[1]), str(file)


def _can_run(executable: str, probe: str) -> bool:
    try:
        done = subprocess.run(
            [executable, "-c", probe],
            env={**os.environ, **environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LONGEST_LOOK,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
