"""Do two states, or two strata, differ by more than chance? Tests by permutation.

If the names of two groups said nothing about their values, any split of the pooled values into
groups of these sizes would be as likely as the one that was seen. The p-value is the share of
splits whose means differ by at least as much, in either direction. Where there are few splits,
all are looked at and the test is exact; else random ones are, and the split that was seen
counts as one of them, so that a p-value is never 0 and the test never too bold.

Both directions are counted as they are. SciPy's `permutation_test` doubles the smaller one
instead, which is the same for groups of equal size, and else the test of `abs(difference)`
with `alternative="greater"` is this one.

Differences count as equal to the one seen where the sums behind them differ by less than
1e-9 of the largest deviation from the pooled mean, which is far below one digit of a figure.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Literal, NamedTuple

import numpy as np
from msgspec import Meta

from server.stats.charts_heat import pairs
from server.stats.charts_spread import two_groups
from server.stats.pairs import MOST_SPLITS, Pairs, Schedule, extremes_of, merge_extremes
from server.stats.selection import Group, groups, select
from server.stats.statistic import Json, QuestionRequest, Seed, Statistic, Unanswerable, check_parts
from server.table import Floats, Table

MOST_PAIRS = 10_000
"""How many pairs one request may compare."""


class PermutationRequest(QuestionRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two groups to be compared: two states, or two strata of the rows that count."""

    strata: Annotated[
        tuple[str, str] | None,
        Meta(
            description="The two strata to compare; of all categories that have such strata, or"
            " of `category`. Without it, the two `states` are compared."
        ),
    ] = None
    n_permutations: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="How many random splits to look at, where there are more than that.",
        ),
    ] = 9_999
    seed: Seed = None


