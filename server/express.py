"""The short way of the commonest requests: many of them are answered in one turn of a thread.

    POST ─▶ posts: one commit for all ──────────────▶ 202
                     └── prefers to wait ─▶ reads ──▶ 200, when its job has ended
    GET of a result ────────────────────▶ reads ────▶ 200, a little later where its job is
                                                      likely to end meanwhile

A request that gets there is plain (see `plain_request`) and gives no reason for an error.
All that have come while a thread was at its last turn share a turn, and the jobs among
them one commit. Who waits for a job's result keeps no thread meanwhile. What is the least
unusual, or goes wrong before it has had an effect, is sent the long way: only
Flask's views say what is wrong. A test holds that the answers of both ways are the same,
byte for byte.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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
from server.lane import Lane
from server.logging_setup import fields
from server.plain_request import PlainRequest, plain_request
from server.request_log import HEADER, Exchange, note, request_id
from server.result_store import LONGEST_RESULT, RUNNING, LongResult
from server.settings import Settings
from server.stats.statistic import one_part
from server.submission import Submission
from server.wire import HEADERS, MISTAKE, RETRY_AFTER, SERVER, error_content

LONGEST_ANSWER = 64 * 1024
"""A longer result goes the long way, where at most one for each thread is in memory."""

PATIENCE = 0.005
"""How many seconds a GET waits for a job of one part: most end sooner than they are asked for."""

log = logging.getLogger("sportiv.http")

_SAME = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())


@dataclass(eq=False, slots=True)
class Passenger:
    """A plain request under way: `sender` is whatever it came from, `answer` what it gets."""

    sender: Any
    request: PlainRequest
    begun: float
    answer: bytes | None = None  # without one, at the end of its turn, see `Express`
    name: str = ""  # the request's id
    job_id: int | None = None  # of the job that has been accepted for it
    until: float = 0.0  # when it has waited for long enough, on the monotonic clock

    @property
    def prefers_to_wait(self) -> bool:
        """Whether its job is accepted, and nothing has been said to it yet."""
        return self.job_id is not None and self.answer is None

    @property
    def job(self) -> int:
        """The id of the job that it is about: its own, or the one whose result it asks for."""
        job = self.request.job if self.job_id is None else self.job_id
        assert job is not None
        return job


class Express:
    """Owns the express threads. A context manager: leaving it waits for the turns of all it took.

    `arrive(passengers)` is called from these threads at the end of each turn. Who arrives
    without an answer has to go the long way; where its job is accepted already, it is to be
    told its result, which is long, by `tell_long_result`.
    """

    def __init__(
        self, jobs: Jobs, settings: Settings, arrive: Callable[[Sequence[Passenger]], None]
    ) -> None:
        self._jobs = jobs
        self._guard = Guard(settings)
        self._arrive = arrive
        self._posts: Lane[Passenger] = Lane("express-posts", self._accept_all)
        self._reads: Lane[Passenger | int] = Lane(  # an int is the id of a job that has ended
            "express-reads", self._read_all, self._seconds_to_due
        )
        # The thread of `_reads` only.
        self._waiting: dict[int, list[Passenger]] = {}  # by the id of the job they wait for
        self._watched: set[int] = set()  # jobs that will be put into `_reads` when they end
        self._until: list[tuple[float, int]] = []  # a heap of (until when, job id)

    def __enter__(self) -> Self:
        self._posts.start()
        self._reads.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._posts.close()
        self._reads.close()
        left = [each for waiting in self._waiting.values() for each in waiting]
        for each in left:
            self._answer_who_waited(each)
        self._let_go(left)

    # -- for whoever receives requests ------------------------------------------------

    def passenger(self, sender: Any, request: bytes) -> Passenger | None:
        """Whoever has sent `request`, ready to go; None where it has to go the long way."""
        plain = plain_request(request)
        if plain is None or self._posts.closed or self._jobs.draining:
            return None
        if not self._guard.lets_in(plain.headers.host, plain.headers.authorization):
            return None
        if plain.job is None:
            statistic = self._jobs.catalogue.statistics.get(plain.statistic)
            if statistic is None or statistic.plan is not one_part:
                return None
        return Passenger(sender, plain, time.perf_counter())

    def take(self, passengers: Sequence[Passenger]) -> list[Passenger]:
        """Have them answered; those for whom it is too late."""
        posts = [each for each in passengers if each.request.job is None]
        reads = [each for each in passengers if each.request.job is not None]
        late = [] if not posts or self._posts.put(posts) else posts
        return late if not reads or self._reads.put(reads) else late + reads

    def _let_go(self, passengers: Sequence[Passenger]) -> None:
        if passengers:  # else it may be the end, when nobody is left to hear of it
            self._arrive(passengers)

    # -- the thread of those who ask for a job ----------------------------------------

    def _accept_all(self, posts: list[Passenger]) -> None:
        """Each gets an id of its own; who prefers to wait for the result goes on to the reads."""
        self._accept(posts)
        waiting = [each for each in posts if each.prefers_to_wait]
        gone = [each for each in posts if not each.prefers_to_wait]
        if not self._reads.put(waiting):
            for each in waiting:
                self._tell_accepted(each)
            gone += waiting
        self._let_go(gone)

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
        except Exception as error:  # jobs may have been accepted, so nobody may ask again
            self._tell_mistake([each for each, _ in asked], error)
            return
        for (each, _), each.job_id in zip(asked, ids, strict=True):
            if not each.request.headers.wait:
                self._tell_accepted(each)

    def _tell_accepted(self, each: Passenger) -> None:
        content = msgspec.json.encode({"job_id": each.job_id, "status": "running"})
        place = f"Location: /api/get_results/{each.job_id}\r\nRetry-After: {RETRY_AFTER}\r\n"
        self._finish(each, 202, "ACCEPTED", place, content)

    def _tell_mistake(self, posts: Sequence[Passenger], error: Exception) -> None:
        for each in posts:
            about = fields(method="POST", path=each.request.path, request_id=each.name)
            log.error("POST %s failed", each.request.path, exc_info=error, extra=about)
            self._finish(each, 500, "INTERNAL SERVER ERROR", "", error_content(MISTAKE))

    def _submission(self, request: PlainRequest) -> Submission:
        catalogue = self._jobs.catalogue
        statistic = catalogue.statistics[request.statistic]
        return self._jobs.submission(statistic, catalogue.request(statistic, request.body))

    # -- the thread of those who ask for a result -------------------------------------

    def _read_all(self, arrived: list[Passenger | int]) -> None:
        """Answer who asks, whose job has ended, and who has waited for long enough."""
        gone = []
        for each in arrived:
            if isinstance(each, int):
                self._watched.discard(each)
                gone += self._waited(each)
            elif each.prefers_to_wait:
                self._let_wait(each, each.request.headers.wait)
            elif self._read(each) == RUNNING:
                self._let_wait(each, PATIENCE)
            else:
                gone.append(each)
        now = time.monotonic()
        while self._until and self._until[0][0] <= now:
            gone += self._waited(heappop(self._until)[1], now)
        self._let_go(gone)

    def _read(self, each: Passenger) -> bytes | None:
        """The content that answers the request for a result; None where it has to go the long way.

        It is an answer already, but where the job has not ended.
        """
        with suppress(Exception):  # the long way will meet it too, and tell
            each.name = request_id(each.request.headers.request_id)
            content = self._jobs.result(each.job, LONGEST_ANSWER)
            if content != RUNNING:
                self._finish(each, 200, "OK", "", content)
            return content
        return None

    def _let_wait(self, each: Passenger, seconds: float) -> None:
        each.until = time.monotonic() + seconds
        self._waiting.setdefault(each.job, []).append(each)
        heappush(self._until, (each.until, each.job))
        if each.job not in self._watched:
            self._watched.add(each.job)
            self._jobs.when_ended(each.job, partial(self._reads.put, [each.job]))

    def _waited(self, job: int, now: float = math.inf) -> list[Passenger]:
        """Answer who waits for the job until `now` or less."""
        waiting = self._waiting.pop(job, [])
        gone = [each for each in waiting if each.until <= now]
        if left := [each for each in waiting if each.until > now]:
            self._waiting[job] = left
        for each in gone:
            self._answer_who_waited(each)
        return gone

    def _answer_who_waited(self, each: Passenger) -> None:
        """With the result, unless it is long, or with where it can be read later."""
        if each.prefers_to_wait:
            with suppress(LongResult):
                self._tell_result(each, LONGEST_ANSWER)
        elif self._read(each) == RUNNING:
            self._finish(each, 200, "OK", "", RUNNING)

    def _seconds_to_due(self) -> float | None:
        return max(0.0, self._until[0][0] - time.monotonic()) if self._until else None

    # -- any thread -------------------------------------------------------------------

    def tell_long_result(self, each: Passenger) -> None:
        """Answer who is back without an answer although its job is accepted."""
        self._tell_result(each, LONGEST_RESULT)

    def _tell_result(self, each: Passenger, longest: int) -> None:
        """With the result, or with where it can be read later; LongResult as `Jobs.result`."""
        try:
            content = self._jobs.result(each.job, longest)
        except LongResult:
            raise
        except Exception:  # whoever reads it later is told
            content = RUNNING
        if content == RUNNING:
            self._tell_accepted(each)
        else:
            place = f"Location: /api/get_results/{each.job}\r\n"
            applied = f"Preference-Applied: wait={each.request.headers.wait}\r\n"
            self._finish(each, 200, "OK", place + applied, content)

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
        is_post = each.request.job is None
        method, route = ("POST", path) if is_post else ("GET", "/api/get_results/<job_id>")
        seconds = time.perf_counter() - each.begun
        note(
            self._jobs.metrics,
            Exchange(method, path, "", body, route, each.job_id, status, each.name, seconds),
        )


@lru_cache(maxsize=4)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
