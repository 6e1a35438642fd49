"""`sportiv serve`: become the server, with the settings as options."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from server.errors import SportivError
from server.settings import ROOT, Settings
from server.variable import Variable

CONFIGURATION = "gunicorn.conf.py"


class Serve(click.Command):
    """A command with an option for each setting that is no secret."""

    def __init__(self) -> None:
        super().__init__(
            "serve",
            callback=_serve,
            help="Start a server, which ends with Ctrl-C.\n\nEvery option is a setting, which the "
            "environment may give as well; an option goes before it. The token is only taken from "
            "the environment.",
            short_help="Start a server, which ends with Ctrl-C.",
            params=[
                _option(field, each) for field, each in Settings.variables() if not each.secret
            ],
        )


def _option(field: str, variable: Variable) -> click.Option:
    return click.Option(
        [f"--{field.replace('_', '-')}", field],
        metavar="VALUE",
        help=f"{variable.about} Allowed: {variable.allowed}.  [env: {variable.name}; "
        f"default: {variable.default}]",
    )


def configuration(root: Path = ROOT) -> Path:
    """The file by which gunicorn runs the server; a usage error where it is not there."""
    path = root / CONFIGURATION
    if not path.is_file():
        raise click.UsageError(
            f"{CONFIGURATION} does not lie in {root}, beside the package: serve from a checkout "
            "of the project, where `pip install -e .` was run"
        )
    return path


def environment(given: dict[str, str | None]) -> dict[str, str]:
    """The environment with the options in it; a usage error names the setting that is wrong."""
    names = {field: variable.name for field, variable in Settings.variables()}
    options = {names[field]: text for field, text in given.items() if text is not None}
    whole = {**os.environ, **options}
    try:
        Settings.read(whole)
    except SportivError as error:
        raise click.UsageError(str(error)) from None
    return whole


def _serve(**given: Any) -> None:
    path, whole = configuration(), environment(given)
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "gunicorn", "-c", str(path)], whole)


serve = Serve()
