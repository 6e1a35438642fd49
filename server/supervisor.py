"""The supervisor: one thread for all workers, which waits for whatever happens next.

It waits on all pipes and a wake-up at once, bounded by the nearest deadline; it never polls,
and never waits for a living worker to read or to finish a message. What happens it passes on:
to the staff, where a worker comes or goes, and to the dispatch, where a task does.

While it waits, the pool's turn is free: a thread that submits a task then may take it in itself,
and hand it over to an idle worker, instead of waking the supervisor to do so.
"""

import logging
import math
import selectors
import threading
import time

from server.crew import Crew, Worker
from server.dispatch import Dispatch, Pending
from server.fork_server import ForkServer
from server.inbox import Inbox
from server.logging_setup import fields
from server.lookout import Lookout
from server.memory import in_words
from server.messages import (
    Failure,
    FromWorker,
    Grown,
    LogLine,
    OutOfMemory,
    Ready,
    Result,
    Skipped,
    Stop,
    Unfit,
)
from server.pipes import Pipes, decoded
from server.pool import Listener, Order
from server.scheduler import OutOfStep
from server.staff import Staff

log = logging.getLogger("sportiv.pool")


class Start:
    """Whether the workers of a pool are all there for the first time, or will not be."""

    def __init__(self) -> None:
        self.error: str | None = None
        self._settled = threading.Event()

    def wait(self, seconds: float) -> None:
        """Until it is settled; where it is not in time, that is the `error`."""
        if not self._settled.wait(seconds):
            self.error = f"not ready within {seconds:.0f} s"

    @property
    def is_settled(self) -> bool:
        """Whether all workers are ready, or the start is given up."""
        return self._settled.is_set()

    def succeed(self) -> None:
        """All workers are ready."""
        self._settled.set()

    def give_up(self, reason: str) -> None:
        """They will not be; once the start has succeeded, this changes nothing."""
        if not self._settled.is_set():
            self.error = reason
            self._settled.set()


