"""The fields of a statistic's requests, told to whoever makes a form, a command or a page of them.

All of it is read from the request's own type: its annotations carry the sentences and bounds.
"""

import builtins
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta
from msgspec.structs import FieldInfo

from server.stats.statistic import Filters, JobRequest, Json

VOCABULARY = {
    "question": ("question", "question"),
    "other_question": ("question", "question"),
    "state": ("state", "location"),
    "states": ("state", "location"),
    "category": ("category", "category"),
    "stratum": ("stratum", "stratum"),
    "strata": ("stratum", "stratum"),
}
"""The fields that hold a name or names: what one is called, and the vocabulary it must be in."""

_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusive_minimum",
    "le": "maximum",
    "lt": "exclusive_maximum",
    "min_length": "least",
    "max_length": "most",
}
"""What msgspec calls a bound, and what we do; the last two are about how many a list has."""


def described(request: type[JobRequest]) -> list[dict[str, Json]]:
    """Each field of a request's type, in its order.

    `common` are those that every request may have, `optional` those that may be null, `many`
    those that are a list, of `length` names or numbers where that is fixed, else of `least` to
    `most`. Bounds of a list's numbers hold for each. `vocabulary` says of what a name must be
    one: a question, state, category or stratum of the table. What does not apply is not there.
    """
    return [_described(field) for field in msgspec.structs.fields(request)]


def _described(field: FieldInfo) -> dict[str, Json]:
    metas = list(_metas(field.type))
    kinds = list(_kinds(field.type))
    found: dict[str, Json] = {
        "name": field.name,
        "type": type_name(field.type),
        "required": field.required,
        "about": " ".join(meta.description for meta in metas if meta.description),
        "optional": type(None) in kinds,
        "many": any(get_origin(kind) is tuple for kind in kinds),
        "common": field.name in Filters.__struct_fields__,
    }
    if field.default is not NODEFAULT and field.default is not None:
        is_list = isinstance(field.default, tuple)
        found["default"] = list(field.default) if is_list else field.default
    for kind in kinds:
        if get_origin(kind) is Literal:
            found["choices"] = list(get_args(kind))
        if get_origin(kind) is tuple and ... not in get_args(kind):
            found["length"] = len(get_args(kind))
    for meta in metas:
        for theirs, ours in _BOUNDS.items():
            if (bound := getattr(meta, theirs)) is not None:
                found[ours] = bound
    if field.name in VOCABULARY:
        found["vocabulary"] = VOCABULARY[field.name][0]
    return found


def _metas(kind: Any) -> Iterator[Meta]:
    """Every annotation within a type, outermost first."""
    for each in getattr(kind, "__metadata__", ()):
        if isinstance(each, Meta):
            yield each
    for each in _inner(kind):
        yield from _metas(each)


def _kinds(kind: Any) -> Iterator[Any]:
    """The type and every one within it, outermost first."""
    yield kind
    for each in _inner(kind):
        yield from _kinds(each)


def _inner(kind: Any) -> tuple[Any, ...]:
    return (kind.__origin__,) if hasattr(kind, "__metadata__") else get_args(kind)


def type_name(kind: Any) -> str:
    """How a field's type is called in messages: `float` also where it is bounded or optional."""
    arguments = [each for each in get_args(kind) if each is not type(None)]
    match get_origin(kind):
        case typing.Annotated:
            return type_name(kind.__origin__)
        case typing.Literal:
            return " | ".join(map(str, arguments))
        case types.UnionType | typing.Union:
            return " | ".join(map(type_name, arguments))
        case builtins.tuple:
            many = "list of" if arguments[-1] is ... else f"list of {len(arguments)}"
            return f"{many} {type_name(arguments[0])}"
    return getattr(kind, "__name__", str(kind))


def field_list(request: type[JobRequest]) -> str:
    """The fields of a request, as a message names them."""
    fields = msgspec.structs.fields(request)
    return ", ".join(f"{field.name} ({type_name(field.type)})" for field in fields)
