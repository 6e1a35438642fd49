"""Every deliberate error of the server: one tree, each class with its HTTP status.

A message says what was wrong and what exists, in words a client may read; it never
carries a traceback.
"""

from collections.abc import Callable, Sequence
from pathlib import Path


class SportivError(Exception):
    """Base of all deliberate errors; `status` is the HTTP status a client gets for it."""

    status = 500


class SettingError(SportivError):
    """An environment variable holds a value that is not allowed; the start stops."""

    def __init__(self, variable: str, value: str, allowed: str) -> None:
        super().__init__(f"{variable}={value!r} is not allowed: {allowed}")
        self.variable = variable


class DescriptionError(SportivError):
    """A dataset description cannot be used; the start stops."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"dataset description {path}: {reason}")


class DataError(SportivError):
    """A data file cannot be used; the start stops.

    `line` counts the lines of a text from 1, the header included, `row` the rows of a table
    that has no lines; `column` is the name that stands in the header. Each is None where the
    fault has no such place.
    """

    def __init__(
        self,
        path: Path,
        reason: str,
        *,
        line: int | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        place = [f"data file {path}"]
        if line is not None:
            place.append(f"line {line}")
        if row is not None:
            place.append(f"row {row}")
        if column is not None:
            place.append(f"column {column!r}")
        super().__init__(f"{', '.join(place)}: {reason}")


class SharedMemoryError(SportivError):
    """There is not enough memory for the shared columns; the start stops."""


class StartError(SportivError):
    """The server cannot start (folder held by another, a worker that cannot run, ...)."""


class StorageError(SportivError):
    """The disk refused: the ledger or a result could not be written or read."""

    status = 503


class StorageFull(StorageError):
    """The disk refused because it is full."""

    status = 507


class BadRequest(SportivError):
    """The request's body or fields are not what the address asks for."""

    status = 400


class Unauthorized(SportivError):
    """The request does not carry the server's token."""

    status = 401


class Forbidden(SportivError):
    """The request comes from a web page, or by a name, that may not do this."""

    status = 403


class UnknownName(BadRequest):
    """A request names a question, state, ... that the table does not have.

    `nearest` finds what may have been meant, which takes long: only when it is told.
    """

    def __init__(self, kind: str, name: str, nearest: Callable[[], Sequence[str]]) -> None:
        super().__init__(kind, name)
        self._wrong = f"no {kind} {name!r}"
        self._nearest = nearest

    def __str__(self) -> str:
        known = ", ".join(map(repr, self._nearest()))
        return self._wrong + (f"; nearest: {known}" if known else ": the table has none")


class BodyTooLarge(SportivError):
    """The request's body is longer than the server takes."""

    status = 413


class LengthRequired(SportivError):
    """The request has a body of unknown length."""

    status = 411


class UnsupportedMedia(SportivError):
    """The request's body is not declared as JSON, or is compressed."""

    status = 415


class UnknownJob(SportivError):
    """No job has this id, or its result is no longer kept."""

    status = 404

    def __init__(self) -> None:
        super().__init__("Invalid job_id")


class UnknownAsset(SportivError):
    """The page for people has no file of this name."""

    status = 404

    def __init__(self) -> None:
        super().__init__("the page has no file of this name")


class NoChartLibrary(SportivError):
    """The library that draws charts cannot be made at present; the server's log says why."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the charts' library cannot be made at present; the server's log says why")


class KeyReused(SportivError):
    """An Idempotency-Key came with another request than before."""

    status = 422


class AlreadyEnded(SportivError):
    """The job cannot be cancelled any more."""

    status = 409


class NoAnswer(SportivError):
    """The job has no answer to be shown: it has not ended, has failed, or was cancelled."""

    status = 409


class QueueFull(SportivError):
    """As many jobs wait as the server accepts; the client may try again later.

    `retry_after` is how many seconds it will take, as measured, until there is room.
    """

    status = 503

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} jobs wait already; try again in {retry_after} s")
        self.retry_after = retry_after


class NoWorkers(SportivError):
    """No worker can be started, so that nothing would become of a new job for now."""

    status = 503


class ShuttingDown(SportivError):
    """The server takes no new jobs any more."""

    status = 503

    def __init__(self) -> None:
        super().__init__("shutting down")