class Supervisor:
    """The loop that `run` is, in a thread of its own, and all that it owns.

    Owns the `crew` that it is given and everything made here; leaving `run` closes it all.
    Other threads `submit`, fill the `inbox`, wait for the `start`, and end it by `close_by`;
    at the rest of what is public they only look. What is here is touched by nobody but who
    has the inbox's `turn`: this thread, except while it waits.
    """

    def __init__(
        self,
        crew: Crew,
        listener: Listener,
        *,
        workers: int,
        worker_memory: int | None,
        worker_max_tasks: int,
    ) -> None:
        self.inbox = Inbox()
        self.start = Start()
        self.close_by = math.inf
        self.failed = False  # it has, and there is no worker any more
        self.replaced = 0  # workers that have become ready in the place of others
        self._accident: Exception | None = None  # what has failed in another thread's turn
        self._worker_memory = worker_memory
        self._worker_max_tasks = worker_max_tasks or math.inf
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.inbox, selectors.EVENT_READ, self.inbox)
        self._pipes = Pipes(self._selector)
        self.staff = Staff(crew, self._selector, workers)
        self.dispatch = Dispatch(listener, self._pipes)
        self._lookout = Lookout(self.staff, self.dispatch)

    # -- for any thread ---------------------------------------------------------------

    def submit(self, order: Order) -> None:
        """Do for the order what the loop would be woken to do; or leave it to the loop.

        So it is where tiny tasks come and go: the loop is awake or soon will be, and takes in
        several at a time; and whoever accepts jobs has enough to do.
        """
        if len(self.inbox) or not self.dispatch.is_calm() or not self._has_taken(order):
            self.inbox.put(order)

    def _has_taken(self, order: Order) -> bool:
        """Whether the dispatch has the order now; the loop knows what it has to look out for."""
        if not self.inbox.turn.acquire(blocking=False):
            return False
        try:
            if self.close_by < math.inf:
                return False
            now = time.monotonic()
            self.dispatch.accept(order)
            self.dispatch.hand_out(now)
            self._pipes.send()
            must_wake = self._lookout.must_know(order, now)
        except Exception as error:
            self._accident = error
            must_wake = True
        finally:
            self.inbox.turn.release()
        if must_wake or len(self.inbox):  # filled by those who saw that the turn was taken
            self.inbox.wake()
        return True

    # -- the loop ---------------------------------------------------------------------

    def run(self) -> None:
        """Keep the workers at work until `close_by` is set, then end them by that moment."""
        self.inbox.turn.acquire()  # for good, but for `_wait`
        try:
            while self.close_by == math.inf:
                self._step()
            self._stop_workers()
        except Exception:
            log.critical("the supervisor has failed; its workers are ended", exc_info=True)
            self.failed = True
            self.staff.kill_all()
            self.start.give_up("the supervisor has failed; the log says why")
            raise
        finally:
            self._release()

    def _step(self) -> None:
        """Wait for the next thing to happen and deal with all that has."""
        self.staff.fill()
        if (cause := self.staff.trouble) is not None:
            self.start.give_up(cause)
        self._wait(self._lookout.seconds())
        for arrived in self.inbox.take():
            if isinstance(arrived, int):
                self.dispatch.cancel(arrived)
            else:
                self.dispatch.accept(arrived)
        now = time.monotonic()
        if now >= self._lookout.next_look:
            for gone in self._lookout.look(now):
                self._bury(gone)
        self.dispatch.hand_out(now)
        self._pipes.send()

    def _wait(self, timeout: float | None) -> None:
        """Wait and let others have the turn meanwhile; then take in what the workers say."""
        for key, _ in self._select(timeout):
            match key.data:
                case Worker() as worker:
                    self._serve(worker)
                case ForkServer():
                    self._on_fork_server()
                case _:
                    self.inbox.heard()

    def _select(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        self.inbox.turn.release()
        try:
            ready = self._selector.select(0 if len(self.inbox) else timeout)
        finally:
            self.inbox.turn.acquire()
        if self._accident is not None:
            raise self._accident
        return ready

    def _stop_workers(self) -> None:
        """Ask every worker to leave; kill those that are still there at `close_by`."""
        for worker in self.staff.workers:
            worker.leaving = True
            self._pipes.post(worker, Stop())
        self._pipes.send()
        while self.staff.workers and (left := self.close_by - time.monotonic()) > 0:
            self._wait(left)
        self.staff.kill_all()

    def _release(self) -> None:
        self.inbox.silence()
        self.staff.close()
        self._selector.close()
        self.inbox.close()
        log.info("workers stopped")

    # -- what the workers say ---------------------------------------------------------

    def _serve(self, worker: Worker) -> None:
        """The worker's pipe is ready: take its messages, or learn that it is dead."""
        if worker.buried:
            return
        try:
            arrived = self._pipes.receive(worker)
        except EOFError:
            self._bury(worker)
            return
        for raw in arrived:
            if worker.distrusted:
                return
            try:
                self._take(worker, decoded(raw))
            except OutOfStep as error:
                log.error("worker %d talks nonsense and is killed: %s", worker.pid, error)
                worker.distrusted = True
                worker.kill("talked nonsense")

    def _take(self, worker: Worker, message: FromWorker) -> None:
        if isinstance(message, Result):  # nearly all are
            if pending := self._settle(worker, message.ticket):
                self.dispatch.end(pending, message.data)
            return
        match message:
            case Failure(ticket, reason):
                if pending := self._settle(worker, ticket):
                    self.dispatch.end(pending, None, reason)
            case OutOfMemory(ticket):
                # First, so that nothing counts as begun by it after this.
                self.dispatch.let_go(worker)
                if pending := self._settle(worker, ticket):
                    self.dispatch.end(pending, None, self._memory_reason())
            case Skipped(ticket):
                self._settle(worker, ticket)
            case Grown(size):
                more = in_words(size // 2**20 * 2**20)
                self.staff.retire(worker, f"it keeps {more} more than at its start")
            case Ready():
                self._on_ready(worker)
            case Unfit(reason):
                log.error("worker %d cannot start: %s", worker.pid, reason)
                self.start.give_up(reason)
            case LogLine(level, text, trace, job, request_id):
                about = fields(worker=worker.pid, job=job, request_id=request_id)
                log.log(level, "worker %d: %s", worker.pid, text, extra=about | {"trace": trace})

    def _settle(self, worker: Worker, ticket: int) -> Pending | None:
        """The task that the worker's answer ends, and one more that it has done; None if none."""
        pending = self.dispatch.answered(worker, ticket)
        if pending is not None:
            worker.tasks_done += 1
            if worker.tasks_done >= self._worker_max_tasks:
                self.staff.retire(worker, f"it has done {worker.tasks_done} tasks")
        return pending

    def _memory_reason(self) -> str:
        if self._worker_memory is None:
            return "out of memory"
        return f"memory limit of {in_words(self._worker_memory)}"

    # -- workers come and go ----------------------------------------------------------

    def _on_ready(self, worker: Worker) -> None:
        if worker.ready:
            raise OutOfStep("ready a second time")
        self.dispatch.add(worker)
        if retired := self.staff.on_ready(worker):
            self.dispatch.let_go(retired)
        self.replaced += self.start.is_settled
        if self.staff.whole:
            self.start.succeed()

    def _on_fork_server(self) -> None:
        """Somebody has ended: mostly a worker whose pipe tells so too, or soon will.

        Not where a child that it has left behind holds its end of the pipe open.
        """
        for worker in self.staff.ended():
            self._serve(worker)
            if not worker.buried:
                self._bury(worker)

    def _bury(self, worker: Worker) -> None:
        """The worker is dead: another takes its place, and its tasks are others' from now on."""
        self.dispatch.lose(worker, self.staff.bury(worker))
