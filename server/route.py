"""What the description of an address is made of: parameters, answers, headers, errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from server.errors import Forbidden, SportivError, Unauthorized

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

JOBS, TABLE, SERVER = "jobs", "table", "server"
STATISTICS = "statistics"

TAGS = {
    STATISTICS: "Questions: each POST is a job, which is computed in the background.",
    JOBS: "What becomes of jobs.",
    TABLE: "What can be asked, and about what.",
    SERVER: "The server itself.",
}
