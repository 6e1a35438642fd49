"""Jobs through Celery: prefork workers that fetch many short tasks ahead, and JSON throughout."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_init

from benchmarks.rivals import task

app = Celery("rival", broker=os.environ["RIVAL_REDIS"], backend=os.environ["RIVAL_REDIS"])
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=64,
    broker_pool_limit=16,
    broker_connection_retry_on_startup=True,
)


@worker_process_init.connect
def prepare(**_: Any) -> None:
    """A worker process starts."""
    task.prepare()


@app.task
def answer(statistic: str, request: str) -> str:
    """The task."""
    return task.answer(statistic, request)


def submit(statistic: str, request: str) -> str:
    """Queue a job; its id."""
    return str(answer.delay(statistic, request).id)


def result(job_id: str) -> str | None:
    """The answer, or None while there is none."""
    found = app.AsyncResult(job_id)
    return str(found.get()) if found.ready() else None
