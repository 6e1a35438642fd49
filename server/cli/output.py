"""What `ask` and `result` do with an answer: a table, JSON, CSV, a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.cli import show

if TYPE_CHECKING:
    from server.client import Answer, Job

KINDS = (".svg", ".png", ".pdf")
WIDTH = 640
"""How wide a picture is that would fill its page, in pixels."""

_SCALE = 2.0  # of a PNG, so that it is sharp on any screen


@dataclass(frozen=True, slots=True)
class Output:
    """The options about the answer."""

    as_json: bool
    as_csv: bool
    plots: tuple[Path, ...]
    timeout: float | None


def _picture(context: click.Context, option: click.Parameter, paths: Any) -> tuple[Path, ...]:
    """Refuse what cannot be written before anything is asked."""
    found = tuple(map(Path, paths))
    for path in found:
        if path.suffix.lower() not in KINDS:
            raise click.BadParameter(f"{path} does not end in one of {', '.join(KINDS)}")
        if not path.absolute().parent.is_dir():
            raise click.BadParameter(f"there is no folder {path.absolute().parent}")
    return found


def options() -> list[click.Option]:
    """The options about an answer, new ones for each command."""
    return [
        click.Option(["--json", "as_json"], is_flag=True, help="Print the answer's data as JSON."),
        click.Option(["--csv", "as_csv"], is_flag=True, help="Print the table as CSV."),
        click.Option(
            ["--plot", "plots"],
            multiple=True,
            type=click.Path(dir_okay=False),
            metavar="FILE",
            callback=_picture,
            help="Draw the answer into an .svg, .png or .pdf file. May be given several times.",
        ),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            help="How long to wait at most; then the job goes on, and the exit code is 4.",
        ),
    ]


def taken(values: dict[str, Any]) -> Output:
    """The options' values, taken out of a command's."""
    names = ("as_json", "as_csv", "plots", "timeout")
    output = Output(**{name: values.pop(name) for name in names})
    if output.as_json and output.as_csv:
        raise click.UsageError("--json and --csv cannot both go to standard output")
    return output


def wait_and_show(job: "Job", label: str, output: Output) -> None:
    """Wait for the job and show its answer; Ctrl-C cancels it."""
    from server.cli.session import cancelling, progress

    with cancelling([job]), progress(label) as on_progress:
        answer = job.wait(output.timeout, on_progress)
    _show(answer, output)


def _show(answer: "Answer", output: Output) -> None:
    if output.as_json:
        show.as_json(answer.data)
    elif output.as_csv:
        click.echo(answer.csv(), nl=False)
    else:
        show.as_table(answer.columns, answer.rows)
    if output.plots:
        _draw(answer, output.plots)


def _draw(answer: "Answer", paths: tuple[Path, ...]) -> None:
    chart = answer.chart()
    if chart is None:
        raise click.ClickException("no picture fits this answer, so that none was drawn")
    for path in paths:
        content = drawn(chart, path.suffix.lower())
        try:
            path.write_bytes(content)
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}") from None
        click.echo(f"written: {path}", err=True)


def drawn(chart: dict[str, Any], kind: str) -> bytes:
    """The picture of a Vega-Lite specification as a file of this kind, on white."""
    import vl_convert

    whole = {**chart, "background": "white"}
    if whole.get("width") == "container":
        whole["width"] = WIDTH
    makers: dict[str, Callable[[], str | bytes]] = {
        ".svg": lambda: vl_convert.vegalite_to_svg(whole),
        ".png": lambda: vl_convert.vegalite_to_png(whole, scale=_SCALE),
        ".pdf": lambda: vl_convert.vegalite_to_pdf(whole),
    }
    content = makers[kind]()
    return content.encode() if isinstance(content, str) else content
