"""How sure a mean or a median is: bootstrap intervals of it, for each group.

The rows of a group are resampled with replacement, as many as there are, and the estimate is
taken of each resample. The figures of all resamples are the bootstrap distribution. A part
gives the intervals of the groups that it has drawn all resamples of, and of another one the
tally of its resampled estimates.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from server.stats.charts_ranked import bootstrap
from server.stats.estimators import ESTIMATORS, Estimator, bca_levels
from server.stats.resampling import (
    Bundle,
    Drawn,
    Resamples,
    Share,
    Tally,
    bundles,
    merge,
    parts_of,
    shares,
    stream,
    tally,
)
from server.stats.selection import Group, groups, select
from server.stats.statistic import Confidence, GroupedRequest, Json, Seed, Statistic, finite
from server.table import Floats, Table

_PART = 12_000_000
"""What a part costs, in resampled rows at some 2.4 ns: about 30 ms."""

_MEAN_OVERHEAD = 16
_MEDIAN_COST = 24
"""What a resample costs, in rows: of a mean beyond its rows; of a median, whatever they are."""

_Interval = tuple[float | None, float | None]


class BootstrapRequest(GroupedRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for intervals of an estimate."""

    estimator: Annotated[
        Literal["mean", "median"], Meta(description="What is estimated: the mean or the median.")
    ] = "mean"
    n_resamples: Resamples = 9_999
    confidence: Confidence = 0.95
    seed: Seed = None


# -- the statistic --------------------------------------------------------------------


def _groups(table: Table, request: BootstrapRequest) -> list[Group]:
    return groups(select(table, request, request.question), request.by)


def _plan(found: Sequence[Group], request: BootstrapRequest) -> list[Bundle]:
    costs = [_cost(request, group.selection.n) for group in found]
    return bundles(costs, request.n_resamples, _PART)


def _cost(request: BootstrapRequest, n: int) -> int:
    """What a resample of n rows costs, in resampled rows."""
    if n < 2:
        return 0
    return _MEDIAN_COST if request.estimator == "median" else n + _MEAN_OVERHEAD


def plan(table: Table, request: BootstrapRequest) -> Sequence[Json]:
    """The parts' numbers. Unanswerable where rows times resamples are too many."""
    return parts_of(_plan(_groups(table, request), request), request.n_resamples)


def partial(table: Table, request: BootstrapRequest, part: int) -> Json:
    """`{"estimator": ..., "n_resamples": ..., "confidence": ..., "seed": ..., "groups": [{"state":
    ..., "n": ..., "estimate": ..., "standard_error": ..., "percentile_low": ...,
    "percentile_high": ..., "bca_low": ..., "bca_high": ...}]}`: both intervals of each group.
    """
    found = _groups(table, request)
    drawn = Drawn({}, {})
    for share in shares(_plan(found, request), request.n_resamples, part):
        group = found[share.group]
        counted = _resampled(group.selection.values(), request, share)
        if share.whole:
            drawn.records[share.group] = _record(group, request, counted)
        elif counted is not None:
            drawn.tallies[share.group] = counted
    return drawn.partial()


def _vary(values: Floats) -> bool:
    """Whether there are two different ones, so that resampling can show anything."""
    return len(values) > 1 and bool(values.min() < values.max())


def _add_up(values: Floats) -> bool:
    """Whether no sum of a resample could be too large for a float."""
    return math.isfinite(len(values) * float(np.abs(values).max()))


def _resampled(values: Floats, request: BootstrapRequest, share: Share) -> Tally | None:
    """The tally of the resampled estimates; None where they would show nothing."""
    if not (_vary(values) and _add_up(values)):
        return None
    estimator = _estimator(values, request)
    return tally(estimator.resampled(stream(request.seed, share), share.resamples))


def _estimator(values: Floats, request: BootstrapRequest) -> Estimator:
    return ESTIMATORS[request.estimator](values)


def combine(table: Table, request: BootstrapRequest, partials: Sequence[Json]) -> Json:
    """The answer: the intervals of each group, as its part has them, or from its tally."""
    drawn = Drawn.joined(partials)
    return {
        "estimator": request.estimator,
        "n_resamples": request.n_resamples,
        "confidence": request.confidence,
        "seed": request.seed,
        "groups": [
            {
                **group.label,
                **(drawn.records.get(place) or _record(group, request, drawn.tallies.get(place))),
            }
            for place, group in enumerate(_groups(table, request))
        ],
    }


def _record(group: Group, request: BootstrapRequest, counted: Tally | None) -> dict[str, Json]:
    values = group.selection.values()
    error: float | None = None
    percentile: _Interval = (None, None)
    bca: _Interval = (None, None)
    estimate = _estimate(group, request, values)
    if counted is not None:
        estimator = _estimator(values, request)
        distribution = estimator.distribution(counted)
        error = distribution.deviation()
        percentile = distribution.interval(request.confidence)
        share_below = distribution.share_below(estimator.estimate())
        levels = bca_levels(share_below, estimator.influence(), request.confidence)
        if levels is not None:
            bca = distribution.quantile(levels[0]), distribution.quantile(levels[1])
    elif len(values) > 1 and not _vary(values):
        error, percentile, bca = 0.0, (estimate, estimate), (estimate, estimate)
    return {
        "n": len(values),
        "estimate": estimate,
        "standard_error": error,
        "percentile_low": percentile[0],
        "percentile_high": percentile[1],
        "bca_low": bca[0],
        "bca_high": bca[1],
    }


def _estimate(group: Group, request: BootstrapRequest, values: Floats) -> float | None:
    """The estimate of all rows; of equal ones exactly their value.

    None of none, and where it, or the sum behind it, is too large for a float.
    """
    if not len(values):
        return None
    if not _vary(values):
        return float(values[0])
    if request.estimator == "mean":
        return finite(group.selection.sums.sum() / len(values))
    with np.errstate(over="ignore"):
        return finite(np.median(values))


ROWS = (
    Statistic(
        "bootstrap_ci",
        "Bootstrap intervals of a mean or median: percentile and BCa.",
        BootstrapRequest,
        partial,
        plan,
        combine,
        merge,
        chart=bootstrap,
        formula=(
            "Percentile: the quantiles (type 7) (1 - c) / 2 and (1 + c) / 2 of the estimates of "
            "all resamples, c being the confidence. BCa: the quantiles "
            "Phi(z0 + (z0 + z) / (1 - a (z0 + z))), where z is the normal quantile of these two, "
            "z0 that of the share of resamples below the estimate (equal ones by half), and a the "
            "skewness of the jackknife, sum(d^3) / (6 sum(d^2)^1.5). "
            "Standard error: the standard deviation of the resampled estimates. "
            "Null where undefined: of fewer than two rows all but the estimate; BCa where leaving "
            "out any one row gives the same estimate (a median among equal values), or all "
            "resamples lie on one side of it; and what is too large for a float. Of equal values "
            "the interval is that value."
        ),
        source=(
            "Efron 1979 (bootstrap); Efron 1987, Better Bootstrap Confidence Intervals (BCa); "
            "Hyndman & Fan 1996, type 7"
        ),
        example={
            "question": "Percent of adults aged 18 years and older who have obesity",
            "states": ["Ohio", "Michigan"],
            "by": "state",
            "n_resamples": 999,
            "seed": 1,
        },
    ),
)
