"""The short way of the commonest requests: one thread answers many of them in one turn.

A request that gets there is plain (see `plain_request`) and gives no reason for an error.
All that have come while the thread was at its last turn share a turn, and the jobs among
them one commit. Who prefers to wait for a job's result is answered in a later turn, and keeps no
thread meanwhile. What is the least unusual, or goes wrong before it has had an effect, is
sent the long way: only Flask's views say what is wrong. A test holds that the answers of
both ways are the same, byte for byte.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache, partial
from heapq import heappop, heappush
from types import TracebackType
from typing import Any, Self

import msgspec

from server.errors import SportivError
from server.guard import Guard
from server.jobs import Jobs
from server.plain_request import PlainRequest, plain_request
from server.request_log import HEADER, Exchange, note, request_id
from server.result_store import RUNNING
from server.settings import Settings
from server.stats.statistic import one_part
from server.submission import Submission
from server.wire import HEADERS, RETRY_AFTER, SERVER

LONGEST_ANSWER = 64 * 1024
"""A longer result goes the long way, where at most one for each thread is in memory."""

_SAME = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())


@dataclass(eq=False, slots=True)
class Passenger:
    """A plain request under way: `sender` is whatever it came from, `answer` what it gets."""

    sender: Any
    request: PlainRequest
    begun: float
    answer: bytes | None = None
    error: Exception | None = None  # without either, it has to go the long way
    name: str = ""  # the request's id
    job_id: int | None = None  # of the job that has been accepted for it


class Express:
    """Owns the express thread. A context manager: leaving it waits for the turns of all it took.

    `arrive(passengers)` is called from the express thread at the end of each turn.
    """

    def __init__(
        self, jobs: Jobs, settings: Settings, arrive: Callable[[Sequence[Passenger]], None]
    ) -> None:
        self._jobs = jobs
        self._guard = Guard(settings)
        self._arrive = arrive
        self._queue: queue.SimpleQueue[Sequence[Passenger]] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards `_closed`
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="express", daemon=True)
        # Express thread only.
        self._waiting: dict[int | None, Passenger] = {}  # by the id of the job that each waits for
        self._until: list[tuple[float, int]] = []  # a heap of (until when, job id)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._closed = True
            self._queue.put(())
        self._thread.join()

    # -- for whoever receives requests ------------------------------------------------

    def passenger(self, sender: Any, request: bytes) -> Passenger | None:
        """Whoever has sent `request`, ready to go; None where it has to go the long way."""
        plain = plain_request(request)
        if plain is None or self._closed or self._jobs.draining:
            return None
        if not self._guard.lets_in(plain.headers.host, plain.headers.authorization):
            return None
        if plain.job is None:
            statistic = self._jobs.catalogue.statistics.get(plain.statistic)
            if statistic is None or statistic.plan is not one_part:
                return None
        return Passenger(sender, plain, time.perf_counter())

    def take(self, passengers: Sequence[Passenger]) -> bool:
        """Have them answered; False where it is too late for that."""
        with self._lock:
            if not self._closed:
                self._queue.put(passengers)
            return not self._closed

    # -- the express thread -----------------------------------------------------------

    def _run(self) -> None:
        while not (self._closed and self._queue.empty()):
            passengers = self._next()
            new = [each for each in passengers if each.job_id is None]
            waited = [each for each in passengers if self._waiting.pop(each.job_id, None)]
            self._answer(new)
            for each in waited:
                self._answer_who_waited(each)
            self._let_go([each for each in new if each.job_id not in self._waiting] + waited)
        for each in self._waiting.values():
            self._tell_accepted(each)
        self._let_go(list(self._waiting.values()))

    def _let_go(self, passengers: Sequence[Passenger]) -> None:
        if passengers:  # else it may be the end, when nobody is left to hear of it
            self._arrive(passengers)

    def _next(self) -> list[Passenger]:
        """Who has come, whose job has ended, and who has waited for long enough."""
        try:
            wait = max(0.0, self._until[0][0] - time.monotonic()) if self._until else None
            passengers = list(self._queue.get(timeout=wait))
        except queue.Empty:
            passengers = []
        while not self._queue.empty():
            passengers += self._queue.get()
        while self._until and self._until[0][0] <= time.monotonic():
            _, job_id = heappop(self._until)
            if job_id in self._waiting:
                passengers.append(self._waiting[job_id])
        return passengers

    def _answer(self, passengers: Sequence[Passenger]) -> None:
        posts = [each for each in passengers if each.request.job is None]
        with _blaming(posts):
            self._accept(posts)
        for each in passengers:
            if each.request.job is not None:
                with suppress(Exception):  # the long way will meet it too, and tell
                    each.name = request_id(each.request.headers.request_id)
                    content = self._jobs.result(each.request.job, LONGEST_ANSWER)
                    self._finish(each, 200, "OK", "", content)

    def _accept(self, posts: Sequence[Passenger]) -> None:
        """Answer those who ask for a job, each with an id of its own, or let them wait for it."""
        asked = []
        for each in posts:
            with suppress(Exception):  # the long way will meet it too, and tell
                each.name = request_id(each.request.headers.request_id)
                asked.append((each, (self._submission(each.request), each.name)))
        try:
            ids = self._jobs.submit_each([job for _, job in asked]) if asked else []
        except SportivError:
            return
        for (each, _), each.job_id in zip(asked, ids, strict=True):
            if each.request.headers.wait:
                self._let_wait(each, each.job_id)
            else:
                self._tell_accepted(each)

    def _let_wait(self, each: Passenger, job_id: int) -> None:
        self._waiting[job_id] = each
        heappush(self._until, (time.monotonic() + each.request.headers.wait, job_id))
        self._jobs.when_ended(job_id, partial(self._queue.put, [each]))

    def _tell_accepted(self, each: Passenger) -> None:
        content = msgspec.json.encode({"job_id": each.job_id, "status": "running"})
        place = f"Location: /api/get_results/{each.job_id}\r\nRetry-After: {RETRY_AFTER}\r\n"
        self._finish(each, 202, "ACCEPTED", place, content)

    def _answer_who_waited(self, each: Passenger) -> None:
        """With the result, or with where it can be read later."""
        assert each.job_id is not None
        try:
            content = self._jobs.result(each.job_id, LONGEST_ANSWER)
        except Exception:  # whoever reads it later is told
            content = RUNNING
        if content == RUNNING:
            self._tell_accepted(each)
        else:
            place = f"Location: /api/get_results/{each.job_id}\r\n"
            applied = f"Preference-Applied: wait={each.request.headers.wait}\r\n"
            self._finish(each, 200, "OK", place + applied, content)

    def _submission(self, request: PlainRequest) -> Submission:
        catalogue = self._jobs.catalogue
        statistic = catalogue.statistics[request.statistic]
        return self._jobs.submission(statistic, catalogue.request(statistic, request.body))

    def _finish(
        self, each: Passenger, status: int, phrase: str, headers: str, content: bytes
    ) -> None:
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nServer: {SERVER}\r\n"
            f"Date: {_date(int(time.time()))}\r\nConnection: keep-alive\r\n{headers}"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            f"{_SAME}{HEADER}: {each.name}\r\n\r\n"
        )
        each.answer = head.encode() + content
        path, body = each.request.path, each.request.body
        method, route = ("POST", path) if each.job_id else ("GET", "/api/get_results/<job_id>")
        seconds = time.perf_counter() - each.begun
        note(
            self._jobs.metrics,
            Exchange(method, path, "", body, route, each.job_id, status, each.name, seconds),
        )


@contextmanager
def _blaming(passengers: Sequence[Passenger]) -> Iterator[None]:
    """Make what goes wrong the error of these: a job may be accepted, so nobody asks again."""
    try:
        yield
    except Exception as error:
        for each in passengers:
            if each.answer is None:
                each.error = error


@lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
