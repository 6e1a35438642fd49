"""How two questions go together, over the cells that both have, with bootstrap intervals.

A cell is a state, stratum and year; its figure for a question is the mean of its rows. The
cells are resampled with replacement as pairs, as many as there are, and both coefficients
are taken of each resample: of how often it has each cell, not of the cells themselves. A part
gives what is to be said of the groups that it has drawn all resamples of, and of another one the
tallies of its resampled coefficients, two of them.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, NamedTuple

import numpy as np
from msgspec import Meta

from server.stats.charts_ranked import correlations
from server.stats.coefficients import LEAST_CELLS, Cells, Pairs, estimates, grid
from server.stats.resampling import (
    Bundle,
    Distribution,
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
from server.stats.selection import Group, Indices, Mask, Selection, groups, select
from server.stats.statistic import Confidence, GroupedRequest, Json, Seed, Statistic
from server.table import MISSING, NO_YEAR, Floats, Offsets, Table

_PART = 3_600_000
"""What a part costs, in resampled cells at some 10 ns: about 35 ms."""

_OVERHEAD = 32
"""What a resample costs beyond its cells, in cells."""

_COEFFICIENTS = ("pearson", "spearman")


class CorrelationRequest(GroupedRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request about two questions."""

    other_question: Annotated[str, Meta(description="Another question of the table, in full.")]
    n_resamples: Resamples = 9_999
    confidence: Confidence = 0.95
    seed: Seed = None


# -- the cells ------------------------------------------------------------------------


class Matched(NamedTuple):
    """The cells that both questions have; `selection` has their nodes below the first one."""

    selection: Selection
    cells: Cells

    def within(self, group: Group) -> Cells:
        """The cells of one group."""
        here = np.searchsorted(self.selection.nodes, group.selection.nodes)
        return Cells(self.cells.first[here], self.cells.second[here])


def matched(table: Table, request: CorrelationRequest) -> Matched:
    """The cells that both questions have and the filters let through."""
    first, second = (
        _complete(select(table, request, question))
        for question in (request.question, request.other_question)
    )
    shared, places = _shared(first, second)
    both = first.where(shared)
    return Matched(both, Cells(_means(both), _means(second)[places]))


def _means(selection: Selection) -> Floats:
    """The mean of each node, put between its values where rounding left these."""
    means, counts = selection.sums / selection.counts, selection.counts
    if not len(counts) or counts.max() == 1:
        return means
    values, firsts = selection.values(), np.cumsum(counts) - counts
    least, greatest = np.minimum.reduceat(values, firsts), np.maximum.reduceat(values, firsts)
    return np.clip(means, least, greatest)


def _complete(selection: Selection) -> Selection:
    """The nodes that have a stratum and a year."""
    named = selection.codes("stratum") != MISSING
    return selection.where(named & (selection.codes("year") != NO_YEAR))


def _shared(first: Selection, second: Selection) -> tuple[Mask, Indices]:
    """Which nodes of the first have one of the same cell in the second, and where that is."""
    years = np.concatenate([first.codes("year"), second.codes("year")])
    earliest, span = (int(years.min()), int(np.ptp(years)) + 1) if len(years) else (0, 1)
    ours, theirs = (_cell_numbers(each, earliest, span) for each in (first, second))
    places = np.searchsorted(theirs, ours)
    found = places < len(theirs)
    found[found] = theirs[places[found]] == ours[found]
    return found, places[found]


def _cell_numbers(selection: Selection, earliest: int, span: int) -> Offsets:
    """A number for the cell of each node, the same in every question; they ascend."""
    names = selection.table.names
    numbers = selection.codes("location").astype(np.int64)
    for key, vocabulary in (("category", names.category), ("stratum", names.stratum)):
        numbers = numbers * len(vocabulary) + selection.codes(key)
    return numbers * span + (selection.codes("year") - earliest)


# -- the statistic --------------------------------------------------------------------


def _plan(found: Sequence[Group], request: CorrelationRequest) -> list[Bundle]:
    sizes = [len(group.selection.nodes) for group in found]
    costs = [n + _OVERHEAD if n >= LEAST_CELLS else 0 for n in sizes]
    return bundles(costs, request.n_resamples, _PART)


def plan(table: Table, request: CorrelationRequest) -> Sequence[Json]:
    """The parts' numbers. Unanswerable where cells times resamples are too many."""
    found = groups(matched(table, request).selection, request.by)
    return parts_of(_plan(found, request), request.n_resamples)


