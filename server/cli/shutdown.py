"""`sportiv shutdown`: have the server take no new jobs."""

import time

import click

from server.cli.session import Session, pass_session, progress

_PAUSE = 0.25  # seconds between two looks at how far the drain is


@click.command()
@click.option("--wait", is_flag=True, help="Return when every accepted job has ended.")
@pass_session
def shutdown(session: Session, /, wait: bool) -> None:
    """Have the server take no new jobs from now on.

    It finishes those it has, and goes on answering. Its process stays until
    it gets a signal: Ctrl-C or SIGTERM.
    """
    with session.client() as client:
        drained = client.shutdown()
        first = 0
        with progress("accepted jobs") as on_progress:
            while wait and not drained:
                time.sleep(_PAUSE)
                left = client.pool()["unfinished_jobs"]
                first = max(first, left)
                if on_progress:
                    on_progress(1 - left / max(1, first))
                drained = client.shutdown()
    if drained:
        click.echo("no new jobs are taken, and all accepted ones have ended")
    else:
        click.echo("no new jobs are taken; accepted ones still run")
