"""`sportiv doctor`: whether a server could run here, and what to do where not."""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from server.cli import checks, show
from server.cli.checks import Finding, Level
from server.cli.exits import Exit
from server.errors import SettingError
from server.settings import ROOT, Settings

_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@click.command()
@click.option("--load", is_flag=True, help="Read the whole table too, as the server would.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(load: bool, as_json: bool) -> int:
    """Check whether a server could run here.

    It would run with the settings of the environment. Each line says ok, warn or fail,
    and what to do. The exit code is 1 where a check fails.
    """
    found = []
    for finding in _findings(load=load):
        found.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        show.as_json([asdict(finding) for finding in found])
    return Exit.FAILED if any(each.level is Level.FAIL for each in found) else Exit.DONE


def _findings(*, load: bool) -> Iterator[Finding]:
    yield checks.python()
    yield checks.packages()
    yield checks.system()
    yield checks.configuration(ROOT)
    try:
        settings = Settings.read(os.environ)
    except SettingError as error:
        yield Finding("settings", Level.FAIL, str(error), f"correct or unset {error.variable}")
        return
    yield checks.variables(os.environ)
    yield checks.description(settings)
    yield checks.table(settings, whole=load)
    yield checks.folder("results", settings.results_dir, "SPORTIV_RESULTS_DIR")
    yield checks.folder("logs", settings.log_dir, "SPORTIV_LOG_DIR")
    yield checks.holder(settings)
    yield checks.cores(settings)
    yield checks.memory(settings)
    yield checks.reach(settings)
    yield checks.port(settings)


def _print(finding: Finding) -> None:
    level = finding.level.value.ljust(4)
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        level = click.style(level, fg=_COLOURS[finding.level])
    click.echo(f"{level}  {finding.check:<13}{finding.text}")
    if finding.advice and finding.level is not Level.OK:
        click.echo(f"{'':19}{finding.advice}")
