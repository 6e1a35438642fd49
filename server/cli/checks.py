"""What a server needs of this machine: each check says how it is, and what to do about it."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from server.errors import SportivError
from server.machine import Machine
from server.reach import check_reach
from server.settings import Backend, Settings

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

OLDEST_PYTHON = (3, 11)
LITTLE_SPACE, SCARCE_SPACE = 2**30, 100 * 2**20  # bytes free on the disk: a warning, a failure
DISTRIBUTION = "sportiv-stats"


class Level(StrEnum):
    """How a check has gone."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found; `advice` says what to do where it is not well."""

    check: str
    level: Level
    text: str
    advice: str = ""


def python() -> Finding:
    """The interpreter is new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", Level.FAIL, found, "install Python 3.11 or newer")
    return Finding("python", Level.OK, found)


def packages(distribution: str = DISTRIBUTION) -> Finding:
    """What the project depends upon is installed, in versions that it takes."""
    from packaging.requirements import Requirement

    advice = "run `pip install -e .` in the project's folder"
    try:
        wanted = [Requirement(text) for text in requires(distribution) or ()]
    except PackageNotFoundError:
        return Finding("packages", Level.WARN, f"{distribution} is not installed itself", advice)
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate()]
    wrong = [trouble for each in needed if (trouble := _missing(each.name, each.specifier))]
    if wrong:
        return Finding("packages", Level.FAIL, "; ".join(wrong), advice)
    return Finding("packages", Level.OK, f"all {len(needed)} are there")


def _missing(name: str, accepted: "SpecifierSet") -> str:
    """What is wrong with a package; empty where nothing is."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is missing"
    return (
        ""
        if accepted.contains(found, prereleases=True)
        else f"{name} is {found}, but {accepted} is needed"
    )


def system() -> Finding:
    """The system can share memory without a name, as worker processes need it."""
    if not hasattr(os, "memfd_create"):
        advice = "run it on Linux, or set SPORTIV_BACKEND=thread"
        return Finding("system", Level.WARN, f"{sys.platform} has no sealed memory", advice)
    return Finding("system", Level.OK, f"{os.uname().sysname} {os.uname().release}")


def variables(environment: Mapping[str, str]) -> Finding:
    """The settings, which are allowed, are all that is set under such a name."""
    if others := Settings.strangers(environment):
        return Finding("settings", Level.WARN, "; ".join(others), "correct or unset it")
    return Finding("settings", Level.OK, "every variable is allowed")


def description(settings: Settings) -> Finding:
    """The description of the table can be used."""
    from server.dataset import load_description

    try:
        title = load_description(settings.dataset).title
    except SportivError as error:
        advice = "correct it, or name another with SPORTIV_DATASET"
        return Finding("description", Level.FAIL, str(error), advice)
    return Finding("description", Level.OK, f"{settings.dataset.name}: {title}")


def table(settings: Settings, *, whole: bool = False) -> Finding:
    """The table has the columns that its description names; with `whole`, all its rows too."""
    advice = "`make sample` makes the sample, `make data` gets the real one; or set SPORTIV_DATA"
    try:
        text = _whole_table(settings) if whole else _columns(settings)
    except SportivError as error:
        return Finding("table", Level.FAIL, str(error), advice)
    return Finding("table", Level.OK, f"{settings.data.name}: {text}")


def _columns(settings: Settings) -> str:
    from server import csv_text
    from server.dataset import load_description

    described = load_description(settings.dataset)
    if settings.data.suffix.lower() == ".parquet":
        from server import parquet_file

        layout = parquet_file.read_layout(settings.data, described)
    else:
        layout = csv_text.read_layout(settings.data, described)
    return f"{len(layout.header)} columns, {len(layout.roles)} of them used (rows not read)"


def _whole_table(settings: Settings) -> str:
    from server.loader import load_region
    from server.shared_data import attach_table

    with load_region(settings.data, settings.dataset) as region:
        read = attach_table(region.fd)
        return f"{read.rows} rows with a value, {region.size / 2**20:.1f} MiB in memory"


def folder(check: str, path: Path, variable: str) -> Finding:
    """A folder can be written to, or made, and its disk has room."""
    advice = f"make it writable for this user, or set {variable}"
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Finding(check, Level.FAIL, f"{path} cannot be written to", advice)
    free = shutil.disk_usage(place).free
    text = f"{path}, {_size(free)} free"
    if free < SCARCE_SPACE:
        return Finding(check, Level.FAIL, text, f"make room on that disk, or set {variable}")
    if free < LITTLE_SPACE:
        return Finding(check, Level.WARN, text, f"make room on that disk, or set {variable}")
    return Finding(check, Level.OK, text)


