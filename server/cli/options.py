"""A statistic's fields as the options of a command: types, bounds and sentences are the same."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

Field = Mapping[str, Any]
"""A field as `server.request_fields` and `GET /api/statistics` describe it."""

_RANGE = re.compile(r"(-?\d{1,4})-(-?\d{1,4})", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,9}", re.ASCII)


class FieldOption(click.Option):
    """An option that is a field of the request, and is sent only where it is given."""

    def __init__(self, field: Field) -> None:
        self.field = field
        type_ = _type(field)
        super().__init__(
            [flag(field), field["name"]],
            type=type_,
            required=field["required"],
            multiple=field["many"] and "length" not in field,
            nargs=field.get("length", 1),
            metavar=_metavar(field),
            help=_help(field),
        )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if "vocabulary" not in self.field:
            return super().shell_complete(ctx, incomplete)
        from server.cli.completion import names_that_match

        return names_that_match(ctx, self.field["vocabulary"], incomplete)


def flag(field: Field) -> str:
    """The option's name on the command line."""
    return f"--{field['name'].replace('_', '-')}"


def _type(field: Field) -> Any:
    if "choices" in field:
        return click.Choice(field["choices"])
    kind = field["type"].rpartition(" ")[2]
    low = field.get("minimum", field.get("exclusive_minimum"))
    high = field.get("maximum", field.get("exclusive_maximum"))
    bounds: dict[str, Any] = {
        "min": low,
        "max": high,
        "min_open": "exclusive_minimum" in field,
        "max_open": "exclusive_maximum" in field,
    }
    match kind:
        case "int":
            return click.IntRange(**bounds) if (low, high) != (None, None) else click.INT
        case "float":
            return click.FloatRange(**bounds) if (low, high) != (None, None) else click.FLOAT
        case "bool":
            return click.BOOL
        case "str":
            return click.STRING
    return _json


def _json(text: str) -> Any:
    """A value as JSON has it; what is no JSON is the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _metavar(field: Field) -> str | None:
    if _is_span(field):
        return "FROM TO"
    if "vocabulary" in field:
        return " ".join([field["vocabulary"].upper()] * field.get("length", 1))
    return "NUMBER" if field["type"].endswith(("int", "float")) else None


def _help(field: Field) -> str:
    said = [field["about"].replace(", in full", "") or f"The field `{field['name']}`."]
    if _is_span(field):
        said.append("Also as FROM-TO, or one alone.")
    elif field["many"] and "length" not in field:
        said.append("May be given several times.")
    if "vocabulary" in field:
        said.append("A part of the text will do, where only one has it.")
    if "default" in field:
        default = field["default"]
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else default
        said.append(f"[default: {shown}]")
    return " ".join(said)


def _is_span(field: Field) -> bool:
    """Whether it is a pair of whole numbers, from and to."""
    return field.get("length") == 2 and field["type"].endswith(" int")


def spread_spans(arguments: Sequence[str], fields: Iterable[Field]) -> list[str]:
    """The arguments with `--years 2015-2019` and `--years 2019` as `--years FROM TO`."""
    flags = {flag(field) for field in fields if _is_span(field)}
    found: list[str] = []
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in flags:
            found.append(f"{name}{equals}{value}")
            continue
        given = [value] if equals else rest[:1]
        rest = rest if equals else rest[1:]
        if given and (span := _RANGE.fullmatch(given[0])):
            given = [span[1], span[2]]
        elif rest and _NUMBER.fullmatch(rest[0]):
            given.append(rest.pop(0))
        elif given and _NUMBER.fullmatch(given[0]):
            given *= 2
        found += [name, *given]
    return found


def request_of(values: Mapping[str, Any], fields: Iterable[Field]) -> dict[str, Any]:
    """The body of the request: the fields that were given."""
    given = {field["name"]: values.get(field["name"]) for field in fields}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if value is not None and value != ()
    }
