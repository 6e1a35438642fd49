"""What a report must say of the machine it was made on, so that its figures mean something."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from server.machine import Machine

LIBRARIES = (
    *("sportiv-stats", "numpy", "scipy", "polars", "flask", "gunicorn", "msgspec", "pandas"),
    *("duckdb", "pyarrow", "loky", "mpire", "celery", "dramatiq", "rq", "huey", "redis"),
)


def machine_facts() -> dict[str, str]:
    """Processor, cores, memory, system, interpreter and libraries, each under its label."""
    return {
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


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _threading() -> str:
    is_locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    return "" if is_locked else ", free-threaded"


def _library(name: str) -> str | None:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return None
