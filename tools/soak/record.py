"""What happened in a soak: written by clients and by whoever kills, read at the end."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tools.soak.questions import Question


@dataclass(eq=False)
class Record:
    """Counts and times. Safe for any number of threads."""

    accepted: dict[int, Question] = field(default_factory=dict)
    unanswered: int = 0
    refused: int = 0
    unexpected: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)  # seconds to the next answer
    _unhealed: list[tuple[str, float, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def was_accepted(self, job_id: int, question: Question) -> None:
        """A client has been given this id."""
        with self._lock:
            if job_id in self.accepted:
                self.unexpected.append(f"the id {job_id} was given twice")
            self.accepted[job_id] = question

    def was_not_answered(self) -> None:
        """The answer to a POST never came."""
        with self._lock:
            self.unanswered += 1

    def was_refused(self) -> None:
        """A POST was answered 503."""
        with self._lock:
            self.refused += 1

    def surprise(self, what: str) -> None:
        """Something that must not be."""
        with self._lock:
            self.unexpected.append(what)

    def killed(self, kind: str, moment: float) -> None:
        """Victims of a kill of this kind, which came at this moment, do no more from now on."""
        with self._lock:
            self.kills[kind] += 1
            self._unhealed.append((kind, moment, time.monotonic()))

    def answered(self, begun: float) -> None:
        """A POST begun at this moment was accepted: whatever was killed before has healed."""
        if not self._unhealed:
            return
        now = time.monotonic()
        with self._lock:
            for kind, killed, gone in self._unhealed:
                if gone <= begun:
                    self.slowest[kind] = max(self.slowest.get(kind, 0.0), now - killed)
            self._unhealed = [each for each in self._unhealed if each[2] > begun]