class PairwiseRequest(QuestionRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Groups to be compared, each with each."""

    by: Annotated[
        Literal["state", "stratum"], Meta(description="What to compare: states, or strata.")
    ] = "state"
    n_permutations: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="How many random splits to look at for each pair. Of k pairs none can"
            " have `p_holm` below k / (n_permutations + 1).",
        ),
    ] = 999
    seed: Seed = None


_Request = PermutationRequest | PairwiseRequest


def _pairs(compared: Sequence[Group], request: _Request) -> Pairs:
    return Pairs.of([group.selection.n for group in compared], request.n_permutations)


def _parts(compared: Sequence[Group], request: _Request) -> Sequence[Json]:
    parts = Schedule.of(_pairs(compared, request)).parts
    check_parts(parts, "ask for fewer permutations or for fewer groups")
    return range(parts)


def _extremes(compared: Sequence[Group], request: _Request, part: int) -> Json:
    def values(number: int) -> Floats:
        return compared[number].selection.values()

    return extremes_of(part, _pairs(compared, request), values, request.seed)


def _p_values(pairs: Pairs, partials: Sequence[Json]) -> list[float | None]:
    extremes = dict(merge_extremes(None, partials))
    return [pairs.p_value(pair, extremes.get(pair, 0)) for pair in range(len(pairs.first))]


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


# -- two groups -----------------------------------------------------------------------

_WHAT_TO_GIVE = "give two states in `states`, or two strata in `strata`"


def _two(table: Table, request: PermutationRequest) -> list[Group]:
    """The two groups to compare, in the order of the request; either may be empty."""
    rows = select(table, request, request.question)
    if request.strata is not None:
        kind, key, names = "stratum", "stratum", request.strata
    else:
        assert request.states is not None, "the plan has seen to it"
        kind, key, names = "state", "location", (request.states[0], request.states[1])
    codes = rows.codes(key)
    return [Group({kind: name}, rows.where(codes == table.names.code(key, name))) for name in names]


def _check_two(request: PermutationRequest) -> None:
    if request.strata is not None:
        if request.stratum is not None:
            raise Unanswerable("give two strata in `strata`, or one in `stratum`, but not both")
        if len(set(request.strata)) < 2:
            raise Unanswerable(f"the two strata are the same; {_WHAT_TO_GIVE}")
    elif request.states is None or len(request.states) != 2:
        raise Unanswerable(f"there are not two groups to compare: {_WHAT_TO_GIVE}")
    elif len(set(request.states)) < 2:
        raise Unanswerable(f"the two states are the same; {_WHAT_TO_GIVE}")


def _plan_two(table: Table, request: PermutationRequest) -> Sequence[Json]:
    _check_two(request)
    return _parts(_two(table, request), request)


def permutation_test(table: Table, request: PermutationRequest, part: int) -> Json:
    """`{"groups": [{"state": ..., "n": ..., "mean": ...}, {...}], "difference": ..., "p_value":
    ..., "n_permutations": ..., "exact": ..., "seed": ...}`: do two states, or two strata, differ?

    `difference` is the first mean less the second one. `n_permutations` is how many splits the
    p-value rests on, which are all there are where it is `exact`. The groups are in the order
    of the request and say `stratum` where strata are compared; a stratum that several
    categories have is taken from all of them, unless `category` names one. Where a group has no
    rows, `difference` and `p_value` are None.

    What a part gives is how many extreme splits it finds, `[[0, extremes]]`.
    """
    return _extremes(_two(table, request), request, part)


def _answer_two(table: Table, request: PermutationRequest, partials: Sequence[Json]) -> Json:
    compared = _two(table, request)
    pairs = _pairs(compared, request)
    (p_value,) = _p_values(pairs, partials)
    records = [{**label, "n": rows.n, "mean": rows.mean} for label, rows in compared]
    return {
        "groups": records,
        "difference": _difference(records[0]["mean"], records[1]["mean"]),
        "p_value": p_value,
        "n_permutations": int(pairs.exact[0] or pairs.random[0]),
        "exact": bool(pairs.exact[0]),
        "seed": request.seed,
    }


# -- all pairs ------------------------------------------------------------------------


def _all(table: Table, request: PairwiseRequest) -> list[Group]:
    return groups(select(table, request, request.question), request.by)


def _plan_all(table: Table, request: PairwiseRequest) -> Sequence[Json]:
    compared = _all(table, request)
    pairs = len(compared) * (len(compared) - 1) // 2
    if pairs > MOST_PAIRS:
        raise Unanswerable(
            f"that is too much work: {pairs} pairs, and at most {MOST_PAIRS} are allowed;"
            " name fewer states, or a category"
        )
    return _parts(compared, request)


def pairwise_permutation_test(table: Table, request: PairwiseRequest, part: int) -> Json:
    """`{"groups": [{"first": ..., "second": ..., "n_first": ..., "n_second": ..., "difference":
    ..., "p_value": ..., "exact": ..., "p_holm": ...}], "n_permutations": ..., "seed": ...}`:
    one record for each pair of states, or of strata.

    `difference` is the first mean less the second one, `p_holm` the p-value with Holm's
    correction for the number of pairs. By stratum, a record has `first_category` and
    `second_category` too. Pairs are in the order of their names; a group without rows is in
    none. A pair with no more splits than `n_permutations` is tested by all of them.

    What a part gives is how many extreme splits it finds, `[[pair, extremes], ...]`.
    """
    return _extremes(_all(table, request), request, part)


def _answer_all(table: Table, request: PairwiseRequest, partials: Sequence[Json]) -> Json:
    compared = _all(table, request)
    pairs = _pairs(compared, request)
    p_values = _p_values(pairs, partials)
    corrected = _holm(np.array(p_values, dtype=np.float64)).tolist()
    sides = combinations([_Side(label, rows.n, rows.mean) for label, rows in compared], 2)
    records = [
        {
            **_labels(first.label, second.label),
            "n_first": first.n,
            "n_second": second.n,
            "difference": _difference(first.mean, second.mean),
            "p_value": p_value,
            "exact": bool(exact),
            "p_holm": p_holm,
        }
        for (first, second), p_value, exact, p_holm in zip(
            sides, p_values, pairs.exact, corrected, strict=True
        )
    ]
    return {"groups": records, "n_permutations": request.n_permutations, "seed": request.seed}


class _Side(NamedTuple):
    label: dict[str, Json]
    n: int
    mean: float | None


def _labels(first: dict[str, Json], second: dict[str, Json]) -> dict[str, Json]:
    """The names of both groups: the last entry of a label is the name, others say of what."""
    labels: dict[str, Json] = {}
    for side, label in (("first", first), ("second", second)):
        *outer, name = label
        labels |= {f"{side}_{key}": label[key] for key in outer} | {side: label[name]}
    return labels


def _holm(p_values: Floats) -> Floats:
    """Each p-value with Holm's correction for their number, in the same order."""
    count = len(p_values)
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * (count - np.arange(count))
    corrected = np.empty(count)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


_EXAMPLE = "Percent of adults aged 18 years and older who have obesity"

ROWS = (
    Statistic(
        "permutation_test",
        "Whether two states, or two strata, differ by more than chance.",
        PermutationRequest,
        permutation_test,
        plan=_plan_two,
        combine=_answer_two,
        merge=merge_extremes,
        chart=two_groups,
        formula="Of N random splits of the pooled rows into groups of the same sizes, c have means"
        " that differ by at least as much, in either direction: p = (c + 1) / (N + 1). Where there"
        f" are at most n_permutations splits (and at most {MOST_SPLITS:,}), all are looked at:"
        " p = c / N.",
        source="Phipson & Smyth 2010",
        example={
            "question": _EXAMPLE,
            "states": ["Ohio", "Michigan"],
            "n_permutations": 999,
            "seed": 7,
        },
    ),
    Statistic(
        "pairwise_permutation_test",
        "Which states, or strata, differ by more than chance, each pair tested.",
        PairwiseRequest,
        pairwise_permutation_test,
        plan=_plan_all,
        combine=_answer_all,
        merge=merge_extremes,
        chart=pairs,
        formula="Each pair as by permutation_test. With the k p-values ascending, the i-th"
        " p_holm is the largest of min(1, (k - j + 1) p_j) over j up to i.",
        source="Phipson & Smyth 2010; Holm 1979",
        example={
            "question": _EXAMPLE,
            "states": ["Indiana", "Michigan", "Ohio"],
            "n_permutations": 999,
            "seed": 7,
        },
    ),
)
