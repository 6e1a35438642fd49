"""What a statistic is: a row that says how to plan, compute and combine one question."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.table import Table

Json = Any
"""A value that JSON can carry: None, bool, int, float, str, list, or dict with str keys."""


class JobRequest(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What any request may say about the job itself; a statistic does not look at it."""

    timeout_s: Annotated[float, Meta(gt=0)] | None = None


class QuestionRequest(JobRequest, frozen=True, forbid_unknown_fields=True):
    """A request about one question."""

    question: str


class StateRequest(QuestionRequest, frozen=True, forbid_unknown_fields=True):
    """A request about one question in one state."""

    state: str


def one_part(table: Table, request: Any) -> Sequence[Json]:
    """The plan of a statistic that is not worth spreading: a single part without content."""
    return [None]


def only_partial(request: Any, partials: Sequence[Json]) -> Json:
    """The combination of a single partial: the partial itself."""
    return partials[0]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One kind of question.

    `plan(table, request)` gives the parts of a job, each JSON-ready; `partial(table,
    request, part)` computes one of them in a worker; `combine(request, partials)` makes of
    all, in the order of the plan, what the client reads. All three are pure, and their
    values do not depend on the number of workers. None stands for an undefined value
    (the mean of no rows) and reads `null`.
    """

    name: str
    summary: str
    request: type[JobRequest]
    partial: Callable[[Table, Any, Json], Json]
    plan: Callable[[Table, Any], Sequence[Json]] = one_part
    combine: Callable[[Any, Sequence[Json]], Json] = only_partial
