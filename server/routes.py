"""Every address of the API in one table: parameters, answers, headers, errors.

`openapi` makes the API's description of it. A further parameter, error or header of an
address is one more entry in its row. The statistics are not named here: their addresses
are the rows of the catalogue, and share `SUBMIT`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from msgspec import Meta

from server import answers
from server.errors import (
    AlreadyEnded,
    BadRequest,
    BodyTooLarge,
    Forbidden,
    KeyReused,
    LengthRequired,
    NoAnswer,
    NoChartLibrary,
    NoWorkers,
    QueueFull,
    ShuttingDown,
    SportivError,
    StorageError,
    StorageFull,
    Unauthorized,
    UnknownAsset,
    UnknownJob,
    UnsupportedMedia,
)
from server.http_input import LONGEST_WAIT

JSON = "application/json"
HTML = "text/html"
TEXT = "text/plain"
ANYTHING = "*/*"
CSV = "text/csv"
PROBLEM = "application/problem+json"


NOTHING = type(None)
"""The type of an answer that has no body."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an address; `type` is what msgspec makes its schema of."""

    name: str
    place: Literal["path", "query", "header"]
    type: Any
    about: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no error; `type` is what its body holds.

    `text` is a further media type that can be asked for, whose body is a text.
    """

    about: str
    type: Any
    headers: tuple[str, ...] = ()
    media: str = JSON
    text: str = ""

    @property
    def medias(self) -> tuple[str, ...]:
        """The media types of its body: one, or none where there is no body."""
        return () if self.type is NOTHING else (self.media,)


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one address. `name` identifies it, `tag` is the chapter it stands in."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    about: str = ""
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[type[SportivError], ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


HEADERS: dict[str, tuple[Any, str]] = {
    "Location": (
        str,
        "Where to go on: the address of the job's result, of the batch, of the file.",
    ),
    "ETag": (str, "A tag that only the same content has, for `If-None-Match`."),
    "Preference-Applied": (str, "The wish that was heeded, such as `wait=5`."),
    "WWW-Authenticate": (str, "How to show who calls: `Bearer`."),
    "Retry-After": (
        Annotated[int, Meta(ge=0)],
        "Seconds after which the request may be tried again.",
    ),
}
"""Each header that an answer may name: its type and its sentence."""

EVERYWHERE = (Unauthorized, Forbidden)
"""Errors of any address, where the server is one that asks who calls."""

BEFORE_ALL: dict[int, str] = {
    400: "What came is no proper HTTP request.",
    408: "The request did not arrive in time.",
    414: "The address is too long.",
    417: "An `Expect` that is not met.",
    431: "The headers are too long.",
}
"""What any request may be answered before anybody looks at its address."""

HEADERS_OF_ERRORS: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    503: ("Retry-After",),
    507: ("Retry-After",),
}

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
_IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    str,
    "Tags of contents that the client has: where the present one is among them, 304.",
)
_UNCHANGED = Answer("The client has it.", NOTHING, ("ETag",))
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

JOBS, TABLE, SERVER = "jobs", "table", "server"
STATISTICS = "statistics"

TAGS = {
    STATISTICS: "Questions: each POST is a job, which is computed in the background.",
    JOBS: "What becomes of jobs.",
    TABLE: "What can be asked, and about what.",
    SERVER: "The server itself.",
}

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

_DRAIN = {200: Answer("Whether accepted jobs remain.", answers.Draining)}

ROUTES = (
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
    Route(
        "GET",
        "/api/statistics",
        "list_statistics",
        TABLE,
        "The statistics",
        {200: Answer("Each with its address, its formula and its fields.", answers.StatisticList)},
    ),
    Route(
        "GET",
        "/api/questions",
        "list_questions",
        TABLE,
        "The questions of the table",
        {200: Answer("Each with its rows, years and direction.", answers.QuestionList)},
    ),
    Route(
        "GET",
        "/api/states",
        "list_states",
        TABLE,
        "The states of the table",
        {200: Answer("Their names.", answers.NameList)},
    ),
    Route(
        "GET",
        "/api/categories",
        "list_categories",
        TABLE,
        "The categories of the table",
        {200: Answer("Each with its strata.", answers.CategoryList)},
    ),
    Route(
        "GET",
        "/api/pool",
        "get_pool",
        SERVER,
        "The workers, and how much waits",
        {200: Answer("The pool as it is now.", answers.PoolAnswer)},
    ),
    Route(
        "GET",
        "/api/server",
        "get_server",
        SERVER,
        "What the server is, and what it holds to",
        {200: Answer("Its versions, table and limits.", answers.ServerAnswer)},
    ),
    Route(
        "GET",
        "/healthz",
        "get_health",
        SERVER,
        "Whether jobs can be computed and kept",
        {200: Answer("They can.", answers.Healthy | answers.Degraded)},
        errors=(NoWorkers, StorageError),
    ),
    Route(
        "GET",
        "/readyz",
        "get_readiness",
        SERVER,
        "Whether new jobs are welcome",
        {200: Answer("They are.", answers.Healthy | answers.Degraded)},
        about="As `/healthz`, but 503 once the shutdown has begun.",
        errors=(NoWorkers, StorageError),
    ),
    Route(
        "GET",
        "/api/graceful_shutdown",
        "shut_down",
        SERVER,
        "Take no new jobs from now on",
        _DRAIN,
        about="Asked again, it says how far that is.",
    ),
    Route(
        "POST",
        "/api/graceful_shutdown",
        "shut_down_by_post",
        SERVER,
        "Take no new jobs from now on",
        _DRAIN,
        about="The same as GET; a body is not looked at.",
    ),
    Route(
        "GET",
        "/metrics",
        "get_metrics",
        SERVER,
        "Figures for Prometheus",
        {200: Answer("In Prometheus' text format.", str, media=TEXT)},
    ),
    Route(
        "GET",
        "/openapi.json",
        "get_openapi",
        SERVER,
        "This description",
        {200: Answer("An OpenAPI 3.1 document.", dict[str, Any])},
    ),
    Route(
        "GET",
        "/docs",
        "get_docs",
        SERVER,
        "This description as a page",
        {200: Answer("A page that needs nothing but itself.", str, media=HTML)},
    ),
    Route(
        "GET",
        "/",
        "get_page",
        SERVER,
        "The page for people",
        {200: Answer("It needs this server alone.", str, ("ETag",), HTML), 304: _UNCHANGED},
        about="It needs no token, and asks its reader for the one that its own calls need.",
        parameters=(_IF_NONE_MATCH,),
    ),
    Route(
        "GET",
        "/assets/{name}",
        "get_asset",
        SERVER,
        "A file that the page for people needs",
        {
            200: Answer("The file.", str, ("ETag",), ANYTHING),
            302: Answer(
                "The library is at another address, by its version.", NOTHING, ("Location",)
            ),
            304: _UNCHANGED,
        },
        about="`vega.js` is the library that draws charts, which the server makes when it is asked "
        "for it first.",
        parameters=(
            Parameter(
                "name",
                "path",
                Annotated[str, Meta(pattern="^[a-z0-9._-]{1,64}$", examples=["style.css"])],
                "The file's name.",
            ),
            _IF_NONE_MATCH,
        ),
        errors=(UnknownAsset, NoChartLibrary),
    ),
)
