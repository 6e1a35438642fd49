"""The program's commands, the options that all of them have, and its exit codes."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from server.cli.exits import MEANINGS, Exit, exit_of
from server.cli.session import DEFAULT_URL, Session
from server.client_errors import ClientError, Refused, Unreachable

COMMANDS = {
    "ask": "ask",
    "result": "result",
    "batch": "batch",
    "cancel": "cancel",
    "jobs": "lists",
    "questions": "lists",
    "states": "lists",
    "statistics": "lists",
    "watch": "watch",
    "serve": "serve",
    "shutdown": "shutdown",
    "doctor": "doctor",
    "completion": "completion",
}
"""Each command and the module that has it under this name."""

COMPLETING = "_SPORTIV_COMPLETE"
"""The variable by which a shell asks for completions instead of a command."""


class Program(click.Group):
    """Commands whose modules are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"server.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), text) for code, text in MEANINGS.items()])


def _version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from server import __version__

        click.echo(f"sportiv {__version__}")
        context.exit()


@click.group(cls=Program, name="sportiv", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--url",
    envvar="SPORTIV_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="Where the server listens.",
)
@click.option(
    "--token",
    envvar="SPORTIV_TOKEN",
    show_envvar=True,
    help="The server's secret, where it has one; the variable keeps it out of lists of processes.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to try again while the server does not answer. Without it: not at all at first, "
    "but 60 seconds once it has answered, so that a restart only takes time.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version)
@click.pass_context
def program(context: click.Context, url: str, token: str | None, patience: float | None) -> None:
    """Ask a Sportiv Stats server, look after it, or start one.

    \b
      sportiv serve
      sportiv questions obesity
      sportiv ask best5 --question "have obesity"
      sportiv ask trend --question "have obesity" --by state --plot trend.svg
    """
    context.obj = Session(url, token, patience)


def run(arguments: Sequence[str]) -> int:
    """Run the program; its exit code. Errors are one sentence on standard error."""
    if COMPLETING in os.environ:
        import_module("server.cli.completion")  # for its own kind of bash's
    try:
        code = program.main(list(arguments), prog_name="sportiv", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else Exit.DONE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return Exit.INTERRUPTED
    except ClientError as error:
        click.echo(f"sportiv: {error}{_advice(error)}", err=True)
        return exit_of(error)
    except (
        BrokenPipeError
    ):  # whoever reads has enough, as `head` has; say nothing at the end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE


def _advice(error: ClientError) -> str:
    match error:
        case Unreachable():
            return "\n`sportiv serve` starts one; --url or SPORTIV_URL names another."
        case Refused(status=401):
            return "\nGive it with --token, or better in SPORTIV_TOKEN."
    return ""
