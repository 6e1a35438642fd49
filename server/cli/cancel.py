"""`sportiv cancel ID...`: end jobs that wait or run."""

import click
from click.shell_completion import CompletionItem

from server.cli.exits import Exit
from server.cli.result import job_number
from server.cli.session import Session, pass_session
from server.client_errors import UnknownJob


def _running(
    context: click.Context, argument: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from server.cli.completion import jobs_that_match

    return jobs_that_match(context, "running", incomplete)


@click.command()
@click.argument(
    "job_ids",
    type=job_number,
    nargs=-1,
    required=True,
    metavar="ID...",
    shell_complete=_running,
)
@pass_session
def cancel(session: Session, /, job_ids: tuple[int, ...]) -> int:
    """Cancel jobs, whether they wait or run.

    The exit code is 2 where one had ended already, or does not exist.
    """
    code = Exit.DONE
    with session.client() as client:
        for job_id in job_ids:
            try:
                cancelled = client.job(job_id).cancel()
            except UnknownJob as error:
                click.echo(f"sportiv: {error}", err=True)
                code = Exit.WRONG
                continue
            if cancelled:
                click.echo(f"job {job_id} is cancelled")
            else:
                click.echo(f"sportiv: job {job_id} had ended already", err=True)
                code = Exit.WRONG
    return code
