"""Jobs through Dramatiq, with its results kept in Redis as well."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from dramatiq.results.errors import ResultMissing

from benchmarks.rivals import task

URL = os.environ["RIVAL_REDIS"]
broker = RedisBroker(url=URL)
backend = RedisBackend(url=URL)
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def answer(statistic: str, request: str) -> str:
    """The task."""
    return task.answer(statistic, request)


def submit(statistic: str, request: str) -> str:
    """Queue a job; its id."""
    return str(answer.send(statistic, request).message_id)


def result(job_id: str) -> str | None:
    """The answer, or None while there is none."""
    try:
        return str(backend.get_result(answer.message("", "").copy(message_id=job_id)))
    except ResultMissing:
        return None
