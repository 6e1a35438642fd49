"""How jobs come in: accepted from clients, or taken up where an earlier server has left them."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from server.admission import Admission
from server.catalogue import Catalogue
from server.errors import BadRequest, KeyReused, SportivError
from server.gathering import Gathering
from server.ledger import Ledger
from server.ledger_schema import JobRecord, NewJob
from server.live_jobs import Job, LiveJobs
from server.logging_setup import fields
from server.pool import TimeLimit
from server.result_store import ResultStore, checksum
from server.settings import Settings
from server.stats.statistic import JobRequest, Statistic
from server.submission import Submission, digest_of

KEY_LOCKS = 64
"""Requests with the same Idempotency-Key are accepted one after the other, most others not."""

PARTS_AHEAD = 4
"""How many parts of one job are with the pool at a time, for each worker."""

log = logging.getLogger("sportiv.jobs")


class Intake:
    """Makes jobs of requests and of records, and has them run. Safe for any number of threads."""

    def __init__(
        self,
        catalogue: Catalogue,
        ledger: Ledger,
        store: ResultStore,
        live: LiveJobs,
        admission: Admission,
        settings: Settings,
    ) -> None:
        self._catalogue = catalogue
        self._ledger = ledger
        self._store = store
        self._live = live
        self._admission = admission
        self._settings = settings
        self._key_locks = [threading.Lock() for _ in range(KEY_LOCKS)]  # by a key's hash

    def accept(
        self,
        wanted: Sequence[tuple[Statistic, JobRequest]],
        key: str | None = None,
        *,
        is_batch: bool = False,
        request_id: str = "",
    ) -> Sequence[int]:
        """Accept jobs, all or none; their ids, once each is certain to end in one final state.

        A client's `key` that came before with the same requests gives the jobs of that time.
        `request_id` goes along with them: into the ledger, and every line of the log about them.
        Raises BadRequest, KeyReused (it came with others), ShuttingDown, QueueFull or
        StorageError; then nothing is kept and no id used.
        """
        submissions = [self.submission(*each) for each in wanted]
        marks: dict[str, Any] = {"request_id": request_id or None}
        if key is None:
            return self._accept(submissions, [marks] * len(submissions), is_batch=is_batch)
        digest = digest_of(submissions)
        with self._key_locks[hash(key) % len(self._key_locks)]:
            earlier = self._ledger.with_key(key)
            if earlier is None:
                marks |= {"idempotency_key": key, "request_digest": digest}
                return self._accept(submissions, [marks] * len(submissions), is_batch=is_batch)
        if earlier.request_digest != digest or (earlier.batch is not None) != is_batch:
            raise KeyReused(
                f"the Idempotency-Key came with another request before: job {earlier.id}"
            )
        first = earlier.id if earlier.batch is None else earlier.batch
        return range(first, first + len(submissions))

    def accept_each(self, wanted: Sequence[tuple[Submission, str]]) -> Sequence[int]:
        """Accept jobs of several clients as `accept` does, all or none, at the cost of one.

        Each comes with the id of its request.
        """
        submissions = [submission for submission, _ in wanted]
        return self._accept(submissions, [{"request_id": each or None} for _, each in wanted])

    def submission(self, statistic: Statistic, request: JobRequest) -> Submission:
        """What is to be accepted, planned and checked; BadRequest where it cannot be."""
        submission = Submission.of(self._catalogue.table, statistic, request)
        submission.check_time_limit(self._settings.job_timeout)
        return submission

    def _accept(
        self,
        submissions: Sequence[Submission],
        marks: Sequence[dict[str, Any]],
        *,
        is_batch: bool = False,
    ) -> Sequence[int]:
        answers = [self._earlier_answer(each) for each in submissions]
        now, fingerprint = time.time(), self._catalogue.table.fingerprint
        new = [
            each.new_job(fingerprint, now, cached_from=answer and answer[0], **of_it)
            for each, answer, of_it in zip(submissions, answers, marks, strict=True)
        ]
        self._admission.reserve(len(new))
        try:
            ids = self._ledger.accept_all(new, is_batch=is_batch)
        except BaseException:
            self._admission.release(len(new))
            raise
        for record, job_id, each, answer in zip(new, ids, submissions, answers, strict=True):
            job = self._job(job_id, each, record)
            if answer is None:
                self._live.run(job)
            else:
                self._live.give(job, answer[1])
        return ids

    def _earlier_answer(self, submission: Submission) -> tuple[int, bytes] | None:
        """The job that has answered the same question on the same data, and its file's content."""
        if self._live.cache is None or submission.is_drawn:
            return None
        answered = self._live.cache.get(submission.question)
        if answered is None:
            return None
        try:
            content = self._store.read(answered.job_id)
        except OSError:
            return None
        if content is None or checksum(content) != answered.checksum:
            self._live.cache.forget(submission.question)
            return None
        return answered.job_id, content

    def take_up(self, record: JobRecord) -> None:
        """Run a job that was accepted by an earlier server, and is counted already."""
        try:
            job = self._planned_again(record)
        except Exception as error:
            if not isinstance(error, SportivError):
                log.exception("job %d cannot be planned", record.id)
            reason = f"it cannot be run on the present data: {error}"
            request = msgspec.Raw(record.request.encode())
            nothing = Gathering([], merges=False, ahead=0)
            unrunnable = Job(record.id, record.statistic, request, nothing, TimeLimit(0.0))
            unrunnable.request_id = record.request_id or ""
            unrunnable.accepted_at = record.accepted_at
            self._live.fail(unrunnable, reason)
        else:
            told = fields(job=job.id, statistic=job.statistic, request_id=job.request_id)
            log.info("job %d: taken up again", job.id, extra=told)
            self._live.run(job)

    def _planned_again(self, record: JobRecord) -> Job:
        statistic = self._catalogue.statistics.get(record.statistic)
        if statistic is None:
            raise BadRequest(f"there is no statistic {record.statistic!r} any more")
        request = self._catalogue.request(statistic, record.request)
        submission = Submission.of(self._catalogue.table, statistic, request)
        return self._job(record.id, submission, record)

    def _job(self, job_id: int, submission: Submission, record: NewJob | JobRecord) -> Job:
        ahead = PARTS_AHEAD * self._settings.workers
        merges = submission.statistic.merge is not None
        return Job(
            job_id,
            submission.statistic.name,
            msgspec.Raw(submission.text),
            Gathering(submission.parts, merges=merges, ahead=ahead),
            TimeLimit(submission.time_limit(self._settings.job_timeout)),
            self._settings.max_attempts,
            submission.request.priority,
            None if submission.is_drawn else submission.question,
            record.request_id or "",
            record.accepted_at,
        )