def holder(settings: Settings) -> Finding:
    """No server holds the results folder already."""
    lock = settings.results_dir / ".ledger" / "lock"
    pid = _holder_of(lock)
    if pid is None:
        return Finding("holder", Level.OK, "no server holds the results folder")
    advice = "that is well if it is the one you mean; a second one needs SPORTIV_RESULTS_DIR"
    return Finding("holder", Level.WARN, f"process {pid} holds the results folder", advice)


def _holder_of(lock: Path) -> str | None:
    """Who holds the lock, without trying to take it: a server that starts now could not."""
    try:
        inode = lock.stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
        if any(f":{inode} " in line and " FLOCK " in line for line in locks):
            return lock.read_text().strip() or "unknown"
    except OSError:
        pass
    return None


def cores(settings: Settings, machine: Machine | None = None) -> Finding:
    """There is a core for each worker."""
    there = (machine or Machine()).cores()
    text = f"{settings.workers} workers on {there} cores"
    if settings.workers > there:
        return Finding("cores", Level.WARN, text, f"set SPORTIV_WORKERS={there}, or give it more")
    return Finding("cores", Level.OK, text)


def memory(settings: Settings, machine: Machine | None = None) -> Finding:
    """The workers' limits together are no more than the memory that can be had."""
    available = (machine or Machine()).available_memory()
    if settings.backend is Backend.THREAD or available is None:
        return Finding("memory", Level.OK, "no limit to compare with what there is")
    wanted = settings.workers * settings.worker_memory
    text = f"{settings.workers} x {_size(settings.worker_memory)} of {_size(available)} available"
    if wanted > available:
        advice = (
            "lower SPORTIV_WORKER_MEMORY or SPORTIV_WORKERS: jobs that need it all may be killed"
        )
        return Finding("memory", Level.WARN, text, advice)
    return Finding("memory", Level.OK, text)


def _size(number: float) -> str:
    units = iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    while number >= 1024 and unit != "GiB":
        number, unit = number / 1024, next(units)
    return f"{number:.3g} {unit}" if number < 1000 else f"{number:.0f} {unit}"


def port(settings: Settings) -> Finding:
    """The server can listen at its address, or does already."""
    host, number = settings.bind.host, settings.bind.port
    advice = "end what listens there, or set SPORTIV_BIND"
    try:
        with _bound(host, number):
            return Finding("port", Level.OK, f"{settings.bind} is free")
    except OSError as error:
        trouble = error.strerror or str(error)
    who = _who_answers("127.0.0.1" if host in ("0.0.0.0", "::") else host, number)
    if who == "sportiv":
        return Finding("port", Level.OK, f"a Sportiv Stats server listens at {settings.bind}")
    return Finding("port", Level.FAIL, f"{settings.bind}: {who or trouble}", advice)


@contextmanager
def _bound(host: str, number: int) -> Iterator[None]:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        yield


def _who_answers(host: str, number: int) -> str:
    """`sportiv` where such a server answers, else who does; empty where nobody."""
    from server.client import Client, Unreachable

    where = f"[{host}]" if ":" in host else host
    with Client(f"http://{where}:{number}", patience=0, answer_seconds=2.0) as client:
        try:
            client.health()
        except Unreachable as error:
            return "" if "refused" in error.reason else f"{error.reason}"
    return "sportiv"


def reach(settings: Settings) -> Finding:
    """Nobody else gets in without a token."""
    try:
        check_reach([(settings.bind.host, settings.bind.port)], settings.token)
    except SportivError as error:
        return Finding("token", Level.FAIL, str(error), "set SPORTIV_TOKEN")
    text = "a token is set" if settings.token else "only this machine can call"
    return Finding("token", Level.OK, text)


def configuration(root: Path) -> Finding:
    """gunicorn's configuration lies beside the package."""
    from server.cli.serve import CONFIGURATION

    if not (root / CONFIGURATION).is_file():
        advice = "serve from a checkout of the project, after `pip install -e .` there"
        return Finding("gunicorn", Level.FAIL, f"no {CONFIGURATION} in {root}", advice)
    return Finding("gunicorn", Level.OK, str(root / CONFIGURATION))
