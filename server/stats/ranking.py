"""How sure a ranking of the states is: what becomes of it in resamples of their rows.

The rows of each state are drawn anew, with replacement and independently of other states, and
the states are ranked by the means of what was drawn, as `best5` ranks them. Means that differ
by less than 1e-9 of the largest value count as equal, and of equal ones the first by name is
ahead. Where many states are nearly equal, such intervals are rather too narrow than too wide
(Hall & Miller 2009).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from server.stats.charts_spread import ranks
from server.stats.means import BEST
from server.stats.selection import Group, groups, select
from server.stats.statistic import (
    Confidence,
    Json,
    QuestionRequest,
    Seed,
    Statistic,
    Unanswerable,
    check_parts,
    unit_of,
)
from server.table import Floats, Offsets, Table

_PART_DRAWS = 10_000_000
_BLOCK_DRAWS = 16_000  # arrays of more than 128 KiB would be taken from the kernel anew each time
_FEW = 400
"""Of no more states the partials fit into one message, however many resamples there are."""

MOST_RANKS = 10_000_000
"""Of more states, how many counts of a state at a rank all partials may have together."""

_TOLERANCE = 1e-9
_OFFSET = 1 / math.pi  # so that no mean of decimals lies at the border between two steps

Counts = npt.NDArray[np.int64]


class RankingRequest(QuestionRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The states that have rows, ranked by their means."""

    n_resamples: Annotated[
        int, Meta(ge=1, le=10_000_000, description="How many times to draw the rows anew.")
    ] = 9_999
    confidence: Confidence = 0.95
    seed: Seed = None


def _states(table: Table, request: RankingRequest) -> list[Group]:
    return groups(select(table, request, request.question), "state")


