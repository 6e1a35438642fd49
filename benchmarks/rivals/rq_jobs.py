"""Jobs through RQ: `python -m benchmarks.rivals.rq_jobs CLASS` is a worker of that class.

It has everything imported and attached before it forks for its first job, as RQ's
documentation has it for speed; jobs are written as JSON.
"""

import os
import sys

import rq
from redis import Redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from benchmarks.rivals import task

connection = Redis.from_url(os.environ["RIVAL_REDIS"])
queue = rq.Queue(connection=connection, serializer=JSONSerializer)


def submit(statistic: str, request: str) -> str:
    """Queue a job; its id."""
    return str(queue.enqueue(task.answer, statistic, request).id)


def result(job_id: str) -> str | None:
    """The answer, or None while there is none."""
    job = Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
    status = job.get_status(refresh=False)
    if status is JobStatus.FAILED:
        raise RuntimeError(f"job {job_id} has failed")
    return str(job.return_value()) if status is JobStatus.FINISHED else None


if __name__ == "__main__":
    task.prepare()
    worker = getattr(rq, sys.argv[1])([queue], connection=connection, serializer=JSONSerializer)
    worker.work(logging_level="ERROR")
