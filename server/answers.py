"""What the server answers, as types: the schemas of the API's description are made of them.

An answer may hold what its type names and nothing else; a test compares each one that the
running server gives.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.job_state import JobState
from server.pool import Attempt, WorkerInfo

JobId = Annotated[int, Meta(ge=1, description="The job's number.")]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(description="Seconds since 1970, UTC.")]
Progress = Annotated[
    float, Meta(ge=0, le=1, description="The share of the job's parts that are done.")
]


class _Answer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A JSON object with these fields."""


class Accepted(_Answer, tag_field="status", tag="running"):
    """The job is accepted, and ends in exactly one final state."""

    job_id: JobId


class BatchAccepted(_Answer, tag_field="status", tag="running"):
    """The jobs are accepted, each of which ends in exactly one final state."""

    batch_id: JobId
    job_ids: list[JobId]


class Running(_Answer, tag_field="status", tag="running"):
    """The job has not ended; with its progress where it has several parts."""

    progress: Progress | UnsetType = UNSET


class Result(_Answer, tag_field="status", tag="done"):
    """The job's result."""

    data: Annotated[Any, Meta(description="As the statistic's own sentence says.")]


class Error(_Answer, tag_field="status", tag="error"):
    """What was wrong and, where it can be said, what exists."""

    reason: str


class Problem(msgspec.Struct, kw_only=True):
    """The same as RFC 9457 has it, for clients that ask for it."""

    type: str
    title: str
    status: int
    detail: str


class ShutDown(_Answer, tag_field="status", tag="error"):
    """A job that was refused because the server is shutting down."""

    job_id: Literal[-1]
    reason: str


class Cancelled(_Answer, tag_field="status", tag="cancelled"):
    """The job has ended as cancelled."""

    job_id: JobId


class JobDescription(_Answer):
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


class History(_Answer, tag_field="status", tag="done"):
    """Jobs with everything about each, the newest first."""

    data: list[JobDescription]
    next: Annotated[str, Meta(description="The address that goes on.")] | UnsetType = UNSET


class Job(_Answer, tag_field="status", tag="done"):
    """One job."""

    data: JobDescription


class AnswerTable(_Answer):
    """An answer as a table: the columns' names, and rows of as many cells."""

    columns: list[str]
    rows: list[list[bool | int | float | str | None]]


class TableAnswer(_Answer, tag_field="status", tag="done"):
    """The answer of one job as a table."""

    data: AnswerTable


class ChartAnswer(_Answer, tag_field="status", tag="done"):
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


class Batch(_Answer):
    """The jobs of a batch by id, each as `{"job_id_7": "done"}`; done when all have ended."""

    status: Literal["running", "done"]
    progress: Progress
    data: _States


class JobList(_Answer, tag_field="status", tag="done"):
    """Jobs by id, each as `{"job_id_7": "done"}`."""

    data: _States
    next: Annotated[str, Meta(description="The address that goes on.")] | UnsetType = UNSET


class JobCount(_Answer, tag_field="status", tag="done"):
    """How many jobs have not ended, under both names that clients use."""

    data: Count
    num_jobs: Count


class Draining(_Answer):
    """Whether accepted jobs remain (`running`) or all have ended (`done`)."""

    status: Literal["running", "done"]


class Field(_Answer):
    """A field of a statistic's requests; what does not apply to it is left out."""

    name: str
    type: str
    required: bool
    about: Annotated[str, Meta(description="What it says, in a sentence.")]
    optional: Annotated[bool, Meta(description="Whether it may be null.")]
    many: Annotated[bool, Meta(description="Whether it is a list; bounds hold for each in it.")]
    common: Annotated[bool, Meta(description="Whether every request may have it.")]
    default: Annotated[Any, Meta(description="What holds without it.")] | UnsetType = UNSET
    choices: Annotated[list[str], Meta(description="What it may be.")] | UnsetType = UNSET
    minimum: float | UnsetType = UNSET
    maximum: float | UnsetType = UNSET
    exclusive_minimum: float | UnsetType = UNSET
    exclusive_maximum: float | UnsetType = UNSET
    length: Annotated[Count, Meta(description="How many a list has.")] | UnsetType = UNSET
    least: Annotated[Count, Meta(description="How many a list has at least.")] | UnsetType = UNSET
    most: Annotated[Count, Meta(description="How many a list has at most.")] | UnsetType = UNSET
    vocabulary: (
        Annotated[
            Literal["question", "state", "category", "stratum"],
            Meta(description="Of what it is a name that the table has."),
        ]
        | UnsetType
    ) = UNSET


