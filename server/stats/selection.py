"""Which rows a request is about, and how they fall into groups.

A selection is a set of nodes of the table's tree: runs of rows that share a prefix of the
sort keys. Sums and counts are read off the nodes; the rows themselves only where a statistic
needs every value. So its cost follows the number of nodes below the question, whatever the
number of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from server.stats.statistic import By, Filters, Json, QuestionRequest
from server.table import KEYS, MISSING, NO_YEAR, Codes, Floats, Offsets, Table

Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


class Rows(NamedTuple):
    """The rows of a selection, in the order of the table: three arrays of equal length.

    `weight` is NaN where a row has none, `year` is `NO_YEAR` where there is none.
    """

    value: Floats
    weight: Floats
    year: Codes


@dataclass(frozen=True, slots=True)
class Selection:
    """Some nodes of the level `key`, ascending. Arrays have one entry for each of them."""

    table: Table
    key: str
    nodes: Indices

    @property
    def sums(self) -> Floats:
        """The sum of each node's values."""
        return self.table.level(self.key).sums[self.nodes]

    @property
    def counts(self) -> Offsets:
        """How many rows each node has, at least one."""
        return self.table.level(self.key).counts[self.nodes]

    def codes(self, key: str) -> Codes:
        """Each node's code of the column `key`: one of the sort keys up to the own level's."""
        if key == self.key:
            return self.table.level(key).codes[self.nodes]
        column: Codes = getattr(self.table, key)
        return column[self._rows_before(self.nodes)]

    def where(self, mask: Mask) -> "Selection":
        """The nodes for which the mask holds."""
        return Selection(self.table, self.key, self.nodes[mask])

    @property
    def n(self) -> int:
        """How many rows are selected."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float | None:
        """The mean of all values; None where there is none."""
        return float(self.sums.sum() / n) if (n := self.n) else None

    def values(self) -> Floats:
        """The values of the selected rows, in the order of the table."""
        return self.table.value[self._rows()]

    def rows(self) -> Rows:
        """The selected rows, in the order of the table."""
        where = self._rows()
        return Rows(self.table.value[where], self.table.weight[where], self.table.year[where])

    def _rows(self) -> slice | Offsets:
        """Where the selected rows lie: a slice where it is one run, so that nothing is copied."""
        if not len(self.nodes):
            return slice(0, 0)
        firsts, counts = self._rows_before(self.nodes), self.counts
        end = int(firsts[-1] + counts[-1])
        n = int(counts.sum())
        if end - int(firsts[0]) == n:
            return slice(int(firsts[0]), end)
        places = np.cumsum(counts) - counts
        return np.repeat(firsts - places, counts) + np.arange(n)

    def _rows_before(self, nodes: Indices) -> Offsets:
        """How many rows of the table lie before each node: where its first row is."""
        for level in self.table.levels[KEYS.index(self.key) :]:
            nodes = level.starts[nodes]
        return nodes


def select(table: Table, request: Filters, question: str, state: str | None = None) -> Selection:
    """The rows of `question` that the request's filters let through, perhaps none.

    With a `state` only those of that one.
    """
    selection = _all_of(table, "year", question, state)
    if request.years is not None:
        first, last = request.years
        years = selection.codes("year")
        selection = selection.where((years >= first) & (years <= last) & (years != NO_YEAR))
    if request.states is not None:
        codes = [table.names.code("location", state) for state in request.states]
        wanted = [code for code in codes if code is not None]
        selection = selection.where(np.isin(selection.codes("location"), wanted))
    if request.category is not None:
        wanted_category = table.names.code("category", request.category)
        selection = selection.where(selection.codes("category") == wanted_category)
    if request.stratum is not None:
        wanted_stratum = table.names.code("stratum", request.stratum)
        selection = selection.where(selection.codes("stratum") == wanted_stratum)
    return selection


def _all_of(table: Table, key: str, question: str, state: str | None) -> Selection:
    """Every node of the level `key` below the question, or below the state of that."""
    nodes = _span(table, key, question, state)
    return Selection(table, key, np.arange(nodes.start, nodes.stop))


def _span(table: Table, key: str, question: str, state: str | None) -> slice:
    """Where the nodes of the level `key` lie that are below the question, or its state."""
    node = _node(table, question, state)
    if node is None:
        return slice(0, 0)
    start, stop = node, node + 1
    for level in table.levels[0 if state is None else 1 : KEYS.index(key)]:
        start, stop = level.starts.item(start), level.starts.item(stop)
    return slice(start, stop)


def _node(table: Table, question: str, state: str | None) -> int | None:
    """The node of the question, or that of the state below it; None where there is none."""
    top = table.levels[0]
    node = table.find("question", question, slice(0, len(top.codes)))
    if state is None or node is None:
        return node
    return table.find("location", state, top.children(node))


# -- groups ---------------------------------------------------------------------------


MOST_SHARES = 256
"""How many parts the groups of a job are dealt to: each part has to find all groups anew."""


class Group(NamedTuple):
    """The part of a selection that shares a label: `{"state": "Ohio"}`, or `{}` for all."""

    label: dict[str, Json]
    selection: Selection


_SORT_KEYS: dict[By, tuple[str, ...]] = {
    "state": ("location",),
    "stratum": ("category", "stratum"),
    "year": ("year",),
}


def groups(selection: Selection, by: By | None) -> list[Group]:
    """The groups of a selection that have a row, in the order of their names or years.

    By stratum, a label has the category too, and rows without a stratum are in no group; by
    year, rows without a year are in none. Without `by`, all rows are one group, also of none.
    """
    if by is None:
        return [Group({}, selection)]
    order, firsts, codes = _grouped(selection, _SORT_KEYS[by])
    runs = np.split(order, firsts[1:]) if len(order) else []
    listed = (each.tolist() for each in codes)
    labels = [_label(selection.table, by, each) for each in zip(*listed, strict=True)]
    return [
        Group(label, Selection(selection.table, selection.key, selection.nodes[run]))
        for label, run in zip(labels, runs, strict=True)
        if label is not None
    ]


def _label(table: Table, by: By, codes: tuple[int, ...]) -> dict[str, Json] | None:
    """The label of a group; None where it has no name."""
    names = table.names
    match by:
        case "state":
            return {"state": names.location[codes[0]]}
        case "stratum" if MISSING not in codes:
            return {"category": names.category[codes[0]], "stratum": names.stratum[codes[1]]}
        case "year" if codes[0] != NO_YEAR:
            return {"year": int(codes[0])}
    return None


def shares(table: Table, question: str, by: By | None, rows: int) -> Sequence[Json]:
    """The parts `[number, of how many]` of a job over groups: about `rows` rows to each.

    There are at most `MOST_SHARES`, and one where there are no more rows, or without `by`.
    Rows that a filter keeps out are counted: nothing but the question's node is looked at.
    """
    all_rows = _all_of(table, "question", question, None).n
    of = 1 if by is None else min(max(-(-all_rows // rows), 1), MOST_SHARES)
    return [[number, of] for number in range(of)]


def groups_of_share(selection: Selection, by: By | None, part: Json) -> list[Group]:
    """The groups of a selection that belong to a part of `shares`.

    They are neighbours, and each is in exactly one part: that in which its middle row is.
    """
    number, of = part
    found = groups(selection, by)
    if of == 1:
        return found
    counts = np.array([group.selection.n for group in found], dtype=np.int64)
    ends = np.cumsum(counts)
    numbers = (2 * ends - counts) * of // (2 * ends[-1:])
    return [group for group, own in zip(found, numbers.tolist(), strict=True) if own == number]


class GroupMeans(NamedTuple):
    """Means by one or more keys: each array has one entry for each group, in their order."""

    codes: tuple[Codes, ...]
    means: Floats


def means_by(
    table: Table, request: QuestionRequest, keys: tuple[str, ...], state: str | None = None
) -> GroupMeans:
    """The mean of each group of the request's rows that share the codes of `keys`.

    `keys` are the sort keys from the location on, without a gap, as many as are wanted; with
    none, all rows are one group. Without filters each group is one node of the tree. With a
    `state` only the rows of that one count.
    """
    if not is_filtered(request):
        key = keys[-1] if keys else "question"
        nodes, level = _span(table, key, request.question, state), table.level(key)
        means = level.sums[nodes] / level.counts[nodes]
        return GroupMeans(_codes_of(table, keys, nodes), means)
    selection = select(table, request, request.question, state)
    order, firsts, codes = _grouped(selection, keys)
    if not len(order):
        return GroupMeans(codes, np.zeros(0))
    sums = np.add.reduceat(selection.sums[order], firsts)
    counts = np.add.reduceat(selection.counts[order], firsts)
    return GroupMeans(codes, sums / counts)


def mean_of(table: Table, request: QuestionRequest, state: str | None = None) -> float | None:
    """The mean of all rows of the request, or of those of the `state`; None where there is none.

    The same figure as `means_by` gives, read off one node where no filter is set.
    """
    if is_filtered(request):
        keys = () if state is None else ("location",)
        means: list[float] = means_by(table, request, keys, state).means.tolist()
        return means[0] if means else None
    node = _node(table, request.question, state)
    if node is None:
        return None
    level = table.levels[0 if state is None else 1]
    return level.sums.item(node) / level.counts.item(node)


def _codes_of(table: Table, keys: tuple[str, ...], nodes: slice) -> tuple[Codes, ...]:
    """The codes of `keys` of neighbouring nodes of the level of the last one."""
    if len(keys) < 2:
        return tuple(table.level(key).codes[nodes] for key in keys)
    selection = Selection(table, keys[-1], np.arange(nodes.start, nodes.stop))
    return tuple(map(selection.codes, keys))


def is_filtered(request: Filters) -> bool:
    """Whether the request has a filter."""
    return not (
        request.years is None
        and request.states is None
        and request.category is None
        and request.stratum is None
    )


def _grouped(
    selection: Selection, keys: tuple[str, ...]
) -> tuple[Indices, Indices, tuple[Codes, ...]]:
    """The nodes in the order of their groups, where each group begins, and its codes."""
    columns = [selection.codes(key) for key in keys]
    n = len(selection.nodes)
    order = np.lexsort(columns[::-1]) if columns else np.arange(n)
    begins = np.zeros(n, dtype=bool)
    begins[:1] = True
    for column in columns:
        begins[1:] |= np.diff(column[order]) != 0
    firsts = np.flatnonzero(begins)
    return order, firsts, tuple(column[order[firsts]] for column in columns)
