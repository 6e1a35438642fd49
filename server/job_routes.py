"""The addresses about jobs, one row each; what they do is in `job_endpoints`."""

from dataclasses import replace
from typing import Annotated, Literal

from msgspec import Meta

from server import answers
from server.errors import (
    AlreadyEnded,
    BadRequest,
    BodyTooLarge,
    KeyReused,
    LengthRequired,
    NoAnswer,
    NoWorkers,
    QueueFull,
    ShuttingDown,
    StorageError,
    StorageFull,
    UnknownJob,
    UnsupportedMedia,
)
from server.http_input import LONGEST_WAIT
from server.route import CSV, JOBS, STATISTICS, Answer, Parameter, Route

_ID = Parameter(
    "job_id",
    "path",
    Annotated[str, Meta(pattern="^(job_id_)?[1-9][0-9]{0,17}$", examples=["7", "job_id_7"])],
    "The job's number, bare or as `job_id_7`. Anything else is no job: 404.",
)
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    Annotated[str, Meta(pattern="^[!-~]{1,255}$")],
    "The same key with the same body gives the same job, as long as that is kept.",
)
_PREFER = Parameter(
    "Prefer",
    "header",
    str,
    "`wait=5` (RFC 7240): wait so many seconds for the result, at most 60.",
)
_SUBMIT_ERRORS = (
    BadRequest,
    LengthRequired,
    BodyTooLarge,
    UnsupportedMedia,
    KeyReused,
    QueueFull,
    NoWorkers,
    StorageError,
    ShuttingDown,
    StorageFull,
)
_NUMBER = Annotated[int, Meta(ge=0, le=10**18 - 1)]
_STATUS = Literal["running", "done", "error", "queued", "failed", "cancelled"]
_POSITIVE = Annotated[int, Meta(ge=1, le=10**18 - 1)]
_ONLY = (
    Parameter("status", "query", _STATUS, "Only jobs of which this is so."),
    Parameter("statistic", "query", answers.StatisticName, "Only jobs of this one."),
)

SUBMIT = Route(
    "POST",
    "/api/{statistic}",
    "{statistic}",
    STATISTICS,
    "",
    {
        200: Answer(
            "The job has ended while the request waited for it, as it wished.",
            answers.Result | answers.Error,
            ("Location", "Preference-Applied"),
        ),
        202: Answer(
            "The job is accepted, and ends.", answers.Accepted, ("Location", "Retry-After")
        ),
    },
    parameters=(_PREFER, _KEY),
    errors=_SUBMIT_ERRORS,
    links={"result": "get_results", "job": "get_job", "cancel": "cancel_job"},
)
"""What the addresses of all statistics have in common."""

JOB_ROUTES = (
    Route(
        "POST",
        "/api/batch",
        "submit_batch",
        JOBS,
        "Many jobs, accepted together or not at all",
        {
            202: Answer(
                "All jobs are accepted, and end.",
                answers.BatchAccepted,
                ("Location", "Retry-After"),
            )
        },
        parameters=(_KEY,),
        errors=_SUBMIT_ERRORS,
    ),
    Route(
        "GET",
        "/api/batch/{batch_id}",
        "get_batch",
        JOBS,
        "How far a batch is",
        {200: Answer("Its jobs that are kept, and its progress.", answers.Batch)},
        parameters=(replace(_ID, name="batch_id", about="The number of the batch."),),
        errors=(UnknownJob, StorageError),
    ),
    Route(
        "GET",
        "/api/get_results/{job_id}",
        "get_results",
        JOBS,
        "The result of a job",
        {
            200: Answer(
                "The result; or that the job has not ended; or why it did not end well.",
                answers.Result | answers.Running | answers.Error,
            )
        },
        parameters=(
            _ID,
            Parameter(
                "wait",
                "query",
                Annotated[float, Meta(ge=0, le=LONGEST_WAIT)],
                "Answer as soon as the job ends, within so many seconds.",
            ),
        ),
        errors=(BadRequest, UnknownJob, StorageError),
    ),
    Route(
        "GET",
        "/api/jobs",
        "list_jobs",
        JOBS,
        "The jobs, by id",
        {200: Answer("At most 10,000 jobs; `next` goes on.", answers.JobList)},
        parameters=(
            Parameter("after", "query", _NUMBER, "Only jobs with a greater number."),
            Parameter("limit", "query", _POSITIVE, "How many at most; above 10,000, 10,000."),
            *_ONLY,
        ),
        errors=(BadRequest, StorageError),
    ),
    Route(
        "GET",
        "/api/history",
        "list_history",
        JOBS,
        "The jobs with everything about each, the newest first",
        {200: Answer("At most 500 jobs; `next` goes on.", answers.History)},
        parameters=(
            Parameter("before", "query", _POSITIVE, "Only jobs with a smaller number."),
            Parameter("limit", "query", _POSITIVE, "How many at most, else 50; above 500, 500."),
            *_ONLY,
        ),
        errors=(BadRequest, StorageError),
    ),
    Route(
        "GET",
        "/api/jobs/{job_id}",
        "get_job",
        JOBS,
        "All about one job",
        {200: Answer("The job's record.", answers.Job)},
        parameters=(_ID,),
        errors=(UnknownJob, StorageError),
    ),
    Route(
        "GET",
        "/api/jobs/{job_id}/table",
        "get_table",
        JOBS,
        "The answer of a job as a table",
        {200: Answer("Columns and rows, as JSON or as CSV.", answers.TableAnswer, text=CSV)},
        about="In CSV (RFC 4180) `null` is empty, and a text that a spreadsheet would run as a "
        "formula begins with an apostrophe.",
        parameters=(
            _ID,
            Parameter("format", "query", Literal["json", "csv"], "`csv` for a file to download."),
        ),
        errors=(BadRequest, UnknownJob, NoAnswer, StorageError),
    ),
    Route(
        "GET",
        "/api/jobs/{job_id}/chart",
        "get_chart",
        JOBS,
        "The answer of a job as a picture",
        {200: Answer("A description in Vega-Lite, to be drawn by Vega.", answers.ChartAnswer)},
        about="The data are in it, as the set `answer`. Its width is that of the place where it "
        "stands, unless it has panels.",
        parameters=(_ID,),
        errors=(UnknownJob, NoAnswer, StorageError),
    ),
    Route(
        "DELETE",
        "/api/jobs/{job_id}",
        "cancel_job",
        JOBS,
        "Cancel a job, whether it waits or runs",
        {200: Answer("The job has ended as cancelled; its record stays.", answers.Cancelled)},
        parameters=(_ID,),
        errors=(UnknownJob, AlreadyEnded, StorageError),
    ),
    Route(
        "GET",
        "/api/num_jobs",
        "count_jobs",
        JOBS,
        "How many jobs have not ended",
        {200: Answer("Their number.", answers.JobCount)},
    ),
)