def partial(table: Table, request: CorrelationRequest, part: int) -> Json:
    """`{"n_resamples": ..., "confidence": ..., "seed": ..., "groups": [{"state": ..., "n": ...,
    "n_undefined": ..., "pearson": ..., "pearson_low": ..., "pearson_high": ..., "spearman": ...,
    "spearman_low": ..., "spearman_high": ...}]}`: n cells, and both coefficients in their
    intervals.
    """
    both = matched(table, request)
    found = groups(both.selection, request.by)
    drawn = Drawn({}, {})
    for share in shares(_plan(found, request), request.n_resamples, part):
        cells = both.within(found[share.group])
        counted = _resampled(cells, request, share)
        if share.whole:
            drawn.records[share.group] = _record(cells, request, counted)
        else:
            drawn.tallies.update(
                (_key(share.group, place), each) for place, each in enumerate(counted)
            )
    return drawn.partial()


def _resampled(cells: Cells, request: CorrelationRequest, share: Share) -> list[Tally]:
    """The tallies of both coefficients; none where the cells themselves have no coefficient."""
    n = len(cells.first)
    if n < LEAST_CELLS:
        return []
    pairs = Pairs(cells, share.resamples)
    estimate = pairs.estimate()
    if estimate is None:
        return []
    resampled = pairs.resampled(stream(request.seed, share), share.resamples)
    return [
        tally(grid(value, n).numbers(values))
        for value, values in zip(estimate, resampled, strict=True)
    ]


def _key(group: int, coefficient: int) -> int:
    """The key of the tally of a group's coefficient."""
    return group * len(_COEFFICIENTS) + coefficient


def combine(table: Table, request: CorrelationRequest, partials: Sequence[Json]) -> Json:
    """The answer: the coefficients of each group in their intervals, as its part has them, or
    from their tallies."""
    drawn = Drawn.joined(partials)
    both = matched(table, request)
    records = []
    for place, group in enumerate(groups(both.selection, request.by)):
        record = drawn.records.get(place)
        if record is None:
            keys = (_key(place, coefficient) for coefficient in range(len(_COEFFICIENTS)))
            own = [drawn.tallies[key] for key in keys if key in drawn.tallies]
            record = _record(both.within(group), request, own)
        records.append({**group.label, **record})
    return {
        "n_resamples": request.n_resamples,
        "confidence": request.confidence,
        "seed": request.seed,
        "groups": records,
    }


def _record(cells: Cells, request: CorrelationRequest, counted: Sequence[Tally]) -> dict[str, Json]:
    n = len(cells.first)
    estimate = estimates(cells) or (None, None)
    known = int(counted[0].counts.sum()) if counted else request.n_resamples
    record: dict[str, Json] = {"n": n, "n_undefined": request.n_resamples - known}
    for name, value, each in zip_longest(_COEFFICIENTS, estimate, counted):
        low = high = None
        if value is not None and each is not None and len(each.numbers):
            points = grid(value, n).points(each.numbers)
            low, high = Distribution(points, each.counts).interval(request.confidence)
        record |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return record


ROWS = (
    Statistic(
        "correlation",
        "Pearson's and Spearman's correlation of two questions, with bootstrap intervals.",
        CorrelationRequest,
        partial,
        plan,
        combine,
        merge,
        chart=correlations,
        formula=(
            "Over the cells (state, stratum, year) that both questions have, each with the mean "
            "of its rows: r = sum((x - mean x)(y - mean y)) / sqrt(sum((x - mean x)^2) "
            "sum((y - mean y)^2)); Spearman's is the same of the ranks, equal figures having the "
            "mean of theirs. Interval: the quantiles (type 7) (1 - c) / 2 and (1 + c) / 2 of the "
            "coefficients of resampled cells, ranked anew in each resample, c being the "
            "confidence; resamples in which a figure is constant have none, are left out and "
            "counted in n_undefined. Null for fewer than three cells or a constant figure."
        ),
        source=(
            "Pearson 1895; Spearman 1904; Efron & Tibshirani 1993 (resampled pairs); "
            "Hyndman & Fan 1996, type 7"
        ),
        example={
            "question": "Percent of adults aged 18 years and older who have obesity",
            "other_question": "Percent of adults who engage in no leisure-time physical activity",
            "states": ["Ohio", "Michigan"],
            "by": "state",
            "n_resamples": 999,
            "seed": 1,
        },
    ),
)
