"""The page `docs/statistics.md`: every statistic with its fields, formula, source and an example.

All of it comes from the rows in `server.stats`; the example's answer is computed on the
shipped sample, with six digits of each number, so that another processor's last bits do not
make another page.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from server.catalogue import Catalogue
from server.dataset import load_description
from server.loader import load_region
from server.request_fields import described
from server.shared_data import attach_table
from server.stats.statistic import Filters, Json, Statistic

DIGITS = 6

_HEAD = """\
# Statistics

<!-- Written by `make docs` from the rows in server/stats; change them there. -->

Each statistic is asked for with `POST /api/<name>` and a JSON object. The answer comes as
`{"status": "done", "data": ...}` from `GET /api/get_results/<job_id>`; below, *answer* is that
`data`. The examples are about the shipped sample, whose figures are invented; numbers are shown
with six digits.

## Fields that every request may have

"""


def statistics_page(statistics: Mapping[str, Statistic], data: Path, dataset: Path) -> str:
    """The page; `data` and `dataset` are those of the sample."""
    with load_region(data, dataset) as region:
        table = attach_table(region.fd)
    catalogue = Catalogue(table, load_description(dataset), statistics)
    sections = [_section(catalogue, each) for each in statistics.values()]
    return _HEAD + _fields(described(Filters)) + "".join(sections)


def _section(catalogue: Catalogue, statistic: Statistic) -> str:
    own = [each for each in described(statistic.request) if not each["common"]]
    shape, *notes = (statistic.partial.__doc__ or "").split("\n\n")
    paragraphs = [
        f"\n## `{statistic.name}`",
        statistic.summary,
        _fields(own).rstrip("\n"),
        f"**Answer:** {_on_one_line(shape)}",
        *map(_on_one_line, notes),
        f"**Formula:** {statistic.formula}",
        f"**Source:** {statistic.source}",
        "**Example:**",
        _block(dict(statistic.example)),
        _block(rounded(example_answer(catalogue, statistic))),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def example_answer(catalogue: Catalogue, statistic: Statistic) -> Json:
    """What a client reads for the statistic's example."""
    request = catalogue.request(statistic, json.dumps(statistic.example))
    table = catalogue.table
    partials = [
        _sent(statistic.partial(table, request, part)) for part in statistic.plan(table, request)
    ]
    return _sent(statistic.combine(table, request, partials))


def _sent(value: Json) -> Json:
    return msgspec.json.decode(msgspec.json.encode(value))


def rounded(value: Json) -> Json:
    """The same with each number that has a fraction cut to a few digits."""
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {name: rounded(each) for name, each in value.items()}
        case list():
            return [rounded(each) for each in value]
    return value


def _block(value: Json) -> str:
    return f"```json\n{_pretty(value)}\n```"


def _pretty(value: Json) -> str:
    """JSON with each record of a list on a line of its own."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= 100:
        return text
    return "\n".join(_lines(value))


def _lines(value: Json, indent: str = "") -> Iterator[str]:
    is_list = isinstance(value, list)
    items = (
        [("", each) for each in value]
        if is_list
        else [(json.dumps(name, ensure_ascii=False) + ": ", each) for name, each in value.items()]
    )
    yield indent + ("[" if is_list else "{")
    for number, (name, each) in enumerate(items, 1):
        comma = "," if number < len(items) else ""
        whole = json.dumps(each, ensure_ascii=False)
        if isinstance(each, dict | list) and len(whole) > 100:
            first, *rest = _lines(each, indent + "  ")
            yield f"{indent}  {name}{first.strip()}"
            yield from rest[:-1]
            yield rest[-1] + comma
        else:
            yield f"{indent}  {name}{whole}{comma}"
    yield indent + ("]" if is_list else "}")


# -- fields ---------------------------------------------------------------------------


def _fields(fields: Iterable[Mapping[str, Json]]) -> str:
    rows = [
        f"| `{each['name']}` | {each['type']} | {_default(each)} | {_about(each)} |\n"
        for each in fields
    ]
    return "| field | type | without it | what it says |\n| --- | --- | --- | --- |\n" + "".join(
        rows
    )


def _default(field: Mapping[str, Json]) -> str:
    if field["required"]:
        return "required"
    return f"`{json.dumps(field['default'])}`" if "default" in field else ""


def _about(field: Mapping[str, Json]) -> str:
    bounds = [text.format(f"{field[name]:,}") for name, text in _BOUNDS.items() if name in field]
    about = f"{field['about']} ({', '.join(bounds)})" if bounds else field["about"]
    return about.replace("|", "\\|")


_BOUNDS = {
    "least": "at least {} of them",
    "most": "at most {} of them",
    "minimum": "at least {}",
    "exclusive_minimum": "more than {}",
    "maximum": "at most {}",
    "exclusive_maximum": "less than {}",
}


def _on_one_line(paragraph: str) -> str:
    return " ".join(paragraph.split())
