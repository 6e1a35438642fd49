"""What there is: questions, states, statistics, jobs."""

import time
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from server.cli import show
from server.cli.names import matches
from server.cli.session import Session, pass_session

STATUSES = ("running", "done", "error", "queued", "failed", "cancelled")

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.command()
@click.argument("text", required=False)
@_as_json
@pass_session
def questions(session: Session, /, text: str | None, as_json: bool) -> None:
    """List the questions, or those with TEXT in them.

    Each with its rows, its years, and whether low or high is better.
    """
    with session.client() as client:
        found = client.questions()
    if text is not None:
        wanted = set(matches(text, [each["question"] for each in found]))
        found = [each for each in found if each["question"] in wanted]
    if as_json:
        show.as_json(found)
        return
    rows = [
        [each["question"], each["rows"], _span(each["years"]), each["direction"]] for each in found
    ]
    show.as_table(["question", "rows", "years", "better"], rows)


def _span(years: list[int]) -> str:
    return f"{years[0]}-{years[-1]}" if years else ""


@click.command()
@click.argument("text", required=False)
@_as_json
@pass_session
def states(session: Session, /, text: str | None, as_json: bool) -> None:
    """List the states, or those with TEXT in them."""
    with session.client() as client:
        found = client.states()
    if text is not None:
        found = matches(text, found)
    if as_json:
        show.as_json(found)
    else:
        for state in found:
            click.echo(state)


@click.command()
@_as_json
@pass_session
def statistics(session: Session, /, as_json: bool) -> None:
    """List the statistics that the server knows.

    `sportiv ask` has a command for each.
    """
    with session.client() as client:
        found = client.statistics()
    if as_json:
        show.as_json(found)
    else:
        rows = [[each["name"], each["summary"]] for each in found]
        show.as_table(["statistic", "what it is"], rows)


def _statistics(
    context: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from server.stats import STATISTICS

    return [CompletionItem(name) for name in STATISTICS if name.startswith(incomplete)]


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="Only jobs of which this is so.")
@click.option(
    "--statistic", metavar="NAME", shell_complete=_statistics, help="Only jobs of this one."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="NUMBER",
    help="How many at most.",
)
@_as_json
@pass_session
def jobs(
    session: Session, /, status: str | None, statistic: str | None, limit: int, as_json: bool
) -> None:
    """List the newest jobs.

    What was asked, when, and what became of it.
    """
    with session.client() as client:
        found = client.history(limit=limit, status=status, statistic=statistic)
    if as_json:
        show.as_json(found)
        return
    columns = ["id", "statistic", "state", "accepted", "seconds", "question"]
    show.as_table(columns, [_job_row(record) for record in found])


def _job_row(record: Mapping[str, Any]) -> list[Any]:
    begun, ended = record["started_at"], record["ended_at"]
    return [
        record["job_id"],
        record["statistic"],
        record["state"],
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["accepted_at"])),
        None if begun is None or ended is None else round(ended - begun, 3),
        record["request"].get("question"),
    ]
