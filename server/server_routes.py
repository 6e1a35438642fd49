"""The addresses about the table and the server, and the page's, one row each."""

from typing import Annotated, Any

from msgspec import Meta

from server import answers, server_answers
from server.errors import NoChartLibrary, NoWorkers, StorageError, UnknownAsset
from server.route import ANYTHING, HTML, NOTHING, SERVER, TABLE, TEXT, Answer, Parameter, Route

_IF_NONE_MATCH = Parameter(
    "If-None-Match",
    "header",
    str,
    "Tags of contents that the client has: where the present one is among them, 304.",
)
_UNCHANGED = Answer("The client has it.", NOTHING, ("ETag",))
_DRAIN = {200: Answer("Whether accepted jobs remain.", answers.Draining)}

SERVER_ROUTES = (
    Route(
        "GET",
        "/api/statistics",
        "list_statistics",
        TABLE,
        "The statistics",
        {
            200: Answer(
                "Each with its address, its formula and its fields.", server_answers.StatisticList
            )
        },
    ),
    Route(
        "GET",
        "/api/questions",
        "list_questions",
        TABLE,
        "The questions of the table",
        {200: Answer("Each with its rows, years and direction.", server_answers.QuestionList)},
    ),
    Route(
        "GET",
        "/api/states",
        "list_states",
        TABLE,
        "The states of the table",
        {200: Answer("Their names.", server_answers.NameList)},
    ),
    Route(
        "GET",
        "/api/categories",
        "list_categories",
        TABLE,
        "The categories of the table",
        {200: Answer("Each with its strata.", server_answers.CategoryList)},
    ),
    Route(
        "GET",
        "/api/pool",
        "get_pool",
        SERVER,
        "The workers, and how much waits",
        {200: Answer("The pool as it is now.", server_answers.PoolAnswer)},
    ),
    Route(
        "GET",
        "/api/server",
        "get_server",
        SERVER,
        "What the server is, and what it holds to",
        {200: Answer("Its versions, table and limits.", server_answers.ServerAnswer)},
    ),
    Route(
        "GET",
        "/healthz",
        "get_health",
        SERVER,
        "Whether jobs can be computed and kept",
        {200: Answer("They can.", server_answers.Healthy | server_answers.Degraded)},
        errors=(NoWorkers, StorageError),
    ),
    Route(
        "GET",
        "/readyz",
        "get_readiness",
        SERVER,
        "Whether new jobs are welcome",
        {200: Answer("They are.", server_answers.Healthy | server_answers.Degraded)},
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
