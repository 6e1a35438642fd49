"""What the values of a question look like: description, quantiles, weighted mean, by group.

Every row counts once, but in the weighted mean, whose rows count by the weight that the table
gives them (in a survey, how many people answered). A figure that is undefined for so few rows
is None, as is one that, or a sum behind which, is too large for a float.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta

from server.stats.charts_spread import boxes, dots
from server.stats.selection import Group, Selection, groups_of_share, select, shares
from server.stats.statistic import GroupedRequest, Json, Statistic, finite, unit_of
from server.table import Floats, Table

ROWS_PER_PART = 500_000
"""So many rows are described in some 40 ms."""

QUARTILES = (0.25, 0.5, 0.75)


class QuantilesRequest(GroupedRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for quantiles of one question."""

    probabilities: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=1)], ...],
        Meta(
            min_length=1,
            max_length=100,
            description="Which quantiles: 0.5 is the median, 0 the least value, 1 the greatest.",
        ),
    ] = QUARTILES


def plan(table: Table, request: GroupedRequest) -> Sequence[Json]:
    """Some neighbouring groups to each part, of about `ROWS_PER_PART` rows."""
    return shares(table, request.question, request.by, ROWS_PER_PART)


def combine(table: Table, request: GroupedRequest, partials: Sequence[Json]) -> Json:
    """The records of all parts, one after the other."""
    return {"groups": [record for partial in partials for record in partial]}


def _groups(table: Table, request: GroupedRequest, part: Json) -> list[Group]:
    return groups_of_share(select(table, request, request.question), request.by, part)


# -- description ----------------------------------------------------------------------


def describe(table: Table, request: GroupedRequest, part: Json) -> Json:
    """`{"groups": [{"state": ..., "n", "mean", "sd", "min", "q1", "median", "q3", "max"}]}`.

    All but `n` are None where there is no row, and `sd` where there is only one.
    """
    return [
        {**label, **_description(selection)} for label, selection in _groups(table, request, part)
    ]


def _description(selection: Selection) -> dict[str, Json]:
    values = np.sort(selection.values())
    n = len(values)
    least, q1, median, q3, greatest = quantiles_of(values, (0, *QUARTILES, 1))
    mean = _mean(selection.mean, values)
    return {
        "n": n,
        "mean": mean,
        "sd": None if mean is None or n < 2 else _deviation(values, mean),
        "min": least,
        "q1": q1,
        "median": median,
        "q3": q3,
        "max": greatest,
    }


def _mean(mean: float | None, ordered: Floats) -> float | None:
    """The mean, put between the least and the greatest value where rounding left these."""
    if mean is None or not math.isfinite(mean):
        return None
    return float(min(max(mean, ordered[0]), ordered[-1]))


def _deviation(values: Floats, mean: float) -> float | None:
    """The standard deviation of at least two values: 0.0 exactly where all are equal."""
    with np.errstate(over="ignore", invalid="ignore"):
        distances = values - mean
        unit = unit_of(distances)
        squares = np.square(distances / unit).sum()
        return finite(np.sqrt(squares / (len(values) - 1)) * unit)


def quantiles_of(ordered: Floats, probabilities: Sequence[float]) -> list[float | None]:
    """The quantiles (type 7) of values in ascending order; None where there is no value.

    With n values, that of p is at place (n - 1) p, counted from 0, on the line between its
    neighbours: the digits of `numpy.quantile`.
    """
    if not len(ordered):
        return [None for _ in probabilities]
    places = (len(ordered) - 1) * np.array(probabilities, dtype=np.float64)
    below = places.astype(np.intp)
    beyond = places - below
    low, high = ordered[below], ordered[np.minimum(below + 1, len(ordered) - 1)]
    with np.errstate(over="ignore", invalid="ignore"):
        gap = high - low
        between = np.where(beyond < 0.5, low + gap * beyond, high - gap * (1 - beyond))
        found = np.where(np.isfinite(gap), between, low * (1 - beyond) + high * beyond)
    values: list[float | None] = found.tolist()
    return values


# -- quantiles ------------------------------------------------------------------------


