"""What every picture has in common: its frame, colours, numbers and names.

A picture is a description in Vega-Lite 6 with its data in it, as the set `answer`. The text takes
the colours of whoever draws it, the marks have such that show on white and on black, and none of
them is told from another by red and green.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.stats.answer_table import Json, Record

Spec = dict[str, Any]
"""A part of a description."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

DATA = "answer"
"""The name of the set of data in every picture."""

BLUE, ORANGE, GREY = "#3a83c0", "#d97328", "#8a9099"
RAMP = (ORANGE, "#9c7fa8", BLUE)
"""From little to much."""

BAR: Spec = {"type": "bar", "cornerRadiusEnd": 2, "height": {"band": 0.72}}
DOT: Spec = {"type": "point", "filled": True, "opacity": 1, "size": 55}

STEP = 19
"""The height of a row, in pixels."""

MOST_ROWS = 400
"""How many rows a picture has at most; one with more says so, and shows the first of them."""

MOST_MARKS = 20_000

_LINE = 52
"""How many letters of a title fit a phone."""

_LABELS = ("state", "category", "stratum", "year", "name")


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn of an answer: the rows of its data, what they say in words, and how.

    `note` is a sentence more for the title. `spec` has the marks, and the width where it is
    not that of the place where the picture stands.
    """

    values: Sequence[Record]
    says: str
    spec: Spec
    note: str = ""


def framed(chart: Chart, summary: str, request: Mapping[str, Json]) -> Spec:
    """The whole description: title, words for those who do not see it, data, marks."""
    question = " and ".join(
        request[name] for name in ("question", "other_question") if request.get(name)
    )
    told = _sentences(summary, _filters(request), chart.note)
    heading, below = (question, told) if question else (told, "")
    size = {} if "width" in chart.spec or "facet" in chart.spec else {"width": "container"}
    return {
        "$schema": SCHEMA,
        "description": " ".join(
            filter(None, [f"{question}." if question else "", told, chart.says])
        ),
        "title": {
            "text": _lines(heading),
            **({"subtitle": _lines(below)} if below else {}),
            "anchor": "start",
            "frame": "bounds",
            "offset": 10,
            "subtitlePadding": 4,
        },
        "background": None,
        "autosize": {"type": "fit-x" if size else "pad", "contains": "padding"},
        "data": {"name": DATA, "values": list(chart.values)},
        **size,
        **chart.spec,
        "config": {
            "view": {"stroke": None},
            "mark": {"invalid": "break-paths-show-domains"},
            "axis": {"labelLimit": 190, "titleFontWeight": "normal", "gridOpacity": 0.3},
            "title": {"fontWeight": 600, "subtitleFontSize": 12},
        },
    }


def _filters(request: Mapping[str, Json]) -> str:
    """What the request leaves out, as a sentence."""
    said = []
    if years := request.get("years"):
        said.append(f"{years[0]} to {years[1]}" if years[0] != years[1] else f"{years[0]}")
    said += [request[name] for name in ("category", "stratum") if request.get(name)]
    states = request.get("states") or ()
    if len(states) > 3:
        said.append(f"{len(states)} states")
    return f"Only {', '.join(said)}." if said else ""


def _sentences(*parts: str) -> str:
    return " ".join(filter(None, parts))


def _lines(text: str) -> list[str]:
    """The text in as few lines as fit, of about the same length."""
    few = len(textwrap.wrap(text, _LINE)) or 1
    width = next(
        width for width in range(-(-len(text) // few), _LINE + 1) if len(_wrap(text, width)) <= few
    )
    return _wrap(text, width)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1)) or [""]


# -- names ----------------------------------------------------------------------------


def label_of(record: Record, names: Iterable[str] = _LABELS) -> str:
    """What a record is about: `Ohio`, `Age (years): 18 - 24`, `2015`, `all rows`."""
    parts = [str(record[name]) for name in names if record.get(name) is not None]
    return ": ".join(parts) if parts else "all rows"


def labelled(records: Iterable[Record], names: Iterable[str] = _LABELS) -> list[Record]:
    """The records with what they are about."""
    names = tuple(names)
    return [{"label": label_of(each, names), **each} for each in records]


def title_of(field: str) -> str:
    """A field's name as people write it."""
    return field.replace("_", " ")


