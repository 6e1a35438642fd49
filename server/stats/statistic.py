"""What a statistic is: a row that says how to plan, compute and combine one kind of question."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from server.stats.answer_table import Json as Json  # so that it can be had from here
from server.stats.answer_table import Record
from server.stats.chart import Chart
from server.table import Floats, Table

By = Literal["state", "stratum", "year"]

LARGEST_SEED = 2**53 - 1
"""Every whole number up to this one is the same in any program that reads JSON."""

LEAST_PRIORITY, PRIORITY, GREATEST_PRIORITY = 0, 5, 9


class Unanswerable(Exception):
    """The request asks for what the table does not have or a limit does not allow.

    Raised by a plan; the text is what the client reads.
    """


class JobRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What any request may say about the job itself; a statistic does not look at it."""

    timeout_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="How many seconds the job may take, if less than usual."),
    ] = None
    priority: Annotated[
        int,
        Meta(
            ge=LEAST_PRIORITY,
            le=GREATEST_PRIORITY,
            description="Jobs of a higher priority get more turns at the workers.",
        ),
    ] = PRIORITY


class Filters(JobRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows count; without a field, all do."""

    years: Annotated[
        tuple[int, int] | None,
        Meta(description="The first and the last year; rows without a year do not count then."),
    ] = None
    states: Annotated[
        Annotated[tuple[str, ...], Meta(min_length=1, max_length=1000)] | None,
        Meta(description="Only these states."),
    ] = None
    category: Annotated[
        str | None, Meta(description="Only the strata of this category, such as `Age (years)`.")
    ] = None
    stratum: Annotated[str | None, Meta(description="Only this stratum, such as `18 - 24`.")] = None


class QuestionRequest(Filters, frozen=True, forbid_unknown_fields=True):
    """A request about one question."""

    question: Annotated[str, Meta(description="A question of the table, in full.")]


class StateRequest(QuestionRequest, frozen=True, forbid_unknown_fields=True):
    """A request about one question in one state."""

    state: Annotated[str, Meta(description="A state of the table.")]


class GroupedRequest(QuestionRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request about one question, answered for each group or for all rows as one."""

    by: Annotated[
        By | None, Meta(description="One answer for each state, stratum or year; else one in all.")
    ] = None


Seed = Annotated[
    Annotated[int, Meta(ge=0, le=LARGEST_SEED)] | None,
    Meta(description="The same seed gives the same digits; without one, one is drawn."),
]
"""The type of the field `seed`: the server fills it in before a job is accepted."""

Confidence = Annotated[
    float, Meta(gt=0, lt=1, description="How much confidence the interval is to have.")
]


MOST_PARTS = 50_000
"""How many parts a job may have: at 20 to 40 ms each, some twenty minutes of one core."""


def check_parts(parts: int, hint: str) -> None:
    """Unanswerable where a job would have more parts than MOST_PARTS; `hint` says what helps."""
    if parts > MOST_PARTS:
        raise Unanswerable(
            f"that is too much work: {parts} parts, and at most {MOST_PARTS} are allowed; {hint}"
        )


def one_part(table: Table, request: Any) -> Sequence[Json]:
    """The plan of a statistic that is not worth spreading: a single part without content."""
    return [None]


def only_partial(table: Table, request: Any, partials: Sequence[Json]) -> Json:
    """The combination of a single partial: the partial itself."""
    return partials[0]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One kind of question.

    `plan(table, request)` gives the parts of a job, each JSON-ready; it is asked before the
    job is accepted, so it is quick, and raises Unanswerable for what cannot be. `partial(
    table, request, part)` computes one part in a worker. `merge(request, partials)`, where
    there is one, makes of several neighbours a single partial of the same kind, so that what
    is kept of a job of many parts stays small. `combine(table, request, partials)` makes of
    all, in the order of the plan, what the client reads. All are pure, and what they give
    does not depend on the number of workers. None stands for an undefined value (the mean of
    no rows) and reads `null`.

    `columns` names what the keys and the figures of an answer are that has names as keys,
    `("state", "mean")`; `apart` are fields of its records that its table leaves out.
    `chart(records, data)` makes the picture of an answer, from the rows of its table and the
    answer itself, where the picture that its shape suggests will not do (`charts.by_shape`).

    `formula` and `source` say how a figure is computed and who says so; `example` is a
    request about the shipped table. `docs/statistics.md` is made of them.
    """

    name: str
    summary: str
    request: type[JobRequest]
    partial: Callable[[Table, Any, Json], Json]
    plan: Callable[[Table, Any], Sequence[Json]] = one_part
    combine: Callable[[Table, Any, Sequence[Json]], Json] = only_partial
    merge: Callable[[Any, Sequence[Json]], Json] | None = None
    columns: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    chart: Callable[[Sequence[Record], Json], Chart | None] | None = None
    formula: str = ""
    source: str = ""
    example: Mapping[str, Json] = field(default_factory=dict)


def unit_of(values: Floats) -> float:
    """The greatest power of two that is no larger than all of some values; 1 where all are 0.

    Divided by it they keep their digits, and neither their squares nor sums of many of them
    are too large for a float or, where they matter, too small.
    """
    largest = float(np.abs(values).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - 1) if largest else 1.0


def finite(value: float) -> float | None:
    """`value` as JSON can carry it: None where it is not a number or infinite."""
    return float(value) if math.isfinite(value) else None
