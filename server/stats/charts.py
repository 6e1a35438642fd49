"""The picture of an answer: the one its statistic has, or one that its shape suggests."""

from collections.abc import Mapping, Sequence
from types import UnionType

from server.stats.answer_table import Json, Record, table_of
from server.stats.chart import (
    BLUE,
    Chart,
    Spec,
    framed,
    is_number,
    labelled,
    number_format,
    title_of,
    told,
    tooltip,
)
from server.stats.charts_ranked import bars, intervals, with_errors
from server.stats.statistic import Statistic

_ASIDE = ("n", "seed", "confidence")
_FIGURES = ("estimate", "mean", "value", "median")


def chart_of(statistic: Statistic | None, request: Mapping[str, Json], data: Json) -> Spec | None:
    """The description of an answer's picture; None where none fits.

    A statistic that is not known any more has one by the answer's shape.
    """
    if statistic is None:
        records = table_of(data).records()
        return _framed(by_shape(records, data), "", request)
    records = table_of(data, statistic.columns, statistic.apart).records()
    draw = statistic.chart or by_shape
    return _framed(draw(records, data), statistic.summary, request)


def _framed(chart: Chart | None, summary: str, request: Mapping[str, Json]) -> Spec | None:
    return framed(chart, summary, request) if chart is not None else None


def by_shape(records: Sequence[Record], data: Json) -> Chart | None:
    """A number for a single one; points with intervals where there are limits; else bars."""
    names = [name for name in (records[0] if records else {}) if name.isidentifier()]
    labels = _labels(records, names)
    numeric = [name for name in names if name != "year" and _are(records, name, int | float)]
    figure = _main_figure(numeric)
    if figure is None:
        return None
    if len(records) == 1 and not labels:
        return _number(records[0], figure)
    kept = [{n: each.get(n) for n in names} for each in records]
    named = labelled(kept, labels)
    low, high = f"{figure}_low", f"{figure}_high"
    if low in names and high in names:
        return intervals(named, figure, low, high)
    if "standard_error" in names:
        return with_errors(named, figure)
    return bars(named, figure)


def _labels(records: Sequence[Record], names: Sequence[str]) -> list[str]:
    """What tells the records apart: the year, and texts that are not the same in all."""
    texts = [name for name in names if name == "year" or _are(records, name, str)]
    telling = [name for name in texts if len({each.get(name) for each in records}) > 1]
    return telling or texts


def _main_figure(names: Sequence[str]) -> str | None:
    """The field that is drawn: one of a known name, else the first that is no count or option."""
    known = [name for name in _FIGURES if name in names]
    others = [each for each in names if each not in _ASIDE and not each.startswith("n_")]
    return next(iter([*known, *others, *names]), None)


def _are(records: Sequence[Record], name: str, kind: type | UnionType) -> bool:
    """Whether there is a value of this kind in some record, and of no other kind in any."""
    values = [each[name] for each in records if each.get(name) is not None]
    return bool(values) and all(
        isinstance(each, kind) and not isinstance(each, bool) for each in values
    )


def _number(record: Record, field: str) -> Chart:
    """A single number, large."""
    value = record[field]
    text = {"type": "text", "fontSize": 52, "align": "left", "x": 2, "color": BLUE}
    shown = {"field": field, "type": "quantitative", "format": number_format([value])}
    values = [{"label": title_of(field), field: value}]
    says = f"{title_of(field)}: {told(value)}." if is_number(value) else "It is not defined."
    encoding = {"text": shown, "tooltip": tooltip(values, [field])}
    return Chart(values, says, {"mark": text, "encoding": encoding, "height": 72})
