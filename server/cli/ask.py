"""`sportiv ask <statistic>`: a command for each statistic, made of its row in the registry."""

from collections.abc import Sequence
from typing import Any

import click

from server.cli import output
from server.cli.names import Vocabulary, matches
from server.cli.options import Field, FieldOption, request_of, spread_spans
from server.cli.session import Session, submitted


class Ask(click.Group):
    """The statistics as commands: those of this program, and what else the server knows."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_registry())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from server.request_fields import described

        row = _registry().get(cmd_name)
        if row is not None:
            return Question(cmd_name, row.summary, row.formula, described(row.request))
        return None if ctx.resilient_parsing else _from_server(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        wrong = not ctx.resilient_parsing and self.get_command(ctx, name) is None
        if wrong and not name.startswith("-"):
            known = list(_registry())
            near = matches(name, known) or _nearest(name, known)
            raise click.UsageError(f"there is no statistic {name!r}; nearest: {', '.join(near)}")
        return super().resolve_command(ctx, args)


class Question(click.Command):
    """One statistic: its fields are the options."""

    def __init__(self, name: str, summary: str, formula: str, fields: Sequence[Field]) -> None:
        self.fields = fields
        ways = f"{summary}\n\n{formula}" if formula else summary
        super().__init__(
            name,
            callback=self._ask,
            help=ways,
            short_help=summary,
            params=[
                *map(FieldOption, fields),
                *output.options(),
                click.Option(
                    ["--no-wait"], is_flag=True, help="Print the job's number and do not wait."
                ),
            ],
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread_spans(args, self.fields))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The question first, then what every question may have, then what is done with it."""
        sections: dict[str, list[tuple[str, str]]] = {
            title: [] for title in ("The question", "Which rows count, and the job", "The answer")
        }
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            own = isinstance(param, FieldOption)
            common = own and param.field["common"]  # type: ignore[attr-defined]
            number = 2 if not own else 1 if common else 0
            list(sections.values())[number].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def _ask(self, no_wait: bool, **values: Any) -> None:
        session = click.get_current_context().find_object(Session)
        assert session is not None
        wanted = output.taken(values)
        with session.client() as client:
            request = Vocabulary(client).filled_in(request_of(values, self.fields), self.fields)
            job = submitted(client, str(self.name), request)
            if no_wait:
                click.echo(job.id)
            else:
                output.wait_and_show(job, f"job {job.id}: {self.name}", wanted)


@click.group(cls=Ask)
def ask() -> None:
    """Ask a question, wait for its answer, and show it.

    Each statistic is a command; `sportiv ask best5 --help` tells its options.
    """


def _registry() -> dict[str, Any]:
    from server.stats import STATISTICS

    return STATISTICS


def _from_server(context: click.Context, name: str) -> click.Command | None:
    """The command of a statistic that this program does not know, but the server does."""
    session = context.find_object(Session)
    assert session is not None
    with session.client() as client:
        for each in client.statistics():
            if each["name"] == name:
                return Question(name, each["summary"], each["formula"], each["fields"])
    return None


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name, known, cutoff=0.0)
