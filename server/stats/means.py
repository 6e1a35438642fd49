"""Unweighted means over every row of a question, read off the tree of group sums.

A mean is over all years and strata. A row without a stratum counts in every answer but the
two by category. Where a state has no row with a value, it is left out of answers about all
states, and its mean is None in answers about it alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from server.stats.charts_heat import by_strata
from server.stats.charts_ranked import differences
from server.stats.selection import mean_of, means_by
from server.stats.statistic import Json, QuestionRequest, StateRequest, Statistic
from server.table import MISSING, Codes, Floats, Table

BEST = 5
"""How many states `best5` and `worst5` name."""

_STRATA = ("location", "category", "stratum")


def _by_state(table: Table, request: QuestionRequest) -> tuple[Codes, Floats]:
    """The code and the mean of each state that has one, in the order of the states' names."""
    (codes,), means = means_by(table, request, ("location",))
    return codes, means


def _named(table: Table, codes: Codes, figures: Floats) -> dict[str, float]:
    """`{state: figure}`, in this order."""
    names = map(table.names.location.__getitem__, codes.tolist())
    return dict(zip(names, figures.tolist(), strict=True))


def _first(table: Table, request: QuestionRequest, *, lowest: bool) -> dict[str, float]:
    """The states with the lowest or the highest means; equal ones in the order of their names."""
    codes, means = _by_state(table, request)
    order = np.argsort(means if lowest else -means, kind="stable")[:BEST]
    return _named(table, codes[order], means[order])


def states_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{state: mean}`, ascending by mean; equal ones in the order of their names."""
    codes, means = _by_state(table, request)
    order = np.argsort(means, kind="stable")
    return _named(table, codes[order], means[order])


def state_mean(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: mean}` of the one state."""
    return {request.state: mean_of(table, request, request.state)}


def best5(table: Table, request: QuestionRequest, part: Json) -> Json:
    """The five best `{state: mean}`, best first: the lowest means where less is better."""
    return _first(table, request, lowest=request.question in table.names.better_low)


def worst5(table: Table, request: QuestionRequest, part: Json) -> Json:
    """The five worst `{state: mean}`, worst first: the highest means where less is better."""
    return _first(table, request, lowest=request.question not in table.names.better_low)


def global_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{"global_mean": mean}` over every row of the question."""
    return {"global_mean": mean_of(table, request)}


def diff_from_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{state: global mean - state mean}` for every state."""
    overall = mean_of(table, request)
    if overall is None:
        return {}
    codes, means = _by_state(table, request)
    return _named(table, codes, overall - means)


def state_diff_from_mean(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: global mean - state mean}` of the one state."""
    overall, mean = mean_of(table, request), mean_of(table, request, request.state)
    return {request.state: None if overall is None or mean is None else overall - mean}


def mean_by_category(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{"('Alabama', 'Age (years)', '18 - 24')": mean}`: keys are Python tuples as text."""
    names = table.names
    locations, categories, strata = map(_texts, (names.location, names.category, names.stratum))
    codes, means = means_by(table, request, _STRATA)
    return {
        f"({locations[location]}, {categories[category]}, {strata[stratum]})": mean
        for location, category, stratum, mean in _listed(*codes, means)
        if category != MISSING
    }


def state_mean_by_category(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: {"('Age (years)', '18 - 24')": mean}}` of the one state."""
    categories, strata = map(_texts, (table.names.category, table.names.stratum))
    (_, *codes), means = means_by(table, request, _STRATA, request.state)
    return {
        request.state: {
            f"({categories[category]}, {strata[stratum]})": mean
            for category, stratum, mean in _listed(*codes, means)
            if category != MISSING
        }
    }


def _listed(*columns: Codes | Floats) -> Iterator[tuple[Any, ...]]:
    """The entries of columns of equal length side by side, as Python's own numbers."""
    return zip(*(column.tolist() for column in columns), strict=True)


def _texts(names: Sequence[str]) -> list[str]:
    """Each name as it stands in the text of a Python tuple."""
    return [repr(name) for name in names]


_OBESITY = "Percent of adults aged 18 years and older who have obesity"
_SOME = {"question": _OBESITY, "states": ["Iowa", "Michigan", "Ohio"]}
_OHIO = {"question": _OBESITY, "state": "Ohio"}
_MEAN = "The sum of the values of all rows, divided by their number."
_DIFFERENCE = "The mean over all rows less the mean over the rows of the state."
_RANKING = f"{_MEAN} Less is better for the questions that the table's description names."
_STATE_MEAN = ("state", "mean")
_SOURCE = "The arithmetic mean, unweighted."

ROWS = (
    Statistic(
        "states_mean",
        "The mean of every state, lowest first.",
        QuestionRequest,
        states_mean,
        columns=_STATE_MEAN,
        formula=_MEAN,
        source=_SOURCE,
        example=_SOME,
    ),
    Statistic(
        "state_mean",
        "The mean of one state.",
        StateRequest,
        state_mean,
        columns=_STATE_MEAN,
        formula=_MEAN,
        source=_SOURCE,
        example=_OHIO | {"years": [2015, 2019]},
    ),
    Statistic(
        "best5",
        "The five best states, best first.",
        QuestionRequest,
        best5,
        columns=_STATE_MEAN,
        formula=_RANKING,
        source=_SOURCE,
        example={"question": _OBESITY},
    ),
    Statistic(
        "worst5",
        "The five worst states, worst first.",
        QuestionRequest,
        worst5,
        columns=_STATE_MEAN,
        formula=_RANKING,
        source=_SOURCE,
        example={"question": _OBESITY},
    ),
    Statistic(
        "global_mean",
        "The mean over all rows.",
        QuestionRequest,
        global_mean,
        formula=_MEAN,
        source=_SOURCE,
        example={"question": _OBESITY, "category": "Age (years)"},
    ),
    Statistic(
        "diff_from_mean",
        "How far each state lies below the mean over all rows.",
        QuestionRequest,
        diff_from_mean,
        columns=("state", "difference"),
        chart=differences,
        formula=_DIFFERENCE,
        source=_SOURCE,
        example=_SOME,
    ),
    Statistic(
        "state_diff_from_mean",
        "How far one state lies below the mean over all rows.",
        StateRequest,
        state_diff_from_mean,
        columns=("state", "difference"),
        chart=differences,
        formula=_DIFFERENCE,
        source=_SOURCE,
        example=_OHIO,
    ),
    Statistic(
        "mean_by_category",
        "The mean of every state, category and stratum.",
        QuestionRequest,
        mean_by_category,
        columns=("state", "category", "stratum", "mean"),
        chart=by_strata,
        formula=_MEAN,
        source=_SOURCE,
        example=_SOME | {"category": "Age (years)", "stratum": "18 - 24"},
    ),
    Statistic(
        "state_mean_by_category",
        "The mean of every category and stratum in one state.",
        StateRequest,
        state_mean_by_category,
        columns=("state", "category", "stratum", "mean"),
        chart=by_strata,
        formula=_MEAN,
        source=_SOURCE,
        example=_OHIO | {"category": "Age (years)"},
    ),
)
