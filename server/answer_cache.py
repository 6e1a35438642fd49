"""Which job has answered a question before: known for as many questions as there is room for."""

import threading
from collections import OrderedDict
from typing import NamedTuple

MOST = 10_000
"""How many questions are remembered; those that were asked longest ago are forgotten."""


class Answered(NamedTuple):
    """The job that has answered, and the checksum of its file."""

    job_id: int
    checksum: int


class AnswerCache:
    """Questions by their text, each with the job that has answered it. Safe for any threads.

    Keeps no answer: that is in the job's file, which may have gone or been damaged since.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answered: OrderedDict[tuple[str, bytes], Answered] = OrderedDict()  # guarded by it

    def get(self, question: tuple[str, bytes]) -> Answered | None:
        """Who has answered this (statistic, request); None where nobody is known."""
        with self._lock:
            found = self._answered.get(question)
            if found is not None:
                self._answered.move_to_end(question)
            return found

    def put(self, question: tuple[str, bytes], answered: Answered) -> None:
        """Remember who has answered."""
        with self._lock:
            self._answered[question] = answered
            self._answered.move_to_end(question)
            if len(self._answered) > self._most:
                self._answered.popitem(last=False)

    def forget(self, question: tuple[str, bytes]) -> None:
        """The answer is not there any more."""
        with self._lock:
            self._answered.pop(question, None)

    def __len__(self) -> int:
        with self._lock:
            return len(self._answered)