def _chunk(states: Sequence[Group]) -> int:
    """How many resamples make a part: as many as draw some ten million rows."""
    return max(1, _PART_DRAWS // max(1, sum(state.selection.n for state in states)))


def _plan(table: Table, request: RankingRequest) -> Sequence[Json]:
    states = _states(table, request)
    chunk = _chunk(states)
    parts = -(-request.n_resamples // chunk)
    check_parts(parts, "ask for fewer resamples or for fewer rows")
    _check_ranks(len(states), min(chunk, request.n_resamples), parts)
    return range(parts)


def _check_ranks(states: int, resamples: int, parts: int) -> None:
    """Unanswerable where the counts of so many parts, of so many resamples each, are too many."""
    counts = max(states**2, parts * states * min(states, resamples))
    if states > _FEW and counts > MOST_RANKS:
        raise Unanswerable(
            f"that is too much work: the ranks of {states} states in so many resamples are more"
            " than can be kept; ask for fewer resamples, or name fewer states"
        )


def ranking_stability(table: Table, request: RankingRequest, part: int) -> Json:
    """`{"groups": [{"state": ..., "n": ..., "mean": ..., "rank": ..., "share_in_best5": ...,
    "rank_low": ..., "rank_high": ...}], "n_resamples": ..., "confidence": ..., "seed": ...}`:
    how sure the rank of each state is, best first.

    Rank 1 is the best: the lowest mean where less is better. `share_in_best5` is the share of
    resamples in which the state is among the best five. `rank_low` and `rank_high` are the
    smallest ranks that at least (1 - confidence) / 2 and (1 + confidence) / 2 of its ranks in
    the resamples do not exceed. A state without rows is left out.

    What a part gives is how often it saw each state at each rank, as two lists: the places in
    a matrix of states (by name) and ranks, each as its distance from the one before, and the
    counts there, which are not 0.
    """
    states = _states(table, request)
    chunk = _chunk(states)
    count = min(chunk, request.n_resamples - part * chunk)
    values = _in_one_unit([state.selection.values() for state in states])
    means = np.empty((len(values), count))
    for number, (rows, row) in enumerate(zip(values, means, strict=True)):
        stream = np.random.SeedSequence(request.seed, spawn_key=(number, part))
        _resample(rows, np.random.Generator(np.random.PCG64DXSM(stream)), row)
    return _sparse(_rank_counts(means, _quantum(values), _is_low_better(table, request)))


def _in_one_unit(values: Sequence[Floats]) -> list[Floats]:
    """The values of all states, such that no sum of a resample is too large for a float."""
    unit = unit_of(np.array([np.abs(rows).max() for rows in values]))
    return [rows / unit for rows in values]


def _resample(values: Floats, random: np.random.Generator, means: Floats) -> None:
    """Fill `means` with those of as many resamples of the values."""
    n = len(values)
    for block in _blocks(n, len(means)):
        picked = random.integers(0, n, size=(block.stop - block.start, n))
        means[block] = values.take(picked).mean(axis=1)


def _blocks(n: int, count: int) -> Iterator[slice]:
    """Runs of resamples of `n` rows, small enough to stay in the cache."""
    step = max(1, _BLOCK_DRAWS // n)
    return (slice(at, min(at + step, count)) for at in range(0, count, step))


# -- ranks ----------------------------------------------------------------------------


def _is_low_better(table: Table, request: RankingRequest) -> bool:
    return request.question in table.names.better_low


def _quantum(values: Sequence[Floats]) -> float:
    """The least difference of means that counts."""
    largest = max((float(np.abs(rows).max()) for rows in values), default=0.0)
    return _TOLERANCE * largest or 1.0


def _order(means: Floats, quantum: float, low: bool) -> Offsets:
    """The numbers of the states, best first, down each column of means."""
    steps = np.rint(means / quantum + _OFFSET)
    return np.argsort(steps if low else -steps, axis=0, kind="stable")


def _rank_counts(means: Floats, quantum: float, low: bool) -> Counts:
    """How often each state (row) has each rank (column), over the columns of means."""
    states = len(means)
    order = _order(means, quantum, low)
    places = order * states + np.arange(states)[:, None]
    return np.bincount(places.ravel(), minlength=states**2).reshape(states, states)


def _sparse(counts: Counts) -> list[list[int]]:
    places = np.flatnonzero(counts)
    return [np.diff(places, prepend=0).tolist(), counts.ravel()[places].tolist()]


def _dense(partials: Sequence[Json]) -> Counts:
    """The sum of all partials, as long as the last place needs."""
    places = [np.cumsum(np.array(steps, dtype=np.int64)) for steps, _ in partials]
    length = max((int(each[-1]) + 1 for each in places if len(each)), default=0)
    total = np.zeros(length, dtype=np.int64)
    for each, (_, counts) in zip(places, partials, strict=True):
        total[each] += np.array(counts, dtype=np.int64)
    return total


def _merge(request: Json, partials: Sequence[Json]) -> Json:
    """The partials as one: their counts added."""
    return _sparse(_dense(partials))


def _answer(table: Table, request: RankingRequest, partials: Sequence[Json]) -> Json:
    states = _states(table, request)
    number = len(states)
    counts = np.zeros(number**2, dtype=np.int64)
    known = _dense(partials)
    counts[: len(known)] = known
    reached = np.cumsum(counts.reshape(number, number), axis=1)
    means = np.array([state.selection.mean for state in states], dtype=np.float64)
    quantum = _quantum([state.selection.values() for state in states])
    order = _order(means, quantum, _is_low_better(table, request)).tolist()
    return {
        "groups": [
            {
                **states[place].label,
                "n": states[place].selection.n,
                "mean": states[place].selection.mean,
                "rank": rank,
                **_stability(reached[place], request),
            }
            for rank, place in enumerate(order, 1)
        ],
        "n_resamples": request.n_resamples,
        "confidence": request.confidence,
        "seed": request.seed,
    }


def _stability(reached: Counts, request: RankingRequest) -> dict[str, Any]:
    """What one state's counts of ranks say, given how many are at most 1, 2, ..."""
    n = request.n_resamples
    tail = (1 - request.confidence) / 2
    at_least = [max(share * n - _TOLERANCE * n, 1) for share in (tail, 1 - tail)]
    low, high = np.searchsorted(reached, at_least)
    return {
        "share_in_best5": int(reached[:BEST][-1]) / n,
        "rank_low": int(low) + 1,
        "rank_high": int(high) + 1,
    }


ROWS = (
    Statistic(
        "ranking_stability",
        "How sure the ranking of the states is, and which are the five best.",
        RankingRequest,
        ranking_stability,
        plan=_plan,
        combine=_answer,
        merge=_merge,
        chart=ranks,
        formula="Each resample draws the n rows of every state with replacement and ranks the"
        " states by their means. share_in_best5 is the share of resamples with a rank of at most 5;"
        " rank_low and rank_high are quantiles of the ranks (inverse distribution function).",
        source="Efron 1979; Goldstein & Spiegelhalter 1996; quantiles: Hyndman & Fan 1996, type 1",
        example={
            "question": "Percent of adults aged 18 years and older who have obesity",
            "n_resamples": 999,
            "seed": 7,
        },
    ),
)
