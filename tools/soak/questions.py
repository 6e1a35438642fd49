"""What the clients ask, and the right answers, computed without any server."""

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from server.catalogue import Catalogue
from server.dataset import load_description
from server.loader import load_region
from server.settings import Settings
from server.shared_data import attach_table
from server.stats import STATISTICS
from server.stats.statistic import QuestionRequest, StateRequest

MOST_STATES = 3
"""How many states are asked about, for each question."""


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask: the statistic, and the request's body as the ledger keeps it."""

    statistic: str
    body: str


def right_answers(settings: Settings) -> dict[Question, Any]:
    """Every question of the soak with its data as JSON gives it."""
    with load_region(settings.data, settings.dataset) as region:
        table = attach_table(region.fd)
    catalogue = Catalogue(table, load_description(settings.dataset), STATISTICS)
    questions = [each["question"] for each in catalogue.describe_questions()]
    requests: list[QuestionRequest] = [QuestionRequest(question=each) for each in questions]
    requests += [
        StateRequest(question=question, state=state)
        for question in questions
        for state in catalogue.states()[:MOST_STATES]
    ]
    answers = {}
    for name, statistic in STATISTICS.items():
        for request in [each for each in requests if type(each) is statistic.request]:
            parts = [
                statistic.partial(table, request, part) for part in statistic.plan(table, request)
            ]
            data = msgspec.json.encode(statistic.combine(table, request, parts))
            body = msgspec.json.encode(request).decode()
            answers[Question(name, body)] = json.loads(data)
    return answers
