"""The reference of the program `sportiv` in `docs/command-line.md`, made of its commands.

Only what the commands say themselves is taken, not how click lays it out, so that another
version of click does not make another page.
"""

import inspect
from collections.abc import Iterator, Sequence

import click

from server.cli.ask import Question
from server.cli.exits import MEANINGS
from server.cli.options import FieldOption
from server.cli.program import program

_AS_IT_IS = "\b"
"""How a help text tells click to leave the lines of a paragraph alone."""


def command_reference() -> str:
    """Every command with its options, and the exit codes."""
    context = click.Context(program, info_name="sportiv")
    sections = [_section(context, program)]
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        sections.append(_section(click.Context(command, context, name), command))
        if name == "ask":
            sections.append(_statistics(click.Context(command, context, name)))
    codes = [(str(int(code)), text) for code, text in MEANINGS.items()]
    sections.append("### Exit codes\n\n" + _table(("code", "when"), codes))
    return "\n".join(sections)


def _section(context: click.Context, command: click.Command) -> str:
    words = [context.command_path, *command.collect_usage_pieces(context)]
    paragraphs = [f"### `{' '.join(words)}`", *_paragraphs(command.help or "")]
    if rows := list(_options(context, command)):
        paragraphs.append(_table(("option", "what it does"), rows).rstrip("\n"))
    return "\n\n".join(paragraphs) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    """A help text in Markdown; the lines that click is to leave as they are become a block."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        if lines[0] != _AS_IT_IS:
            yield " ".join(lines)
            continue
        block = [line.strip() for line in lines if line.startswith("  ")]
        words = [line for line in lines[1:] if not line.startswith("  ")]
        yield from [" ".join(words)] if words else []
        yield "```text\n" + "\n".join(block) + "\n```"


def _statistics(context: click.Context) -> str:
    """The statistics' own options, and after them those that all have."""
    group = context.command
    assert isinstance(group, click.Group)
    rows = []
    command: click.Command | None = None
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert isinstance(command, Question)
        own = [each for each in command.params if _is_own(each)]
        rows.append((f"`ask {name}`", ", ".join(f"`{each.opts[0]}`" for each in own)))
    assert command is not None
    shared = click.Command("ask", params=[each for each in command.params if not _is_own(each)])
    common = _table(("option", "what it does"), _options(context, shared))
    own_table = _table(("command", "its own options"), rows)
    return f"{own_table}\nEach of them also has:\n\n{common}"


def _is_own(param: click.Parameter) -> bool:
    return isinstance(param, FieldOption) and not param.field["common"]


def _options(context: click.Context, command: click.Command) -> Iterator[tuple[str, str]]:
    for param in command.params:
        if isinstance(param, click.Option):
            yield f"`{' '.join([*param.opts[:1], *_value(param)])}`", _said(context, param)


def _value(option: click.Option) -> Sequence[str]:
    if option.is_flag:
        return ()
    if isinstance(option.type, click.Choice):
        return ("|".join(map(str, option.type.choices)),)
    numeric = isinstance(option.type, click.types.IntParamType | click.types.FloatParamType)
    return (option.metavar or ("NUMBER" if numeric else "TEXT"),)


def _said(context: click.Context, option: click.Option) -> str:
    said = [option.help or "Show the version and end."]
    if option.envvar:
        said.append(f"Environment: `{option.envvar}`.")
    if option.show_default and option.default is not None:
        said.append(f"Without it: `{option.default}`.")
    return " ".join(" ".join(said).split())


def _table(header: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
