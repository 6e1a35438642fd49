"""What the server answers, as types: the schemas of the API's description are made of them.

An answer may hold what its type names and nothing else; a test compares each one that the
running server gives.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.job_state import JobState
from server.pool import Attempt

JobId = Annotated[int, Meta(ge=1, description="The job's number.")]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(description="Seconds since 1970, UTC.")]
Progress = Annotated[
    float, Meta(ge=0, le=1, description="The share of the job's parts that are done.")
]


class JsonAnswer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A JSON object with these fields."""


class Accepted(JsonAnswer, tag_field="status", tag="running"):
    """The job is accepted, and ends in exactly one final state."""

    job_id: JobId


class BatchAccepted(JsonAnswer, tag_field="status", tag="running"):
    """The jobs are accepted, each of which ends in exactly one final state."""

    batch_id: JobId
    job_ids: list[JobId]


class Running(JsonAnswer, tag_field="status", tag="running"):
    """The job has not ended; with its progress where it has several parts."""

    progress: Progress | UnsetType = UNSET


class Result(JsonAnswer, tag_field="status", tag="done"):
    """The job's result."""

    data: Annotated[Any, Meta(description="As the statistic's own sentence says.")]


class Error(JsonAnswer, tag_field="status", tag="error"):
    """What was wrong and, where it can be said, what exists."""

    reason: str


class Problem(msgspec.Struct, kw_only=True):
    """The same as RFC 9457 has it, for clients that ask for it."""

    type: str
    title: str
    status: int
    detail: str


class ShutDown(JsonAnswer, tag_field="status", tag="error"):
    """A job that was refused because the server is shutting down."""

    job_id: Literal[-1]
    reason: str


class Cancelled(JsonAnswer, tag_field="status", tag="cancelled"):
    """The job has ended as cancelled."""

    job_id: JobId


class JobDescription(JsonAnswer):
    """Everything about one job."""

    job_id: JobId
    statistic: str
    request: Annotated[dict[str, Any], Meta(description="As it was accepted, with its seed.")]
    fingerprint: Annotated[str, Meta(description="Equal ones mean the same table.")]
    state: JobState
    accepted_at: Seconds
    started_at: Seconds | None
    ended_at: Seconds | None
    reason: Annotated[str | None, Meta(description="Why the job did not end well.")]
    attempts: Annotated[list[Attempt], Meta(description="Each try that cost a worker its life.")]
    progress: Progress
    idempotency_key: Annotated[str | None, Meta(description="What the client called it.")]
    batch: Annotated[JobId | None, Meta(description="The batch that it came with.")]
    cached_from: Annotated[JobId | None, Meta(description="The job whose answer it was given.")]
    request_id: Annotated[str | None, Meta(description="Of the request that it came with.")]
    links: Annotated[dict[str, str], Meta(description="Addresses about the job.")]
    parts: Annotated[Count, Meta(description="While the job lives.")] | UnsetType = UNSET


class History(JsonAnswer, tag_field="status", tag="done"):
    """Jobs with everything about each, the newest first."""

    data: list[JobDescription]
    next: Annotated[str, Meta(description="The address that goes on.")] | UnsetType = UNSET


class Job(JsonAnswer, tag_field="status", tag="done"):
    """One job."""

    data: JobDescription


class AnswerTable(JsonAnswer):
    """An answer as a table: the columns' names, and rows of as many cells."""

    columns: list[str]
    rows: list[list[bool | int | float | str | None]]


class TableAnswer(JsonAnswer, tag_field="status", tag="done"):
    """The answer of one job as a table."""

    data: AnswerTable


class ChartAnswer(JsonAnswer, tag_field="status", tag="done"):
    """The picture of one job's answer."""

    data: Annotated[
        dict[str, Any] | None,
        Meta(description="Vega-Lite 6, with the data in it; null where no picture fits."),
    ]


StatisticName = Annotated[str, Meta(description="The name of a statistic.")]

_States = list[
    Annotated[
        dict[
            Annotated[str, Meta(pattern="^job_id_[1-9][0-9]*$")],
            Literal["running", "done", "error"],
        ],
        Meta(min_length=1, max_length=1),
    ]
]


class Batch(JsonAnswer):
    """The jobs of a batch by id, each as `{"job_id_7": "done"}`; done when all have ended."""

    status: Literal["running", "done"]
    progress: Progress
    data: _States


class JobList(JsonAnswer, tag_field="status", tag="done"):
    """Jobs by id, each as `{"job_id_7": "done"}`."""

    data: _States
    next: Annotated[str, Meta(description="The address that goes on.")] | UnsetType = UNSET


class JobCount(JsonAnswer, tag_field="status", tag="done"):
    """How many jobs have not ended, under both names that clients use."""

    data: Count
    num_jobs: Count


class Draining(JsonAnswer):
    """Whether accepted jobs remain (`running`) or all have ended (`done`)."""

    status: Literal["running", "done"]
