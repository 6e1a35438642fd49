"""What a report must say of the machine it was made on, so that its figures mean something."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which

from server.machine import Machine
from server.settings import ROOT

LIBRARIES = (
    *("sportiv-stats", "numpy", "scipy", "polars", "flask", "gunicorn", "msgspec", "pandas"),
    *(
        "duckdb",
        "pyarrow",
        "loky",
        "mpire",
        "celery",
        "dramatiq",
        "rq",
        "huey",
        "redis",
        "distributed",
    ),
)


def machine_facts() -> dict[str, str]:
    """When and of what, processor, memory, system and libraries, each under its label."""
    return {
        "date": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
        "version": _version(),
        "processor": _processor(),
        "cores": f"{Machine().cores()} of {os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}{_threading()}",
        "libraries": ", ".join(filter(None, map(_library, LIBRARIES))),
    }


def load() -> str:
    """How busy the machine is: the mean number of processes that ran or wanted to."""
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


def _version() -> str:
    """The commit of the checkout that this file is in; the release's number where it is none."""
    if which("git") and (ROOT / ".git").exists():
        command = ("git", "-C", ROOT, "describe", "--always", "--dirty", "--tags")
        described = subprocess.run(command, capture_output=True, text=True, check=False)
        if described.returncode == 0:
            return described.stdout.strip()
    return version("sportiv-stats")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    values = dict(map(str.strip, line.split(":", 1)) for line in lines if ":" in line)
    name = values.get("model name") or platform.processor() or "unknown"
    is_virtual = "hypervisor" in values.get("flags", "").split()
    return f"{name}{', in a virtual machine' if is_virtual else ''}"


def _threading() -> str:
    is_locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return "" if is_locked else ", free-threaded"


def _library(name: str) -> str | None:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return None
