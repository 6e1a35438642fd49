"""Who works: as many workers as are wanted, each with its pipe under the supervisor's eyes.

What the workers do is the pool's affair; how one is started and how one ended, the crew's.
"""

import logging
import selectors
import time

from server.crew import Crew, Worker
from server.fork_server import ForkServer
from server.pool import Attempt

START_TRIES = 3
"""Workers in a row that may die before one is ready, until that is called trouble."""

log = logging.getLogger("sportiv.pool")


class Staff:
    """The workers of one pool. Owned by its supervisor, as is the crew that starts them.

    Keeps the pipe of every worker and the socket of the fork server in the `selector` that
    it borrows. `workers` may be looked at from any thread.
    """

    def __init__(self, crew: Crew, selector: selectors.BaseSelector, count: int) -> None:
        self.workers: list[Worker] = []
        self._crew = crew
        self._selector = selector
        self._count = count
        self._watched: ForkServer | None = None

    # -- coming -----------------------------------------------------------------------

    def fill(self) -> None:
        """Start as many workers as are missing, unless they keep dying at the start."""
        while self._missing() and time.monotonic() >= self._crew.next_start:
            if worker := self._crew.spawn():
                self.workers.append(worker)
                self._selector.register(worker.channel, selectors.EVENT_READ, worker)
            self._watch_fork_server()

    def next_start(self) -> float | None:
        """When `fill` has something to do; None while nobody is missing."""
        return self._crew.next_start if self._missing() else None

    def _missing(self) -> bool:
        staying = [each for each in self.workers if not each.leaving and each.retires is None]
        return len(staying) < self._count

    def on_ready(self, worker: Worker) -> Worker | None:
        """The worker takes tasks from now on; who has retired and may leave instead, if anyone."""
        worker.ready = True
        self._crew.start_succeeded()
        there = [each for each in self.workers if each.ready and not each.leaving]
        if len(there) <= self._count:
            return None
        return next((each for each in there if each.retires is not None), None)

    @property
    def whole(self) -> bool:
        """Whether as many workers are ready as are wanted."""
        return sum(each.ready for each in self.workers) >= self._count

    @property
    def trouble(self) -> str | None:
        """Why workers cannot start, where several in a row could not; else None."""
        return self._crew.last_failure if self._crew.failed_starts >= START_TRIES else None

    # -- going ------------------------------------------------------------------------

    def retire(self, worker: Worker, why: str) -> None:
        """Have a worker replaced. It works on until another is ready, however long that takes."""
        if worker.retires is None and not worker.leaving:
            worker.retires = why
            log.info("worker %d retires as soon as another is ready: %s", worker.pid, why)

    def ended(self) -> list[Worker]:
        """The workers that the fork server knows to have ended, whatever their pipes say."""
        pids = self._crew.ended()
        self._watch_fork_server()
        return [each for each in self.workers if each.pid in pids]

    def bury(self, worker: Worker) -> Attempt:
        """Take a worker that is gone off the list; how it ended."""
        worker.buried = True
        self._selector.unregister(worker.channel)
        worker.channel.close()
        self.workers.remove(worker)
        attempt = self._crew.post_mortem(worker)
        log.log(logging.INFO if worker.leaving else logging.WARNING, "%s", attempt.cause)
        if not worker.ready:
            self._crew.start_failed(attempt.cause)
        return attempt

    def kill_all(self) -> None:
        """End every worker that is left, whatever it is at."""
        for worker in self.workers:
            worker.kill()
            worker.channel.close()
        self.workers.clear()

    def close(self) -> None:
        """End the crew, and with it whoever is left."""
        self._crew.close()

    def _watch_fork_server(self) -> None:
        """Keep the selector in step with the crew, which replaces a fork server that is gone."""
        forks = self._crew.fork_server
        if forks is self._watched:
            return
        if self._watched is not None:
            self._selector.unregister(self._watched)
        if forks is not None:
            self._selector.register(forks, selectors.EVENT_READ, forks)
        self._watched = forks
        for worker in self.workers if forks is not None else ():
            if worker.forked_by is not forks:
                # How it ends nobody would tell, and stopped it would outlive a killed server.
                self.retire(worker, "the process that has started it is gone")
