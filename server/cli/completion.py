"""`sportiv completion bash|zsh`: scripts that complete commands, options and the table's names."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ZshComplete,
    add_completion_class,
)

from server.cli.names import Vocabulary, matches
from server.cli.session import DEFAULT_URL
from server.client_errors import ClientError

if TYPE_CHECKING:
    from server.client import Client

VARIABLE = "_SPORTIV_COMPLETE"

_SECONDS = 1.0  # for an answer: nobody waits longer for a completion

_BASH = """\
%(complete_func)s() {
    local -a found
    local entry type value quote=${COMP_WORDS[COMP_CWORD]:0:1}
    mapfile -t found < <(
        IFS=$'\\n'
        env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \\
            %(complete_var)s=bash_complete "$1" 2>/dev/null
    )
    COMPREPLY=()
    for entry in "${found[@]}"; do
        type=${entry%%%%,*} value=${entry#*,}
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                [[ $quote == [\\"\\'] ]] || printf -v value %%q "$value"
                COMPREPLY+=("$value")
                ;;
        esac
    done
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class Bash(BashComplete):
    """As click has it, but what is completed is quoted: questions have spaces and brackets."""

    source_template = _BASH


_SHELLS = {"bash": Bash, "zsh": ZshComplete}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion script.

    \b
      eval "$(sportiv completion bash)"     in ~/.bashrc
      eval "$(sportiv completion zsh)"      in ~/.zshrc, after compinit

    Questions, states and jobs are completed from the server, where it answers within a second.
    """
    root = context.find_root().command
    click.echo(_SHELLS[shell](root, {}, "sportiv", VARIABLE).source())


def names_that_match(ctx: click.Context, kind: str, incomplete: str) -> list[CompletionItem]:
    """The table's names that begin with the text, or, where none does, that contain it.

    bash would put what several have in common in place of what was typed: there, only one alone
    may begin otherwise.
    """
    known = _asked(ctx, lambda client: Vocabulary(client).known(kind))
    begin = [name for name in known if name.casefold().startswith(incomplete.casefold())]
    contain = [] if begin else matches(incomplete, known)
    if len(contain) > 1 and os.environ.get(VARIABLE, "").startswith("bash"):
        contain = []
    return items(begin or contain)


def jobs_that_match(
    ctx: click.Context, status: str | None, incomplete: str
) -> list[CompletionItem]:
    """The numbers of the newest jobs that begin so; with `status`, of those only."""
    numbers = _asked(
        ctx,
        lambda client: [str(each["job_id"]) for each in client.history(limit=20, status=status)],
    )
    return items([number for number in numbers if number.startswith(incomplete)])


def items(names: Sequence[str]) -> list[CompletionItem]:
    """The names as click completes with them."""
    return [CompletionItem(name) for name in names]


def _asked(ctx: click.Context, ask: Callable[["Client"], list[str]]) -> list[str]:
    """What the server says, or nothing where it is away: a prompt is no place for errors."""
    from server.client import Client

    given = ctx.find_root().params
    url, token = given.get("url") or DEFAULT_URL, given.get("token")
    try:
        with Client(url, token, patience=0, answer_seconds=_SECONDS) as client:
            return ask(client)
    except (ClientError, ValueError):
        return []
