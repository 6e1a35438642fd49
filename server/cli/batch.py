"""`sportiv batch FILE`: many questions from a file, one JSON object a line; answers alike."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

from server.cli import show
from server.cli.exits import Exit, exit_of
from server.cli.names import Vocabulary
from server.cli.session import Session, cancelling, pass_session, progress
from server.client_errors import ClientError, Refused

if TYPE_CHECKING:
    from server.client import Answer, Client

_PLACE = re.compile(r"jobs\[(\d+)\]: (.*)", re.DOTALL)


@click.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait for all of them at most.",
)
@pass_session
def batch(session: Session, /, file: IO[str], timeout: float | None) -> int:
    """Ask every question of a file.

    \b
    Each line of FILE (`-` is standard input) is an object such as
      {"statistic": "best5", "question": "have obesity"}

    Blank lines are passed over. A line that is wrong is named, and then nothing is asked. One
    line of JSON is printed for each, in their order. The exit code tells of the first job that
    has not ended well.
    """
    lines = _objects(file)
    if not lines:
        return Exit.DONE
    with session.client() as client:
        requests = _requests(client, lines)
        try:
            together = client.batch(requests)
        except Refused as refused:
            raise _placed(refused, [number for number, _ in lines]) from None
        label = f"{len(together)} jobs"
        with cancelling(together.jobs), progress(label) as on_progress:
            outcomes = together.outcomes(timeout, on_progress)
    for (number, line), job, outcome in zip(lines, together.jobs, outcomes, strict=True):
        about = {"line": number, "job_id": job.id, "statistic": line["statistic"]}
        show.as_json(about | _told(outcome))
    return next((exit_of(each) for each in outcomes if isinstance(each, ClientError)), Exit.DONE)


def _told(outcome: "Answer | ClientError") -> dict[str, Any]:
    if isinstance(outcome, ClientError):
        return {"status": "error", "reason": getattr(outcome, "reason", str(outcome))}
    return {"status": "done", "data": outcome.data}


def _objects(file: IO[str]) -> list[tuple[int, dict[str, Any]]]:
    """Each line's number and object; a usage error names the first that has none."""
    found = []
    for number, line in _numbered(file):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise _wrong(number, f"is not JSON: {error}") from None
        if not isinstance(value, dict) or not isinstance(value.get("statistic"), str):
            raise _wrong(number, 'is no object with a "statistic"')
        found.append((number, value))
    return found


def _numbered(file: IO[str]) -> list[tuple[int, str]]:
    try:
        return [(number, line) for number, line in enumerate(file, 1) if line.strip()]
    except UnicodeDecodeError as error:
        raise click.UsageError(f"the file is not UTF-8: {error}") from None


def _requests(
    client: "Client", lines: Sequence[tuple[int, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """The lines as requests whose names are in full, and whose fields there are."""
    known = {each["name"]: each["fields"] for each in client.statistics()}
    vocabulary = Vocabulary(client)
    requests = []
    for number, line in lines:
        fields = known.get(line["statistic"])
        if fields is None:
            raise _wrong(number, f"there is no statistic {line['statistic']!r}")
        _check_fields(number, line, fields)
        try:
            requests.append(vocabulary.filled_in(line, fields))
        except click.UsageError as error:
            raise _wrong(number, error.message) from None
    return requests


def _check_fields(
    number: int, line: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]
) -> None:
    names = {field["name"] for field in fields}
    needed = {field["name"] for field in fields if field["required"]}
    there_is = f"there is: {', '.join(sorted(names))}"
    for name in sorted(set(line) - names - {"statistic"}):
        raise _wrong(number, f"{line['statistic']} has no field {name!r}; {there_is}")
    for name in sorted(needed - set(line)):
        raise _wrong(number, f"{line['statistic']} needs the field {name!r}")


def _placed(refused: Refused, numbers: Sequence[int]) -> click.ClickException | Refused:
    """The server's refusal with the number of the line that it is about."""
    if (place := _PLACE.fullmatch(refused.reason)) and int(place[1]) < len(numbers):
        return _wrong(numbers[int(place[1])], place[2])
    return refused


def _wrong(number: int, reason: str) -> click.UsageError:
    return click.UsageError(f"line {number}: {reason}; nothing was asked")
