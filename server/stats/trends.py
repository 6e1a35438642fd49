"""How the values of a question move with the years: straight lines, by group."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from msgspec import Meta

from server.stats.charts_trend import trends
from server.stats.selection import Rows, groups_of_share, select, shares
from server.stats.statistic import Confidence, Json, QuestionRequest, Statistic, finite, unit_of
from server.stats.theil_sen import theil_sen
from server.table import NO_YEAR, Floats, Table

ROWS_PER_PART = 20_000
"""A group of so many rows takes some 100 ms, most of it for the slope by Theil and Sen."""

_OBESITY = "Percent of adults aged 18 years and older who have obesity"

_ROUNDING = 4 * float(np.finfo(np.float64).eps)


class TrendRequest(QuestionRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for the trend of one question over the years."""

    by: Annotated[
        Literal["state", "stratum"] | None,
        Meta(description="One trend for each state or stratum; else one in all."),
    ] = None
    confidence: Confidence = 0.95


def plan(table: Table, request: TrendRequest) -> Sequence[Json]:
    """Some neighbouring groups to each part, of about `ROWS_PER_PART` rows."""
    return shares(table, request.question, request.by, ROWS_PER_PART)


def combine(table: Table, request: TrendRequest, partials: Sequence[Json]) -> Json:
    """The records of all parts, one after the other."""
    records = [record for partial in partials for record in partial]
    return {"confidence": request.confidence, "groups": records}


def trend(table: Table, request: TrendRequest, part: Json) -> Json:
    """`{"confidence": ..., "groups": [{"state": ..., "n", "n_without_year", "first_year",
    "last_year", "slope", "standard_error", "ci_low", "ci_high", "p_value", "r_squared",
    "theil_sen_slope", "theil_sen_low", "theil_sen_high", "years": [{"year", "n", "mean",
    "fitted", "band_low", "band_high"}]}]}`.

    Slopes are per year, and `ci_low` and `ci_high` are the limits of the first one. The `n`
    rows with a year count. What is undefined is None: every figure where these are of one
    year, or none; error, limits and `p_value` where they are only two; `r_squared` where all
    values are equal; and the limits by Theil and Sen where ties leave these no variance, as
    where all values are equal. On a perfect line the error is 0.0, and `p_value` is 0.0 or,
    where that line is level, 1.0.

    `years` has each year that has a row: the mean of its rows, the line there, and the limits
    within which the line lies there with the given confidence. These are None where the slope,
    or its error, is.
    """
    found = groups_of_share(select(table, request, request.question), request.by, part)
    return [{**label, **_trend(selection.rows(), request.confidence)} for label, selection in found]


def _trend(rows: Rows, confidence: float) -> dict[str, Json]:
    dated = rows.year != NO_YEAR
    years, values = rows.year[dated].astype(np.float64), rows.value[dated]
    n = len(years)
    with np.errstate(over="ignore", invalid="ignore"):
        line = _line(years, values) if n else _Line()
        robust = theil_sen(years, values, confidence) if n else None
    return {
        "n": n,
        "n_without_year": len(dated) - n,
        "first_year": int(years.min()) if n else None,
        "last_year": int(years.max()) if n else None,
        **line.figures(n - 2, confidence),
        "theil_sen_slope": robust.slope if robust else None,
        "theil_sen_low": robust.low if robust else None,
        "theil_sen_high": robust.high if robust else None,
        "years": _by_year(years, values, line, confidence),
    }


def _by_year(
    years: Floats, values: Floats, line: "_Line", confidence: float
) -> list[dict[str, Json]]:
    """What there is of each year: its rows, and the line with its band."""
    order = np.argsort(years, kind="stable")
    found, firsts = np.unique(years[order], return_index=True)
    runs = np.split(values[order], firsts[1:]) if len(found) else []
    with np.errstate(over="ignore", invalid="ignore"):
        return [
            {
                "year": int(year),
                "n": len(run),
                "mean": finite(_mean(run / line.unit) * line.unit),
                **line.band(year, len(values) - 2, confidence),
            }
            for year, run in zip(found.tolist(), runs, strict=True)
        ]


