"""Unweighted means over every row of a question, read off the tree of group sums.

A mean is over all years and strata. A row without a stratum counts in every answer but the
two by category. Where a state has no row with a value, it is left out of answers about all
states, and its mean is None in answers about it alone.
"""

from collections.abc import Iterator

from server.stats.statistic import Json, QuestionRequest, StateRequest, Statistic
from server.table import MISSING, Table

BEST = 5
"""How many states `best5` and `worst5` name."""


def _question_node(table: Table, question: str) -> int | None:
    """The question's node of the first level; None where none of its rows has a value."""
    code = table.names.code("question", question)
    level = table.level("question")
    return None if code is None else table.node("question", code, slice(0, len(level.codes)))


def _location_nodes(table: Table, question: str) -> slice:
    """The nodes of the question's states, in the second level."""
    node = _question_node(table, question)
    return slice(0, 0) if node is None else table.level("question").children(node)


def _location_node(table: Table, request: StateRequest) -> int | None:
    code = table.names.code("location", request.state)
    nodes = _location_nodes(table, request.question)
    return None if code is None else table.node("location", code, nodes)


def _state_means(table: Table, question: str) -> dict[str, float]:
    """The mean of each state that has one, in the order of the states' names."""
    nodes = _location_nodes(table, question)
    level = table.level("location")
    names = table.names.location
    means = level.sums[nodes] / level.counts[nodes]
    return dict(
        zip((names[code] for code in level.codes[nodes].tolist()), means.tolist(), strict=True)
    )


def _state_mean(table: Table, request: StateRequest) -> float | None:
    node = _location_node(table, request)
    if node is None:
        return None
    level = table.level("location")
    return float(level.sums[node] / level.counts[node])


def _global_mean(table: Table, question: str) -> float | None:
    node = _question_node(table, question)
    if node is None:
        return None
    level = table.level("question")
    return float(level.sums[node] / level.counts[node])


def _ascending(means: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(means.items(), key=lambda item: (item[1], item[0]))


def _descending(means: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(means.items(), key=lambda item: (-item[1], item[0]))


def _category_means(table: Table, location_node: int) -> Iterator[tuple[str, str, float]]:
    """(category, stratum, mean) for each stratum of a state's node, in order of their names."""
    categories, strata = table.level("category"), table.level("stratum")
    for category in range(*table.level("location").children(location_node).indices(2**62)):
        if categories.codes[category] == MISSING:
            continue
        name = table.names.category[categories.codes[category]]
        nodes = categories.children(category)
        means = strata.sums[nodes] / strata.counts[nodes]
        for code, mean in zip(strata.codes[nodes].tolist(), means.tolist(), strict=True):
            yield name, table.names.stratum[code], mean


def states_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{state: mean}`, ascending by mean."""
    return dict(_ascending(_state_means(table, request.question)))


def state_mean(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: mean}` of the one state."""
    return {request.state: _state_mean(table, request)}


def best5(table: Table, request: QuestionRequest, part: Json) -> Json:
    """The five best `{state: mean}`, best first: the lowest means where less is better."""
    low = request.question in table.names.better_low
    means = _state_means(table, request.question)
    return dict((_ascending if low else _descending)(means)[:BEST])


def worst5(table: Table, request: QuestionRequest, part: Json) -> Json:
    """The five worst `{state: mean}`, worst first: the highest means where less is better."""
    low = request.question in table.names.better_low
    means = _state_means(table, request.question)
    return dict((_descending if low else _ascending)(means)[:BEST])


def global_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{"global_mean": mean}` over every row of the question."""
    return {"global_mean": _global_mean(table, request.question)}


def diff_from_mean(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{state: global mean - state mean}` for every state."""
    overall = _global_mean(table, request.question)
    if overall is None:
        return {}
    means = _state_means(table, request.question)
    return {state: overall - mean for state, mean in means.items()}


def state_diff_from_mean(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: global mean - state mean}` of the one state."""
    overall, mean = _global_mean(table, request.question), _state_mean(table, request)
    return {request.state: None if overall is None or mean is None else overall - mean}


def mean_by_category(table: Table, request: QuestionRequest, part: Json) -> Json:
    """`{"('Alabama', 'Age (years)', '18 - 24')": mean}`: keys are Python tuples as text."""
    nodes = _location_nodes(table, request.question)
    states = table.level("location").codes[nodes].tolist()
    return {
        repr((table.names.location[state], category, stratum)): mean
        for node, state in enumerate(states, start=nodes.start)
        for category, stratum, mean in _category_means(table, node)
    }


def state_mean_by_category(table: Table, request: StateRequest, part: Json) -> Json:
    """`{state: {"('Age (years)', '18 - 24')": mean}}` of the one state."""
    node = _location_node(table, request)
    means = () if node is None else _category_means(table, node)
    return {request.state: {repr((category, stratum)): mean for category, stratum, mean in means}}


ROWS = (
    Statistic(
        "states_mean", "The mean of every state, lowest first.", QuestionRequest, states_mean
    ),
    Statistic("state_mean", "The mean of one state.", StateRequest, state_mean),
    Statistic("best5", "The five best states, best first.", QuestionRequest, best5),
    Statistic("worst5", "The five worst states, worst first.", QuestionRequest, worst5),
    Statistic("global_mean", "The mean over all rows.", QuestionRequest, global_mean),
    Statistic(
        "diff_from_mean",
        "How far each state lies below the mean over all rows.",
        QuestionRequest,
        diff_from_mean,
    ),
    Statistic(
        "state_diff_from_mean",
        "How far one state lies below the mean over all rows.",
        StateRequest,
        state_diff_from_mean,
    ),
    Statistic(
        "mean_by_category",
        "The mean of every state, category and stratum.",
        QuestionRequest,
        mean_by_category,
    ),
    Statistic(
        "state_mean_by_category",
        "The mean of every category and stratum in one state.",
        StateRequest,
        state_mean_by_category,
    ),
)
