"""Pictures of two directions: states by strata, pairs of groups."""

from collections.abc import Sequence

from server.stats.answer_table import Json, Record
from server.stats.chart import (
    BAR,
    BLUE,
    MOST_MARKS,
    Chart,
    Spec,
    by_label,
    extremes,
    figure,
    first_labelled,
    first_of,
    label_of,
    numbers,
    rows,
    tooltip,
)

_CELL = 17

_PALE = "#7a9cb8"

_LEVELS = {
    "below 0.001": "#0b4f8a",
    "0.001 to 0.01": "#3a83c0",
    "0.01 to 0.05": "#8fbbdc",
    "0.05 or more": "rgba(138, 144, 153, 0.35)",
}


def by_strata(records: Sequence[Record], data: Json) -> Chart | None:
    """The means of states by strata as a map of colours, each category for itself."""
    if not records:
        return None
    if len({each["state"] for each in records}) == 1:
        return strata_of_one(records)
    values, note = first_labelled(records, MOST_MARKS)
    cells = {
        "width": {"step": _CELL},
        "height": {"step": _CELL - 2},
        "mark": {"type": "rect"},
        "encoding": {
            "x": {
                "field": "stratum",
                "type": "nominal",
                "sort": None,
                "title": None,
                "axis": {"labelAngle": -60, "labelLimit": 130, "orient": "bottom"},
            },
            "y": {"field": "state", "type": "nominal", "sort": None, "title": None},
            "color": _colour("mean"),
            "tooltip": tooltip(values, ["state", "category", "stratum", "mean"])[1:],
        },
    }
    facet = {
        "field": "category",
        "type": "nominal",
        "sort": None,
        "title": None,
        "header": {"labelLimit": 120, "labelAnchor": "start"},
    }
    spec = {
        "facet": {"column": facet},
        "spacing": 12,
        "resolve": {"scale": {"x": "independent"}},
        "spec": cells,
    }
    return Chart(values, f"A map of colours. {extremes(values, 'mean')}", spec, note)


def strata_of_one(records: Sequence[Record]) -> Chart:
    """The means of one state's strata as bars, coloured by category."""
    values, note = first_labelled(records, names=("category", "stratum"))
    categories = list(dict.fromkeys(each["category"] for each in values))
    encoding = {
        "y": by_label(),
        "x": figure(values, "mean", zero=True),
        "color": {
            "field": "category",
            "type": "nominal",
            "sort": None,
            "scale": {
                "domain": categories,
                "range": [(BLUE, _PALE)[n % 2] for n in range(len(categories))],
            },
            "legend": None,
        },
        "tooltip": tooltip(values, ["category", "stratum", "mean"])[1:],
    }
    spec = {"mark": BAR, "encoding": encoding, **rows()}
    return Chart(values, f"Bars. {extremes(values, 'mean')}", spec, note)


def pairs(records: Sequence[Record], data: Json) -> Chart | None:
    """Each pair's corrected p-value as a cell, in four steps of colour."""
    if not records:
        return None
    drawn, note = first_of(records, MOST_MARKS)
    values = [
        {
            "label": f"{_side(each, 'first')} and {_side(each, 'second')}",
            "one": _side(each, "first"),
            "other": _side(each, "second"),
            **{name: each[name] for name in ("difference", "p_value", "p_holm")},
            "level": _level(each["p_holm"]),
        }
        for each in drawn
    ]
    sides = {"type": "nominal", "sort": None, "title": None}
    spec = {
        "mark": {"type": "rect"},
        "height": {"step": 14},
        "encoding": {
            "x": {"field": "one", **sides, "axis": {"labelAngle": -60, "labelLimit": 130}},
            "y": {"field": "other", **sides},
            "color": {
                "field": "level",
                "type": "nominal",
                "scale": {"domain": list(_LEVELS), "range": list(_LEVELS.values())},
                "legend": {
                    "title": "p, corrected by Holm",
                    "orient": "top",
                    "symbolType": "square",
                    "columns": 2,
                },
            },
            "tooltip": tooltip(values, ["difference", "p_value", "p_holm"]),
        },
    }
    small = [each for each in numbers(values, "p_holm") if each < 0.05]
    says = f"{len(small):,} of {len(values):,} pairs differ with p below 0.05."
    return Chart(values, "A map of pairs.", spec, f"{says} {note}".strip())


def _level(p: float) -> str:
    """Between which of the usual bounds a p-value lies."""
    bounds = {0.001: "below 0.001", 0.01: "0.001 to 0.01", 0.05: "0.01 to 0.05"}
    return next((level for bound, level in bounds.items() if p < bound), "0.05 or more")


def _side(record: Record, which: str) -> str:
    return label_of(record, (f"{which}_category", which))


def _colour(field: str) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"scheme": "viridis", "zero": False},
        "legend": {"title": field, "orient": "top", "gradientLength": 200},
    }
