"""`sportiv result ID`: the answer of a job that was asked for earlier."""

from typing import Any

import click
from click.shell_completion import CompletionItem

from server.cli import output
from server.cli.session import Session, pass_session


def job_number(text: str) -> int:
    """A job's number, bare or as the server writes it: `7` or `job_id_7`."""
    digits = str(text).removeprefix("job_id_")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18 and int(digits)):
        raise click.BadParameter(f"{text!r} is no number of a job, such as 7 or job_id_7")
    return int(digits)


def _newest(
    context: click.Context, argument: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from server.cli.completion import jobs_that_match

    return jobs_that_match(context, None, incomplete)


@click.command(params=output.options())
@click.argument("job_id", type=job_number, metavar="ID", shell_complete=_newest)
@pass_session
def result(session: Session, /, job_id: int, **values: Any) -> None:
    """Show the answer of a job asked for earlier.

    It is waited for where the job has not ended.
    """
    wanted = output.taken(values)
    with session.client() as client:
        output.wait_and_show(client.job(job_id), f"job {job_id}", wanted)
