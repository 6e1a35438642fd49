"""What the server answers about its table and itself, as types; see `answers`."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from server.answers import Count, JobId, JsonAnswer, Progress, Seconds
from server.pool import WorkerInfo


class Field(JsonAnswer):
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


class StatisticDescription(JsonAnswer):
    """A statistic: what it is, where it is asked for, and with what."""

    name: str
    path: str
    summary: str
    fields: list[Field]
    formula: Annotated[str, Meta(description="How its figures are computed.")]
    source: Annotated[str, Meta(description="Who says so.")]
    example: Annotated[dict[str, Any], Meta(description="A request about the shipped table.")]


class StatisticList(JsonAnswer, tag_field="status", tag="done"):
    """Every statistic."""

    data: list[StatisticDescription]


class QuestionDescription(JsonAnswer):
    """A question of the table, and its rows that have a value."""

    question: str
    rows: Count
    years: list[int]
    direction: Annotated[Literal["low", "high"], Meta(description="What is better.")]


class QuestionList(JsonAnswer, tag_field="status", tag="done"):
    """Every question of the table."""

    data: list[QuestionDescription]


class NameList(JsonAnswer, tag_field="status", tag="done"):
    """Names, in order."""

    data: list[str]


class CategoryDescription(JsonAnswer):
    """A category and its strata."""

    category: str
    strata: list[str]


class CategoryList(JsonAnswer, tag_field="status", tag="done"):
    """Every category of the table."""

    data: list[CategoryDescription]


class ComputedJob(JsonAnswer):
    """A job that a worker is at."""

    job_id: JobId
    statistic: str
    progress: Progress


class PoolDescription(JsonAnswer):
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


class PoolAnswer(JsonAnswer, tag_field="status", tag="done"):
    """The pool as it is now."""

    data: PoolDescription


class TableFacts(JsonAnswer):
    """The table that is served."""

    title: str
    file: Annotated[str, Meta(description="The file's name, without its folder.")]
    rows: Annotated[Count, Meta(description="Rows that have a value.")]
    questions: Count
    states: Count
    years: Annotated[list[int], Meta(description="The first and the last one, or none.")]
    fingerprint: Annotated[str, Meta(description="Equal ones mean the same table.")]
    shared_bytes: Annotated[Count, Meta(description="The shared memory that holds it.")]


class Limits(JsonAnswer):
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


class ServerFacts(JsonAnswer):
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


class ServerAnswer(JsonAnswer, tag_field="status", tag="done"):
    """The server as it is now."""

    data: ServerFacts


class Healthy(JsonAnswer, tag_field="status", tag="ok"):
    """All is well."""


class Degraded(JsonAnswer, tag_field="status", tag="degraded"):
    """Jobs are computed, but not as they should be."""

    reason: str
