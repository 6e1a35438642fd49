"""Jobs through Huey: worker processes that wait for Redis to have something, without a schedule."""

import os

from huey import RedisHuey

from benchmarks.rivals import task

huey = RedisHuey("rival", url=os.environ["RIVAL_REDIS"])


@huey.on_startup()
def prepare() -> None:
    """A worker process starts."""
    task.prepare()


@huey.task()
def answer(statistic: str, request: str) -> str:
    """The task."""
    return task.answer(statistic, request)


def submit(statistic: str, request: str) -> str:
    """Queue a job; its id."""
    return str(answer(statistic, request).id)


def result(job_id: str) -> str | None:
    """The answer, or None while there is none."""
    found: str | None = huey.result(job_id)
    return found
