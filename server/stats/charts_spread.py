"""Pictures with a row for each group that show more than one figure: ranks, boxes, quantiles."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.stats.answer_table import Json, Record
from server.stats.chart import (
    BAR,
    BLUE,
    DOT,
    GREY,
    ORANGE,
    RAMP,
    Chart,
    by_label,
    end,
    extremes,
    figure,
    first_labelled,
    is_number,
    labelled,
    numbers,
    rows,
    told,
    tooltip,
)


def ranks(records: Sequence[Record], data: Json) -> Chart | None:
    """The rank of each state with its interval, best first, coloured by its share of best fives."""
    if not records:
        return None
    values, note = first_labelled(records)
    limits = ("rank", "rank_low", "rank_high")
    told_of = tooltip(values, [*limits, "share_in_best5", "mean", "n"])
    colour = {
        "field": "share_in_best5",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "range": list(RAMP)},
        "legend": {
            "title": "how often in best five",
            "orient": "top",
            "format": ".0%",
            "values": [0, 0.5, 1],
        },
    }
    layers = [
        {
            "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.65},
            "encoding": {
                "x": figure(values, "rank_low", "rank", beside=limits),
                "x2": end("rank_high"),
            },
        },
        {"mark": {**DOT, "size": 70}, "encoding": {"x": figure(values, "rank", beside=limits)}},
    ]
    best = [
        f"{each['label']} ({each['rank']}, {each['rank_low']} to {each['rank_high']})"
        for each in values[:3]
    ]
    says = f"Ranks with intervals, best first: {'; '.join(best)}."
    shared = {"y": by_label(), "color": colour, "tooltip": told_of}
    return Chart(values, says, {"encoding": shared, "layer": layers, **rows(17)}, note)


def boxes(records: Sequence[Record], data: Json) -> Chart | None:
    """A box from quartile to quartile, its median, its mean, and lines to the extremes."""
    if not records:
        return None
    values, note = first_labelled(records)
    shown = ("mean", "min", "q1", "median", "q3", "max")
    layers = [
        {
            "mark": {"type": "rule", "color": BLUE},
            "encoding": {"x": figure(values, "min", "value", beside=shown), "x2": end("max")},
        },
        {
            "mark": {"type": "bar", "height": {"band": 0.6}, "color": BLUE, "opacity": 0.55},
            "encoding": {"x": figure(values, "q1", "value", beside=shown), "x2": end("q3")},
        },
        {
            "mark": {"type": "tick", "thickness": 3, "band": 0.8, "color": ORANGE},
            "encoding": {"x": figure(values, "median", "value", beside=shown)},
        },
        {
            "mark": {**DOT, "shape": "diamond", "color": BLUE, "size": 45},
            "encoding": {"x": figure(values, "mean", "value", beside=shown)},
        },
    ]
    shared = {"y": by_label(), "tooltip": tooltip(values, ["n", "sd", *shown])}
    says = f"Box plots. Medians: {extremes(values, 'median')}"
    note = f"Boxes are the middle half, orange the median, diamonds the mean. {note}".strip()
    return Chart(values, says, {"encoding": shared, "layer": layers, **rows(22)}, note)


def dots(records: Sequence[Record], data: Json) -> Chart | None:
    """The quantiles of each group as dots on a line."""
    if not records:
        return None
    values, note = first_labelled(records, 5000)
    colour = {
        "field": "probability",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "range": list(RAMP)},
        "legend": {"orient": "top", "gradientLength": 160},
    }
    layers = [
        {
            "mark": {"type": "line", "color": GREY, "strokeWidth": 1.5},
            "encoding": {
                "x": figure(values, "value"),
                "detail": {"field": "label"},
                "order": {"field": "probability"},
            },
        },
        {
            "mark": {**DOT, "size": 70},
            "encoding": {
                "x": figure(values, "value"),
                "color": colour,
                "tooltip": tooltip(values, ["probability", "value", "n"]),
            },
        },
    ]
    says = f"Dots. {extremes(values, 'value')}"
    return Chart(values, says, {"encoding": {"y": by_label()}, "layer": layers, **rows()}, note)


def two_groups(records: Sequence[Record], data: Mapping[str, Any]) -> Chart | None:
    """The means of both groups, their difference between them."""
    if len(records) < 2:
        return None
    values = labelled(records[:2])
    means = numbers(values, "mean")
    span = {"type": "rule", "strokeWidth": 4, "color": GREY, "opacity": 0.6}
    told_of = tooltip(values, ["mean", "n", "difference", "p_value"])
    layers = [
        {
            "mark": {**BAR, "color": BLUE},
            "encoding": {
                "y": by_label(),
                "x": figure(values, "mean", zero=True),
                "tooltip": told_of,
            },
        }
    ]
    if len(means) == 2:
        between = {"y": {"value": {"expr": "height / 2"}}}
        ends = {"x": {"datum": means[0]}, "x2": {"datum": means[1]}}
        layers.append({"mark": span, "encoding": {**between, **ends}})
    note = ""
    difference, p = data.get("difference"), data.get("p_value")
    if is_number(difference) and is_number(p):
        note = f"The difference is {told(difference)}, p = {told(p)}."
    return Chart(values, extremes(values, "mean"), {"layer": layers, **rows(34)}, note)
