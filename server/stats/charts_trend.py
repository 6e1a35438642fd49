"""Pictures of trends: the means of the years, the line through them, and its band."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.stats.answer_table import Record
from server.stats.chart import (
    BLUE,
    MOST_ROWS,
    ORANGE,
    Chart,
    Spec,
    end,
    extremes,
    first_labelled,
    number_format,
    numbers,
    tooltip,
)
from server.stats.charts_ranked import intervals

_PANEL: Spec = {"width": 150, "height": 100}
_COLUMNS = 4


def trends(records: Sequence[Record], data: Mapping[str, Any]) -> Chart | None:
    """Of one group one picture; of several a small one each, on the same scales."""
    found, note = first_labelled(data["groups"], MOST_ROWS)
    values = [
        {"label": group["label"], **year} for group in found for year in group.get("years", ())
    ]
    if not values:
        return slopes(records)
    drawn = _layers(values, is_small=len(found) > 1)
    says = f"Lines of trend, and means of years. Slopes a year: {extremes(found, 'slope')}"
    if len(found) == 1:
        return Chart(values, says, {**drawn, "height": 260}, note)
    header = {"labelLimit": 150, "labelAnchor": "start", "labelPadding": 2}
    facet = {"field": "label", "type": "nominal", "sort": None, "title": None, "header": header}
    spec = {"facet": facet, "columns": _COLUMNS, "spacing": 14, "spec": {**_PANEL, **drawn}}
    return Chart(values, says, spec, note)


def slopes(records: Sequence[Record]) -> Chart | None:
    """The slopes with their limits, of answers that say nothing of single years."""
    return (
        intervals(records, "slope", "ci_low", "ci_high", also=["p_value", "n"]) if records else None
    )


def _layers(values: Sequence[Record], *, is_small: bool) -> Spec:
    about = tooltip(values, ["year", "mean", "n", "fitted", "band_low", "band_high"])
    title, ticks = (None, 4) if is_small else ("mean", 8)
    height = {
        "type": "quantitative",
        "title": title,
        "scale": {"zero": False, "nice": True},
        "axis": {"format": number_format(numbers(values, "mean"))},
    }
    return {
        "encoding": {
            "x": {
                "field": "year",
                "type": "quantitative",
                "title": None,
                "scale": {"zero": False, "nice": False, "padding": 8},
                "axis": {
                    "format": "d",
                    "tickMinStep": 1,
                    "tickCount": ticks,
                    "grid": False,
                },
            },
            "tooltip": about,
        },
        "layer": [
            {
                "mark": {"type": "area", "color": ORANGE, "opacity": 0.25},
                "encoding": {"y": {"field": "band_low", **height}, "y2": end("band_high")},
            },
            {
                "mark": {"type": "line", "color": ORANGE, "strokeWidth": 2},
                "encoding": {"y": {"field": "fitted", **height}},
            },
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "color": BLUE,
                    "opacity": 1,
                    "size": 22 if is_small else 50,
                },
                "encoding": {"y": {"field": "mean", **height}},
            },
        ],
    }
