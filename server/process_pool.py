"""Replicated worker processes behind one queue, in the hands of one supervisor thread.

    submit ─▶ inbox ─▶ supervisor ─▶ dispatch ─▶ scheduler: who gets it
                        │    ▲          │
                        │    │          └─▶ listener.task_ended, or the task tried again
                        ▼    │ one socket pair per worker, JSON frames, both ways
                      worker processes ◀─ forked by the fork server (the crew's)
                             │ end of file: the worker is dead

No queue or lock is shared between workers, so one can die at any instruction and harm nobody
else.
"""

import threading
import time
from types import TracebackType
from typing import Self

from server.crew import LONGEST_BACKOFF, Crew, Worker
from server.errors import StartError
from server.memory import private_memory
from server.pool import Listener, Order, PoolCounts, WorkerInfo, check_length
from server.supervisor import Supervisor

START_TIMEOUT = 60.0
"""Seconds within which all workers must be ready at the start."""


class ProcessPool:
    """N worker processes. A context manager: entering starts them, leaving kills them.

    What is here any thread may call. Owns the supervisor's thread, and the supervisor the
    workers; borrows the shared region `table_fd`. `catalogue` names the module whose
    `STATISTICS` the workers know. `worker_memory` is how many bytes a worker may take for
    its tasks; None where as many as there are. A worker that keeps half of that, or has
    done `worker_max_tasks`, retires; with 0 none does for its tasks.
    """

    backend = "process"

    def __init__(
        self,
        listener: Listener,
        *,
        workers: int,
        table_fd: int,
        catalogue: str = "server.stats",
        worker_memory: int | None = None,
        worker_max_tasks: int = 0,
    ) -> None:
        self._listener = listener
        self._count = workers
        self._table_fd = table_fd
        self._catalogue = catalogue
        self._worker_memory = worker_memory
        self._worker_max_tasks = worker_max_tasks

    def __enter__(self) -> Self:
        """Start the workers; StartError, and nothing left behind, where they cannot run."""
        self._supervisor = supervisor = Supervisor(
            Crew(self._catalogue, self._table_fd, self._worker_memory),
            self._listener,
            workers=self._count,
            worker_memory=self._worker_memory,
            worker_max_tasks=self._worker_max_tasks,
        )
        self._inbox = supervisor.inbox
        self._thread = threading.Thread(target=supervisor.run, name="supervisor", daemon=True)
        self._thread.start()
        supervisor.start.wait(START_TIMEOUT)
        if supervisor.start.error is not None:
            self.close(0.0)
            raise StartError(f"the workers cannot start: {supervisor.start.error}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(0.0)

    @property
    def trouble(self) -> str | None:
        """Why the workers are not all there and soon will not be; None while all is well."""
        if self._supervisor.failed:
            return "the supervisor has failed; the log says why"
        if (cause := self._supervisor.staff.trouble) is not None:
            return f"workers die at their start: {cause}; trying again every {LONGEST_BACKOFF:g} s"
        return None

    def submit(self, order: Order) -> None:
        """Queue a task; it ends in exactly one `task_ended`, unless the pool is closed first.

        A worker that dies costs its task one of `order.max_attempts`. When the job's time is
        over, a task that is being computed loses its worker and fails; others never begin.
        """
        check_length(order)
        self._supervisor.submit(order)

    def cancel(self, job: int) -> None:
        """Forget the tasks of `job`; a worker that computes one is killed and replaced."""
        self._inbox.put(job)

    def workers(self) -> list[WorkerInfo]:
        """Every worker that is alive."""
        staff = self._supervisor.staff
        while True:
            workers = list(staff.workers)
            states = [self._state(worker) for worker in workers]
            if workers == staff.workers:  # else one may have come for one who has left
                break
        return [
            WorkerInfo(worker.pid, state, job, worker.tasks_done, private_memory(worker.pid))
            for worker, (state, job) in zip(workers, states, strict=True)
        ]

    def waiting(self) -> int:
        """How many tasks no worker has yet."""
        return self._supervisor.dispatch.waiting() + len(self._inbox)

    def counts(self) -> PoolCounts:
        """How often workers were replaced and tasks tried again."""
        return PoolCounts(self._supervisor.replaced, self._supervisor.dispatch.retried)

    def close(self, timeout: float) -> None:
        """End every worker: gently within `timeout` seconds, then by force.

        Tasks that have not ended by then never do here. Calling it again can only hasten it.
        """
        supervisor = self._supervisor
        supervisor.close_by = min(supervisor.close_by, time.monotonic() + timeout)
        self._inbox.wake()
        self._thread.join()

    def _state(self, worker: Worker) -> tuple[str, int | None]:
        """What the worker is at, in a word, and for which job."""
        try:
            item = self._supervisor.dispatch.begun(worker)
        except IndexError:  # the supervisor has just taken the last one off
            item = None
        job = item.task.order.task.job if item else None
        if not worker.ready:
            return "starting", job
        return "leaving" if worker.leaving else "idle" if item is None else "busy", job
