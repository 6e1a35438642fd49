"""What a client asks for, ready to be accepted: a checked request with its plan and its marks."""

import hashlib
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from server.errors import BadRequest
from server.ledger_schema import NewJob
from server.stats.statistic import LARGEST_SEED, JobRequest, Json, Statistic, Unanswerable
from server.table import Table

_ABOUT_THE_JOB = {each.name: each.default for each in msgspec.structs.fields(JobRequest)}
"""Fields that say nothing about the question, so that they make no other answer."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One job to be accepted: `text` is the request as the ledger keeps it.

    `question` names what is asked, for a client's key and the cache; `is_drawn` tells that
    the seed is not the client's own, so that another answer is wanted each time.
    """

    statistic: Statistic
    request: Any
    text: bytes
    parts: Sequence[Json]
    question: tuple[str, bytes]
    is_drawn: bool

    @classmethod
    def of(cls, table: Table, statistic: Statistic, request: JobRequest) -> "Submission":
        """The submission of a checked request; BadRequest where the plan refuses it."""
        asked = msgspec.json.encode(msgspec.structs.replace(request, **_ABOUT_THE_JOB))
        seeded = _with_seed(request)
        try:
            parts = statistic.plan(table, seeded)
        except Unanswerable as error:
            raise BadRequest(str(error)) from None
        text = msgspec.json.encode(seeded)
        question = (statistic.name, asked)
        return cls(statistic, seeded, text, parts, question, seeded is not request)

    def check_time_limit(self, most: float) -> None:
        """BadRequest where the request wants more seconds than the server grants."""
        wanted = self.request.timeout_s
        if wanted is not None and wanted > most:
            raise BadRequest(f"timeout_s is {wanted:g}; at most {most:g} s are allowed")

    def time_limit(self, most: float) -> float:
        """How many seconds the job may take."""
        return min(self.request.timeout_s or math.inf, most)

    def new_job(self, fingerprint: str, now: float, **marks: Any) -> NewJob:
        """What the ledger records, with the marks of a client's key or of the cache."""
        return NewJob(
            statistic=self.statistic.name,
            request=self.text.decode(),
            fingerprint=fingerprint,
            accepted_at=now,
            **marks,
        )


def digest_of(submissions: Sequence[Submission]) -> str:
    """A text that tells requests apart which come with one key; drawn seeds do not count."""
    asked = [
        [name, text.decode(), each.request.timeout_s, each.request.priority]
        for each in submissions
        for name, text in [each.question]
    ]
    return hashlib.blake2b(msgspec.json.encode(asked), digest_size=16).hexdigest()


def _with_seed(request: Any) -> Any:
    """The request with a seed of its own, where it may have one and has none."""
    if getattr(request, "seed", 0) is not None:
        return request
    return msgspec.structs.replace(request, seed=secrets.randbelow(LARGEST_SEED + 1))