def quantiles(table: Table, request: QuantilesRequest, part: Json) -> Json:
    """`{"groups": [{"state": ..., "n", "quantiles": [{"probability": 0.5, "value": ...}]}]}`.

    The quantiles of each group are in the order asked; a value is None where there is no row.
    """
    return [
        {**label, **_quantiles(selection.values(), request.probabilities)}
        for label, selection in _groups(table, request, part)
    ]


def _quantiles(values: Floats, probabilities: Sequence[float]) -> dict[str, Json]:
    found = quantiles_of(np.sort(values), probabilities)
    return {
        "n": len(values),
        "quantiles": [
            {"probability": probability, "value": value}
            for probability, value in zip(probabilities, found, strict=True)
        ],
    }


# -- weighted mean --------------------------------------------------------------------


def weighted_mean(table: Table, request: GroupedRequest, part: Json) -> Json:
    """`{"groups": [{"state": ..., "n", "n_without_weight", "weight", "mean", "standard_error"}]}`.

    `n` are the rows that count: those of a positive weight, whose sum is `weight`; a row of
    weight 0 is one without weight. `mean` is None where no row counts, `standard_error`
    where fewer than two do. In a table without weights no row counts.
    """
    return [
        {**label, **_weighted_mean(selection)} for label, selection in _groups(table, request, part)
    ]


def _weighted_mean(selection: Selection) -> dict[str, Json]:
    rows = selection.rows()
    weighty = rows.weight > 0
    values, weights = rows.value[weighty], rows.weight[weighty]
    mean, error = _mean_and_error(values, weights)
    with np.errstate(over="ignore"):
        weight = finite(weights.sum())
    return {
        "n": len(values),
        "n_without_weight": len(weighty) - len(values),
        "weight": weight,
        "mean": mean,
        "standard_error": error,
    }


def _mean_and_error(values: Floats, weights: Floats) -> tuple[float | None, float | None]:
    """The weighted mean and its standard error: 0.0 exactly where all values are equal."""
    n = len(values)
    if not n:
        return None, None
    with np.errstate(over="ignore", invalid="ignore"):
        weights = weights / unit_of(weights)
        shares = weights / weights.sum()
        mean = np.clip((shares * values).sum(), values.min(), values.max())
        if n < 2:
            return finite(mean), None
        errors = shares * (values - mean)
        unit = unit_of(errors)
        squares = np.square(errors / unit).sum()
        return finite(mean), finite(np.sqrt(n / (n - 1) * squares) * unit)


_OBESITY = "Percent of adults aged 18 years and older who have obesity"

ROWS = (
    Statistic(
        "describe",
        "Number, mean, standard deviation, extremes and quartiles of the values of each group.",
        GroupedRequest,
        describe,
        plan,
        combine,
        chart=boxes,
        formula=(
            "mean = sum(x) / n; sd = sqrt(sum((x - mean)^2) / (n - 1)). Quartiles: with the "
            "values in order, that of p is at place 1 + (n - 1) p, on the line between neighbours."
        ),
        source="Quartiles: Hyndman & Fan 1996, type 7",
        example={"question": _OBESITY, "states": ["Michigan", "Ohio"], "by": "state"},
    ),
    Statistic(
        "quantiles",
        "The quantiles of the values of each group, for any probabilities.",
        QuantilesRequest,
        quantiles,
        plan,
        combine,
        chart=dots,
        formula=(
            "With the n values in order, the quantile of p is at place 1 + (n - 1) p, on the "
            "line between the values at the places before and after."
        ),
        source="Hyndman & Fan 1996, type 7",
        example={
            "question": _OBESITY,
            "states": ["Michigan", "Ohio"],
            "by": "state",
            "probabilities": [0.1, 0.5, 0.9],
        },
    ),
    Statistic(
        "weighted_mean",
        "The mean of each group weighted by the table's weights, with its standard error.",
        GroupedRequest,
        weighted_mean,
        plan,
        combine,
        formula=(
            "m = sum(w x) / sum(w); "
            "standard error = sqrt(n / (n - 1) * sum(w^2 (x - m)^2)) / sum(w), over the n rows "
            "with w > 0."
        ),
        source="Cochran 1977, the ratio estimator linearised; Gatz & Smith 1995",
        example={"question": _OBESITY, "states": ["Michigan", "Ohio"], "by": "state"},
    ),
)
