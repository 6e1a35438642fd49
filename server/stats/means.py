"""Unweighted means over every row of a question, read off the tree of group sums.

A mean is over all years and strata. A row without a stratum counts in every answer but the
two by category. Where a state has no row with a value, it is left out of answers about all
states, and its mean is None in answers about it alone.
"""

from collections.abc import Sequence
from operator import itemgetter

from server.stats.charts_heat import by_strata
from server.stats.charts_ranked import differences
from server.stats.selection import means_by
from server.stats.statistic import Json, QuestionRequest, StateRequest, Statistic
from server.table import MISSING, Table

BEST = 5
"""How many states `best5` and `worst5` name."""

_STRATA = ("location", "category", "stratum")


def _state_means(table: Table, request: QuestionRequest) -> dict[str, float]:
    """The mean of each state that has one, in the order of the states' names."""
    (codes,), means = means_by(table, request, ("location",))
    return dict(zip(map(table.names.location.__getitem__, codes), means, strict=True))


def _state_mean(table: Table, request: StateRequest) -> float | None:
    _, means = means_by(table, request, ("location",), request.state)
    return means[0] if means else None


def _global_mean(table: Table, request: QuestionRequest) -> float | None:
    _, means = means_by(table, request, ())
    return means[0] if means else None


def _ascending(means: dict[str, float]) -> list[tuple[str, float]]:
    """The lowest first; equal ones stay in the order of their names."""
    return sorted(means.items(), key=itemgetter(1))


def _descending(means: dict[str, float]) -> list[tuple[str, float]]:
    """The highest first; equal ones stay in the order of their names."""
    return sorted(means.items(), key=itemgetter(1), reverse=True)


def states_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{state: mean}`, ascending by mean."""
    return dict(_ascending(_state_means(table, request)))


def state_mean(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: mean}` of the one state."""
    return {request.state: _state_mean(table, request)}


def best5(table: Table, request: QuestionRequest, part: Json) -> Json:
    """The five best `{state: mean}`, best first: the lowest means where less is better."""
    low = request.question in table.names.better_low
    means = _state_means(table, request)
    return dict((_ascending if low else _descending)(means)[:BEST])


def worst5(table: Table, request: QuestionRequest, part: Json) -> Json:
    """The five worst `{state: mean}`, worst first: the highest means where less is better."""
    low = request.question in table.names.better_low
    means = _state_means(table, request)
    return dict((_descending if low else _ascending)(means)[:BEST])


def global_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{"global_mean": mean}` over every row of the question."""
    return {"global_mean": _global_mean(table, request)}


def diff_from_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{state: global mean - state mean}` for every state."""
    overall = _global_mean(table, request)
    if overall is None:
        return {}
    return {state: overall - mean for state, mean in _state_means(table, request).items()}


def state_diff_from_mean(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: global mean - state mean}` of the one state."""
    overall, mean = _global_mean(table, request), _state_mean(table, request)
    return {request.state: None if overall is None or mean is None else overall - mean}


def mean_by_category(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{"('Alabama', 'Age (years)', '18 - 24')": mean}`: keys are Python tuples as text."""
    names = table.names
    locations, categories, strata = map(_texts, (names.location, names.category, names.stratum))
    codes, means = means_by(table, request, _STRATA)
    return {
        f"({locations[location]}, {categories[category]}, {strata[stratum]})": mean
        for location, category, stratum, mean in zip(*codes, means, strict=True)
        if category != MISSING
    }


def state_mean_by_category(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: {"('Age (years)', '18 - 24')": mean}}` of the one state."""
    categories, strata = map(_texts, (table.names.category, table.names.stratum))
    (_, *codes), means = means_by(table, request, _STRATA, request.state)
    return {
        request.state: {
            f"({categories[category]}, {strata[stratum]})": mean
            for category, stratum, mean in zip(*codes, means, strict=True)
            if category != MISSING
        }
    }


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