def first_of(values: Sequence[Record], most: int = MOST_ROWS) -> tuple[Sequence[Record], str]:
    """As many as are drawn, and a note where these are not all."""
    if len(values) <= most:
        return values, ""
    return values[:most], f"The first {most:,} of {len(values):,}."


def first_labelled(
    records: Sequence[Record], most: int = MOST_ROWS, names: Iterable[str] = _LABELS
) -> tuple[list[Record], str]:
    """The same, with what they are about."""
    drawn, note = first_of(records, most)
    return labelled(drawn, names), note


# -- numbers --------------------------------------------------------------------------


def told(value: Any) -> str:
    """A number in words for people: four digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def number_format(values: Iterable[Json]) -> str:
    """How d3 writes such numbers: the largest with four digits, no ending zeros."""
    largest = max((abs(each) for each in values if is_number(each)), default=0.0)
    if not 1e-4 <= largest < 1e15:
        return ".4~g"
    return f",.{max(0, 3 - math.floor(math.log10(largest)))}~f"


def is_number(value: Json) -> bool:
    """Whether it is a number, and not None, a truth value or a text."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def numbers(values: Iterable[Record], field: str) -> list[float]:
    """Those of a field that are numbers."""
    return [each[field] for each in values if is_number(each.get(field))]


def extremes(values: Iterable[Record], field: str) -> str:
    """Which has the least, and which the most, in words; nothing of nothing."""
    known = [each for each in values if is_number(each.get(field))]
    if not known:
        return "No figure is defined."
    least = min(known, key=lambda each: float(each[field]))
    most = max(known, key=lambda each: float(each[field]))
    if len(known) == 1:
        return f"{least['label']}: {told(least[field])}."
    return (
        f"{len(known)} figures, from {told(least[field])} ({least['label']}) "
        f"to {told(most[field])} ({most['label']})."
    )


# -- encodings ------------------------------------------------------------------------


def rows(step: int = STEP) -> Spec:
    """The height of a picture with a row for each label."""
    return {"height": {"step": step}}


def by_label(**more: Any) -> Spec:
    """The labels from top to bottom, in the order of the data."""
    axis = {"title": None}
    spec = {"field": "label", "type": "nominal", "sort": None, "title": "group"}
    return {**spec, "axis": axis, **more}


def figure(
    values: Sequence[Record],
    field: str,
    title: str | None = None,
    *,
    zero: bool = False,
    beside: Iterable[str] = (),
) -> Spec:
    """A number along an axis, which is written like those `beside` it on the same one."""
    known = [each for name in (field, *beside) for each in numbers(values, name)]
    return {
        "field": field,
        "type": "quantitative",
        "title": title or title_of(field),
        "scale": {"zero": zero, "nice": True},
        "axis": {"format": number_format(known)},
    }


def end(field: str) -> Spec:
    """The other end of a bar or a line."""
    return {"field": field}


def tooltip(values: Sequence[Record], fields: Iterable[str]) -> list[Spec]:
    """What is told of a mark: the label, and these fields, in few digits."""
    told_of: list[Spec] = [{"field": "label", "type": "nominal", "title": "group"}]
    for field in fields:
        known = numbers(values, field)
        spec = {"field": field, "title": title_of(field)}
        if not known:
            told_of.append({**spec, "type": "nominal"})
            continue
        is_share = "p_" in field or field.startswith("share")
        pattern = ".3~g" if is_share else "d" if field == "year" else number_format(known)
        told_of.append({**spec, "type": "quantitative", "format": pattern})
    return told_of
