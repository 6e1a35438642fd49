"""The same protocol with the workers of a Dask cluster: for more than one machine can do.

    submit ─▶ supervisor ─▶ tasks: whose turn it is, what has become of it
               (a thread with an event loop)  └─▶ session ─▶ scheduler ─▶ workers

Dask places the tasks, moves them to workers that are idle, and tries those again whose worker
is gone. What this server promises beside that is here: turns, time limits, attempts that are
counted, one outcome for each task, and that no worker computes over other columns.
"""

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from server.dask_session import Place
from server.dask_staff import Member
from server.dask_supervisor import DaskSupervisor
from server.dask_worker import Wanted, versions
from server.digest import digest
from server.errors import StartError
from server.pool import Listener, Order, PoolCounts, WorkerInfo, check_length

START_SECONDS = 30.0
"""Within which a scheduler has to answer, and the workers that are there have to be ready."""

BLINK = 5.0
"""Seconds without a worker that are no trouble yet: as long as one takes to start again."""

log = logging.getLogger("sportiv.pool")


class DaskPool:
    """The workers behind a Dask scheduler. A context manager: leaving lets go of them.

    What is here any thread may call. Owns the supervisor's thread; borrows the shared region
    `table_fd`, of which each host of workers gets a copy, in its folder `columns` (None: the
    usual place). `catalogue` names the module whose `STATISTICS` they know. Where there is no
    worker at all, a task waits for one `patience` seconds, and then fails.
    """

    backend = "dask"

    def __init__(
        self,
        listener: Listener,
        *,
        scheduler: str,
        table_fd: int,
        catalogue: str = "server.stats",
        columns: str | None = None,
        patience: float = 600.0,
    ) -> None:
        bytes_digest = digest(table_fd, os.fstat(table_fd).st_size)
        wanted = Wanted(bytes_digest, catalogue, columns, versions())
        self._place = Place(scheduler, wanted, table_fd, f"sportiv-{secrets.token_hex(4)}")
        self._supervisor = DaskSupervisor(listener, self._place, patience)
        self._thread = threading.Thread(target=self._supervisor.run, name="dask", daemon=True)

    def __enter__(self) -> Self:
        """Connect; StartError where no scheduler answers, or no worker that is there fits.

        Without any worker the pool starts all the same, and has `trouble`.
        """
        start = self._supervisor.start
        self._thread.start()
        start.wait(START_SECONDS)
        if start.error is not None:
            error = start.error if start.is_settled else self._supervisor.lacking
            self.close(0.0)
            raise StartError(f"no computing by Dask at {self._place.scheduler}: {error}")
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
        """Why nothing is computed, and will not be in a moment; None while all is well."""
        supervisor, address = self._supervisor, self._place.scheduler
        alone, session = supervisor.alone_since, supervisor.session
        if alone is None or time.monotonic() < alone + BLINK:
            return None
        if session is None:
            return f"no Dask scheduler at {address}: {supervisor.lacking}"
        if unfit := session.staff.unfit:
            return f"no worker of the Dask scheduler at {address} can be used; {unfit}"
        return f"the Dask scheduler at {address} has no worker"

    def submit(self, order: Order) -> None:
        """Queue a task; it ends in exactly one `task_ended`, unless the pool is closed first."""
        check_length(order)
        self._have_done(self._supervisor.accept, order)

    def cancel(self, job: int) -> None:
        """Forget the tasks of `job`; a worker that computes one is killed and replaced."""
        self._have_done(self._supervisor.cancel, job)

    def workers(self) -> list[WorkerInfo]:
        """Every worker of the cluster; what memory they have is told by Dask's own pages."""
        session = self._supervisor.session
        members = list(session.staff.members.values()) if session else []
        return [self._info(member) for member in members]

    def waiting(self) -> int:
        """How many tasks are not with Dask."""
        return self._supervisor.tasks.waiting()

    def counts(self) -> PoolCounts:
        """How many workers have come for others that were gone, and tasks been tried again."""
        return PoolCounts(self._supervisor.replaced, self._supervisor.tasks.retried)

    def close(self, timeout: float) -> None:
        """Let begun tasks end within `timeout` seconds, end the workers of others, and leave.

        Tasks that have not ended by then never do here. Calling it again can only hasten it.
        """
        supervisor = self._supervisor
        supervisor.close_by = min(supervisor.close_by, time.monotonic() + timeout)
        self._have_done(supervisor.closing.set)
        self._thread.join()

    def _info(self, member: Member) -> WorkerInfo:
        begun = self._supervisor.tasks.begun_on(member.address)
        jobs = [out.pending.order.task.job for out in begun]
        state = "busy" if jobs else "idle"
        if member.presence is None:
            state = "starting"
        elif member.kill_reason:
            state = "leaving"
        pid = member.presence.pid if member.presence else 0
        return WorkerInfo(pid, state, min(jobs, default=None), member.tasks_done, 0)

    def _have_done(self, call: Callable[..., object], *arguments: object) -> None:
        """Have the supervisor's thread call this; what comes to a closed pool is dropped."""
        try:
            self._supervisor.loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            log.debug("the Dask pool is closed")