class StatisticDescription(_Answer):
    """A statistic: what it is, where it is asked for, and with what."""

    name: str
    path: str
    summary: str
    fields: list[Field]
    formula: Annotated[str, Meta(description="How its figures are computed.")]
    source: Annotated[str, Meta(description="Who says so.")]
    example: Annotated[dict[str, Any], Meta(description="A request about the shipped table.")]


class StatisticList(_Answer, tag_field="status", tag="done"):
    """Every statistic."""

    data: list[StatisticDescription]


class QuestionDescription(_Answer):
    """A question of the table, and its rows that have a value."""

    question: str
    rows: Count
    years: list[int]
    direction: Annotated[Literal["low", "high"], Meta(description="What is better.")]


class QuestionList(_Answer, tag_field="status", tag="done"):
    """Every question of the table."""

    data: list[QuestionDescription]


class NameList(_Answer, tag_field="status", tag="done"):
    """Names, in order."""

    data: list[str]


class CategoryDescription(_Answer):
    """A category and its strata."""

    category: str
    strata: list[str]


class CategoryList(_Answer, tag_field="status", tag="done"):
    """Every category of the table."""

    data: list[CategoryDescription]


class ComputedJob(_Answer):
    """A job that a worker is at."""

    job_id: JobId
    statistic: str
    progress: Progress


class PoolDescription(_Answer):
    """The workers, and how much waits for them."""

    backend: str
    workers: list[WorkerInfo]
    queued_jobs: Count
    waiting_tasks: Count
    unfinished_jobs: Count
    result_locks: Count
    fingerprint: str
    computing: Annotated[list[ComputedJob], Meta(description="The jobs that workers are at.")]
    ended_jobs: Annotated[Count, Meta(description="How many have ended since the start.")]


class PoolAnswer(_Answer, tag_field="status", tag="done"):
    """The pool as it is now."""

    data: PoolDescription


class TableFacts(_Answer):
    """The table that is served."""

    title: str
    file: Annotated[str, Meta(description="The file's name, without its folder.")]
    rows: Annotated[Count, Meta(description="Rows that have a value.")]
    questions: Count
    states: Count
    years: Annotated[list[int], Meta(description="The first and the last one, or none.")]
    fingerprint: Annotated[str, Meta(description="Equal ones mean the same table.")]
    shared_bytes: Annotated[Count, Meta(description="The shared memory that holds it.")]


class Limits(_Answer):
    """Bounds that the settings give; times in seconds, sizes in bytes."""

    max_queued: Count
    job_timeout: float
    max_attempts: Count
    worker_memory: Count
    worker_max_tasks: Annotated[Count, Meta(description="0: none.")]
    drain_timeout: float
    receive_timeout: float
    result_ttl: Annotated[float | None, Meta(description="Null: for ever.")]
    max_results: Count
    max_body: Count
    max_batch: Annotated[Count, Meta(description="Jobs in one batch.")]
    max_wait: Annotated[float, Meta(description="How long a request may wait for a job.")]


class ServerFacts(_Answer):
    """What the server is, and what it holds to."""

    version: str
    python: str
    libraries: dict[str, str]
    backend: str
    workers: Annotated[Count, Meta(description="How many are wanted.")]
    cores: Annotated[Count, Meta(description="How many the server may use.")]
    durability: str
    started_at: Seconds
    accepting: Annotated[bool, Meta(description="False once the shutdown has begun.")]
    needs_token: bool
    open_reads: Annotated[bool, Meta(description="Whether reads need no token.")]
    table: TableFacts
    limits: Limits


class ServerAnswer(_Answer, tag_field="status", tag="done"):
    """The server as it is now."""

    data: ServerFacts


class Healthy(_Answer, tag_field="status", tag="ok"):
    """All is well."""


class Degraded(_Answer, tag_field="status", tag="degraded"):
    """Jobs are computed, but not as they should be."""

    reason: str
