"""Clients that post jobs without a pause, each over one connection that it keeps."""

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tools.soak.questions import Question
from tools.soak.record import Record

CLIENTS = 4
TIMEOUT = 20.0
"""Seconds after which a client gives up waiting for an answer."""

RETRY = 0.02
"""Seconds after which a client that got no answer tries again."""

LOOKS = 0.2
"""The share of requests that read the result of a job accepted earlier."""


@contextmanager
def posting(
    port: int, answers: Mapping[Question, Any], record: Record, rng: random.Random
) -> Iterator[None]:
    """Clients at work until this is left."""
    leave = threading.Event()
    clients = [
        threading.Thread(
            target=_Client(port, answers, record, random.Random(rng.random())).run,
            args=(leave,),
            daemon=True,
        )
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        leave.set()
        for client in clients:
            client.join(2 * TIMEOUT)


class _Client:
    def __init__(
        self, port: int, answers: Mapping[Question, Any], record: Record, rng: random.Random
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self._answers = answers
        self._questions = list(answers)
        self._record = record
        self._rng = rng
        self._mine: list[tuple[int, Question]] = []

    def run(self, leave: threading.Event) -> None:
        while not leave.is_set():
            look = self._mine and self._rng.random() < LOOKS
            done = self._look() if look else self._post()
            if not done:
                self._connection.close()
                leave.wait(RETRY)
        self._connection.close()

    def _post(self) -> bool:
        """Post one job; whether it was accepted."""
        question = self._rng.choice(self._questions)
        begun = time.monotonic()
        try:
            status, answer = self._ask("POST", f"/api/{question.statistic}", question.body)
        except ConnectionRefusedError:
            return False
        except (OSError, http.client.HTTPException):
            self._record.was_not_answered()
            return False
        if status == 202:
            self._record.was_accepted(answer["job_id"], question)
            self._record.answered(begun)
            self._mine.append((answer["job_id"], question))
        elif status == 503:
            self._record.was_refused()
        else:
            self._record.surprise(f"POST {question.statistic} was answered {status}: {answer}")
        return status == 202

    def _look(self) -> bool:
        """Read the result of an earlier job; whether there was an answer."""
        job_id, question = self._rng.choice(self._mine)
        try:
            status, answer = self._ask("GET", f"/api/get_results/{job_id}")
        except (OSError, http.client.HTTPException):
            return False
        if status == 503:
            return False
        right = status == 200 and (
            answer["status"] == "running"
            or (answer["status"] == "done" and answer["data"] == self._answers[question])
            or (answer["status"] == "error" and "time limit" in answer["reason"])
        )
        if not right:
            self._record.surprise(f"job {job_id} read as {status}: {answer}")
        return True

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        try:
            return response.status, json.loads(content)
        except ValueError as error:
            raise http.client.HTTPException(f"no JSON: {content[:100]!r}") from error
