"""What a request says beside its body: numbers and choices in the address, headers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from server.errors import BadRequest
from server.job_state import JobState

LONGEST_WAIT = 60.0
"""Seconds that a client may ask the server to wait for a job."""

MOST_IN_BATCH = 100
"""How many jobs one batch may have."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_NUMBER = re.compile(r"[0-9.eE+-]{1,40}", re.ASCII)
_SECONDS = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
_PREFERENCE = re.compile(r'\s*wait\s*=\s*"?([^"\s;]*)"?\s*(;.*)?', re.ASCII | re.IGNORECASE)

STATES: dict[str, frozenset[JobState]] = {
    "running": frozenset({JobState.QUEUED, JobState.RUNNING}),
    "done": frozenset({JobState.DONE}),
    "error": frozenset({JobState.FAILED, JobState.CANCELLED}),
    "queued": frozenset({JobState.QUEUED}),
    "failed": frozenset({JobState.FAILED}),
    "cancelled": frozenset({JobState.CANCELLED}),
}
"""What `?status=` may be: the words of the answers, and the states where they say more."""

T = TypeVar("T")


def only_known(arguments: Mapping[str, str], known: Sequence[str]) -> None:
    """BadRequest where the address asks for what nobody would heed."""
    for name in arguments:
        if name not in known:
            raise BadRequest(f"there is no {name!r} here; there is: {', '.join(known)}")


def whole_number(arguments: Mapping[str, str], name: str, default: int, least: int) -> int:
    """A whole number from the address; BadRequest where it is none, or less than `least`."""
    text = arguments.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) >= least):
        raise BadRequest(f"{name} must be a whole number, at least {least}, not {text!r}")
    return int(text)


def choice(arguments: Mapping[str, str], name: str, among: Mapping[str, T]) -> T | None:
    """What a word of the address stands for; None where it is not there."""
    word = arguments.get(name)
    if word is None:
        return None
    if word not in among:
        raise BadRequest(f"there is no {name} {word!r}; there is: {', '.join(among)}")
    return among[word]


def wait_of_address(arguments: Mapping[str, str]) -> float:
    """`?wait=20`: how many seconds to wait for a job; 0 where it is not there."""
    text = arguments.get("wait", "0")
    try:
        seconds = float(text) if _NUMBER.fullmatch(text) else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT:
        raise BadRequest(f"wait must be seconds, from 0 to {LONGEST_WAIT:g}, not {text!r}")
    return seconds


def preferred_wait(header: str | None) -> float:
    """`Prefer: wait=5` (RFC 7240): how many seconds; 0 where none, or none that is understood.

    A preference is a wish: one that is too long is cut, one that makes no sense passed over.
    """
    for preference in (header or "").split(","):
        if (match := _PREFERENCE.fullmatch(preference)) and _SECONDS.fullmatch(match[1]):
            return min(float(match[1]), LONGEST_WAIT)
    return 0.0


def idempotency_key(header: str | None) -> str | None:
    """What the client calls its request; BadRequest where that is no key."""
    if header is None:
        return None
    if not _KEY.fullmatch(header):
        raise BadRequest("an Idempotency-Key has 1 to 255 visible ASCII characters, no spaces")
    return header


def batch_items(fields: dict[str, Any], most: int = MOST_IN_BATCH) -> list[dict[str, Any]]:
    """The requests of a batch: each an object with its `statistic`."""
    jobs = fields.get("jobs")
    if set(fields) != {"jobs"} or not isinstance(jobs, list):
        raise BadRequest('a batch is {"jobs": [{"statistic": "best5", "question": ...}, ...]}')
    if not 1 <= len(jobs) <= most:
        raise BadRequest(f"a batch has 1 to {most} jobs, not {len(jobs)}")
    for place, job in enumerate(jobs):
        if not isinstance(job, dict) or not isinstance(job.get("statistic"), str):
            raise BadRequest(f'jobs[{place}] must be an object with a "statistic"')
    return jobs
