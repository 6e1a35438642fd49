"""What has become of each job: its result, read from its file, or why there is none.

in memory, not ended ─▶ running
ended ─▶ file ─┬─ as the ledger remembers it ─▶ its bytes
               ├─ gone ───────────────────────▶ UnknownJob
               └─ damaged ─▶ set aside, and the job runs once more
"""

import logging
import threading

from server.admission import Admission
from server.errors import StorageError, UnknownJob
from server.intake import Intake
from server.job_state import JobState
from server.job_view import running_content
from server.ledger import Ledger
from server.ledger_schema import JobRecord
from server.live_jobs import LiveJobs, error_content
from server.result_store import (
    LONGEST_RESULT,
    RUNNING,
    LongResult,
    ResultStore,
    checksum,
    length_of,
)

log = logging.getLogger("sportiv.jobs")


class JobResults:
    """The results of all jobs. Safe for any number of threads; borrows all that it is given."""

    def __init__(
        self,
        ledger: Ledger,
        store: ResultStore,
        live: LiveJobs,
        intake: Intake,
        admission: Admission,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._live = live
        self._intake = intake
        self._admission = admission
        self._reopening = threading.Lock()  # held by who runs a job once more

    def read(self, job_id: int, longest: int = LONGEST_RESULT) -> bytes:
        """What the job's file holds, or what it would while the job has not ended.

        UnknownJob where there is no such job, or its file is gone. A result that was damaged
        is computed again: the job is running then. LongResult where it has more than `longest`
        bytes; then it is not read.
        """
        job = self._live.get(job_id)
        end = self._ledger.record(job_id) if job is None else job.end
        if job is None and end is None:
            raise UnknownJob
        if end is None or not end.state.final:
            return running_content(job)
        if end.checksum is not None and length_of(end.checksum) > longest:
            raise LongResult(f"the result of job {job_id} has more than {longest} bytes")
        try:
            content = self._store.read(job_id)
        except OSError as error:
            raise StorageError(f"the result of job {job_id} cannot be read: {error}") from error
        if content and content != RUNNING and end.checksum in (None, checksum(content)):
            return content
        if end.state is not JobState.DONE and (content is not None or end.checksum is None):
            return error_content(end.reason)
        if content is None:
            raise UnknownJob
        if isinstance(end, JobRecord) and self.compute_again(end):
            return RUNNING
        raise StorageError(f"the result of job {job_id} is damaged; it will be computed again")

    def compute_again(self, record: JobRecord) -> bool:
        """Run a job once more whose result is damaged; whether it runs now.

        The damaged file is set aside. A server that shuts down leaves the job to the next one.
        """
        with self._reopening:
            if self._live.get(record.id) is not None:
                return True
            if not self._admission.readmit():
                return False
            try:
                reopened = self._ledger.reopen(record.id)
            except StorageError:
                self._admission.release()
                raise
            if not reopened:
                self._admission.release()
                return False
            self._set_aside(record.id)
            self._intake.take_up(record)
            return True

    def _set_aside(self, job_id: int) -> None:
        try:
            aside = self._store.set_aside(job_id)
            log.error("job %d: its result is damaged, now %s; it runs again", job_id, aside)
        except OSError as error:  # the new result will take its place all the same
            log.error("job %d: its result is damaged; it runs again: %s", job_id, error)
