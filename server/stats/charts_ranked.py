"""Pictures with a row for each group: bars, and points with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.stats.answer_table import Json, Record
from server.stats.chart import (
    BAR,
    BLUE,
    DOT,
    GREY,
    ORANGE,
    Chart,
    Spec,
    by_label,
    end,
    extremes,
    figure,
    first_labelled,
    is_number,
    labelled,
    rows,
    title_of,
    tooltip,
)

_NORMAL = 1.959963984540054
"""How many standard errors an interval of 95 % reaches to either side."""

_ZERO: Spec = {"mark": {"type": "rule", "color": GREY}, "encoding": {"x": {"datum": 0}}}


def bars(records: Sequence[Record], field: str) -> Chart:
    """A bar for each record, in their order, from zero."""
    values, note = first_labelled(records)
    encoding = {
        "y": by_label(),
        "x": figure(values, field, zero=True),
        "tooltip": tooltip(values, [field]),
    }
    spec = {"mark": {**BAR, "color": BLUE}, "encoding": encoding, **rows()}
    return Chart(values, f"Bars. {extremes(values, field)}", spec, note)


def differences(records: Sequence[Record], data: Json) -> Chart | None:
    """Bars to both sides of zero, the greatest difference first, in two colours."""
    if not records:
        return None
    field = "difference"
    ranked = sorted(records, key=lambda each: _rank(each[field]))
    values, note = first_labelled(ranked)
    colour = {"condition": {"test": f"datum.{field} < 0", "value": ORANGE}, "value": BLUE}
    drawn = {
        "mark": BAR,
        "encoding": {
            "y": by_label(),
            "x": figure(values, field, "mean of all rows less mean of the state", zero=True),
            "color": colour,
            "tooltip": tooltip(values, [field]),
        },
    }
    says = f"Bars to both sides of zero. {extremes(values, field)}"
    return Chart(values, says, {"layer": [drawn, _ZERO], **rows()}, note)


def _rank(value: Json) -> tuple[bool, float]:
    """The greatest first, what is undefined last."""
    return not is_number(value), -value if is_number(value) else 0.0


# -- points with intervals ------------------------------------------------------------


def intervals(
    records: Sequence[Record], field: str, low: str, high: str, *, also: Sequence[str] = ()
) -> Chart:
    """A point with its interval for each record, the greatest first; years in their order."""
    is_ranked = not any("year" in each for each in records)
    ranked = sorted(records, key=lambda each: _rank(each[field])) if is_ranked else records
    values, note = first_labelled(ranked)
    limits = (field, low, high)
    told_of = tooltip(values, [*limits, *also])
    layers = [
        {
            "mark": {"type": "rule", "strokeWidth": 2, "color": BLUE, "opacity": 0.6},
            "encoding": {
                "x": figure(values, low, title_of(field)),
                "x2": end(high),
                "tooltip": told_of,
            },
        },
        {
            "mark": {**DOT, "color": BLUE},
            "encoding": {"x": figure(values, field, beside=limits), "tooltip": told_of},
        },
    ]
    says = f"Points with intervals. {extremes(values, field)}"
    return Chart(values, says, {"encoding": {"y": by_label()}, "layer": layers, **rows()}, note)


def bootstrap(records: Sequence[Record], data: Mapping[str, Any]) -> Chart | None:
    """Estimates with their BCa intervals, or the percentile ones where there is none of these."""
    if not records:
        return None
    chosen = [{**each, **_limits(each)} for each in records]
    chart = intervals(chosen, "estimate", "low", "high", also=["n", "standard_error"])
    share = f"{data.get('confidence', 0.95):.6g}"
    note = f"The lines are intervals of confidence {share}. {chart.note}".strip()
    return Chart(chart.values, chart.says, chart.spec, note)


def _limits(record: Record) -> Record:
    kind = "percentile" if record.get("bca_low") is None else "bca"
    return {"low": record.get(f"{kind}_low"), "high": record.get(f"{kind}_high")}


def with_errors(records: Sequence[Record], field: str = "mean") -> Chart:
    """Figures with 1.96 of their standard errors to either side."""
    known = [{**each, **_reach(each[field], each.get("standard_error"))} for each in records]
    chart = intervals(known, field, "low", "high", also=["n", "standard_error"])
    note = f"The lines reach 1.96 standard errors to either side. {chart.note}".strip()
    return Chart(chart.values, chart.says, chart.spec, note)


def _reach(value: Json, error: Json) -> Record:
    if not (is_number(value) and is_number(error)):
        return {"low": None, "high": None}
    return {"low": value - _NORMAL * error, "high": value + _NORMAL * error}


def correlations(records: Sequence[Record], data: Json) -> Chart | None:
    """Both coefficients of each group with their intervals, from -1 to 1."""
    if not records:
        return None
    found, note = first_labelled(records)
    values = [
        {
            "label": each["label"],
            "coefficient": name,
            "r": each[name],
            "low": each[f"{name}_low"],
            "high": each[f"{name}_high"],
            "n": each["n"],
        }
        for each in found
        for name in ("pearson", "spearman")
    ]
    limits = ("r", "low", "high")
    told_of = tooltip(values, ["coefficient", *limits, "n"])
    scale = {"scale": {"domain": [-1, 1]}}
    shared = {
        "y": by_label(scale={"paddingInner": 0.25}),
        "yOffset": {"field": "coefficient", "type": "nominal"},
        "color": {
            "field": "coefficient",
            "type": "nominal",
            "scale": {"domain": ["pearson", "spearman"], "range": [BLUE, ORANGE]},
            "legend": {"title": None, "orient": "top"},
        },
        "tooltip": told_of,
    }
    layers = [
        _ZERO,
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6},
            "encoding": {
                **shared,
                "x": figure(values, "low", "correlation", beside=limits) | scale,
                "x2": end("high"),
            },
        },
        {
            "mark": DOT,
            "encoding": {**shared, "x": figure(values, "r", "correlation", beside=limits) | scale},
        },
    ]
    height = {"height": {"step": 12, "for": "offset"}}
    says = f"Points with intervals. Pearson: {extremes(labelled(found), 'pearson')}"
    return Chart(values, says, {"layer": layers, **height}, note)