class _Line(NamedTuple):
    """The line of least squares; NaN stands for what is undefined.

    Its values are counted in `unit`, so that their squares are never too large or too small.
    `scatter` are the squares of the residuals over those of the years: the square of the
    standard error, times the degrees of freedom. The line goes through the point (`middle`,
    `height`), the means of years and values; `spread` is the variance of the years.
    """

    slope: float = math.nan
    scatter: float = math.nan
    r_squared: float = math.nan
    middle: float = math.nan
    height: float = math.nan
    spread: float = math.nan
    unit: float = 1.0

    def figures(self, freedom: int, confidence: float) -> dict[str, Json]:
        """What the client reads; `freedom` are the degrees of freedom, undefined below 1."""
        error = math.sqrt(self.scatter / freedom) if freedom > 0 else math.nan
        reach = error * _quantile(freedom, confidence) if error else 0.0
        return {
            "slope": finite(self.slope * self.unit),
            "standard_error": finite(error * self.unit),
            "ci_low": finite((self.slope - reach) * self.unit),
            "ci_high": finite((self.slope + reach) * self.unit),
            "p_value": finite(_p_value(self.slope, error, freedom)),
            "r_squared": finite(self.r_squared),
        }

    def band(self, year: float, freedom: int, confidence: float) -> dict[str, Json]:
        """Where the line is in a year, and within which limits with this confidence."""
        run = year - self.middle
        fitted = self.height + self.slope * run
        error = (
            math.sqrt(self.scatter / freedom * (self.spread + run * run))
            if freedom > 0
            else math.nan
        )
        reach = error * _quantile(freedom, confidence) if error else 0.0
        return {
            "fitted": finite(fitted * self.unit),
            "band_low": finite((fitted - reach) * self.unit),
            "band_high": finite((fitted + reach) * self.unit),
        }


def _line(years: Floats, values: Floats) -> _Line:
    """The line through at least one point.

    Years and values count from their means, so that no digits are lost far from zero; a
    scatter that rounding alone can make is none.
    """
    unit = unit_of(values)
    values = values / unit
    middle, height = float(years.mean()), _mean(values)
    across, up = years - middle, values - height
    squares = float(np.square(across).sum())
    if not squares:
        return _Line(unit=unit)
    slope = float((across * up).sum()) / squares
    left = float(np.square(up - slope * across).sum())
    rounding = _ROUNDING * float(np.abs(values).max())
    if left < len(values) * rounding * rounding:
        left = 0.0
    total = float(np.square(up).sum())
    explained = slope * slope * squares
    r_squared = min(explained / total, 1.0) if total else math.nan
    return _Line(slope, left / squares, r_squared, middle, height, squares / len(years), unit)


def _mean(values: Floats) -> float:
    """The mean of at least one value, which rounding does not put outside of them."""
    return float(np.clip(values.mean(), values.min(), values.max()))


def _quantile(freedom: int, confidence: float) -> float:
    """How many standard errors an interval reaches to either side, by Student's t."""
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, (1 - confidence) / 2)) if freedom > 0 else math.nan


def _p_value(slope: float, error: float, freedom: int) -> float:
    """How likely a slope so far from 0 is where there is none, by Student's t."""
    from scipy.special import stdtr

    if not error:
        return 0.0 if slope else 1.0
    return 2 * float(stdtr(freedom, -abs(slope / error)))


ROWS = (
    Statistic(
        "trend",
        "How much the values of each group rise or fall a year, by least squares and robustly.",
        TrendRequest,
        trend,
        plan,
        combine,
        apart=("years",),
        chart=trends,
        formula=(
            "slope = sum((t - mean t) (x - mean x)) / sum((t - mean t)^2) over the rows (year t, "
            "value x); standard_error = sqrt(sum(residual^2) / (n - 2) / sum((t - mean t)^2)); "
            "limits and two-sided p_value by Student's t with n - 2 degrees of freedom. "
            "fitted = mean x + slope (t - mean t); its band reaches q sqrt(s^2 / n + "
            "standard_error^2 (t - mean t)^2) to either side, s^2 = sum(residual^2) / (n - 2) and "
            "q being the quantile of that distribution. "
            "theil_sen_slope is the median of the slopes between all pairs of rows of different "
            "years; its limits are those slopes whose ranks lie as far from the middle as "
            "Kendall's statistic, ties counted, is off with this confidence."
        ),
        source="Theil 1950; Sen 1968, equation 2.6",
        example={"question": _OBESITY, "states": ["Michigan", "Ohio"], "by": "state"},
    ),
)
