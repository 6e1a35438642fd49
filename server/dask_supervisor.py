"""The event loop of a Dask pool, and all that only its thread touches.

    orders ─▶ tasks ─ send ─▶ session ─▶ scheduler and workers
                ▲                │
                └── begun, answered, lost ... ◀─┘

A session lasts as long as the scheduler does. When it is lost everything that was with it
waits, until one answers at the same address again.
"""

import asyncio
import logging
import time
from contextlib import suppress

from server.dask_session import Place, Session, connected
from server.dask_tasks import DaskTasks, Out
from server.dask_worker import Errand, Failed
from server.errors import StartError
from server.logging_setup import fields
from server.messages import TaskKind
from server.pool import Attempt, Listener, Order, TimeLimit
from server.supervisor import Start

RECONNECT_SECONDS = 1.0
"""The pause before a lost scheduler is looked for again."""

NEWS_SECONDS = 0.2
"""How long the word of what has begun may be on its way."""

SPARE_SECONDS = 0.2
"""How long a worker may be at what is not wanted any more before it is ended."""

log = logging.getLogger("sportiv.pool")


class DaskSupervisor:
    """Keeps a connection, and the tasks at work there, until `closing` is set.

    Other threads have the loop call what is here, wait for the `start`, and look at the rest.
    """

    def __init__(self, listener: Listener, place: Place, patience: float) -> None:
        self.start = Start()
        self.loop = asyncio.new_event_loop()
        self.closing = asyncio.Event()
        self.close_by = float("inf")
        self.session: Session | None = None
        self.lacking = "it has not answered yet"  # why there is no session
        self.alone_since: float | None = time.monotonic()  # since when there is no worker
        self.replaced = 0  # workers that have become ready in the place of others
        self.tasks = DaskTasks(listener, self)
        self._place = place
        self._patience = patience
        self._gone = 0  # workers that were ready, for whom no other has come
        self._emptied = asyncio.Event()
        self._ends: dict[int, asyncio.TimerHandle] = {}  # by the job whose time is over then
        self._spared: dict[int, asyncio.TimerHandle] = {}  # by the ticket that is not wanted
        self._impatience: asyncio.TimerHandle | None = None

    # -- the loop ---------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `closing` is set; leaves nothing behind."""
        try:
            self.loop.run_until_complete(self._serve())
        except Exception:
            log.critical("the Dask backend has failed", exc_info=True)
            self.lacking = "the Dask backend has failed; the log says why"
            self.start.give_up(self.lacking)
            raise
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            log.info("workers stopped for this server, and left to their cluster")

    async def _serve(self) -> None:
        closing = self.loop.create_task(self.closing.wait())
        while not closing.done():
            connection = self.loop.create_task(self._stay_connected())
            await asyncio.wait({connection, closing}, return_when=asyncio.FIRST_COMPLETED)
            if closing.done():
                await self._wind_up()
                connection.cancel()
            await asyncio.wait({connection})
            if not connection.cancelled():
                connection.result()
            await asyncio.wait({closing}, timeout=RECONNECT_SECONDS)

    async def _stay_connected(self) -> None:
        """From a connection, if there can be one, to its loss."""
        try:
            async with connected(self._place, self) as session:
                self.session = session
                await session.begin()
                self._judge_start(session)
                await session.until_lost()
                self.lacking = "it was lost"
        except StartError as error:
            self.lacking = str(error)
            self.start.give_up(self.lacking)
        except Exception as error:  # also what Dask itself stumbles over: it is tried again
            self.lacking = f"{type(error).__name__}: {error}".strip(": ")
            unexpected = not isinstance(error, OSError)
            address = self._place.scheduler
            log.warning("not connected to %s: %s", address, self.lacking, exc_info=unexpected)
        finally:
            self.session = None
            self._note_room()
            self.tasks.take_back_all()

    def _judge_start(self, session: Session) -> None:
        """The start succeeds, also without any worker, but not where none can ever be used."""
        if (unfit := session.staff.unfit) and not session.staff.slots:
            self.start.give_up(f"no worker can be used; {unfit}")
        self.start.succeed()

    async def _wind_up(self) -> None:
        """Begin nothing more; wait for what is begun, and end the workers that take too long."""
        self._look_if_emptied()
        await self._empty_by(min(self.close_by, time.monotonic() + NEWS_SECONDS))
        for out in [out for out in self.tasks.out.values() if not out.begun]:
            self.tasks.came_back(out.ticket)
        self._look_if_emptied()
        if not await self._empty_by(self.close_by):
            for out in list(self.tasks.out.values()):
                self.kill(out.worker or "", "the server leaves")

    async def _empty_by(self, moment: float) -> bool:
        """Wait until nothing is with Dask, at most until then; whether nothing is."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._emptied.wait(), max(0.0, moment - time.monotonic()))
        return self._emptied.is_set()

    # -- what other threads want ------------------------------------------------------

    def accept(self, order: Order) -> None:
        """A new task."""
        self.tasks.accept(order, time.monotonic())
        self._hand_out()
        self._count_patience()

    def cancel(self, job: int) -> None:
        """The job's tasks have no outcome any more."""
        self.tasks.cancel(job)
        self._forget_end(job)
        self._hand_out()

    # -- what the session tells -------------------------------------------------------

    def begun(self, ticket: int, worker: str) -> None:
        """A worker has begun with a task."""
        self.tasks.begun(ticket, worker, time.monotonic())

    def through(self, ticket: int, worker: str) -> None:
        """A worker is at this ticket no more."""
        if (timer := self._spared.pop(ticket, None)) is not None:
            timer.cancel()
        if self.session and (member := self.session.staff.members.get(worker)):
            member.tasks_done += 1
        self.tasks.through(ticket)
        self._hand_out()

    def answered(self, ticket: int, answer: bytes | Failed) -> None:
        """A task's answer."""
        if (out := self.tasks.out.get(ticket)) is None:
            return
        if isinstance(answer, Failed):
            _log_failure(out, answer)
            self.tasks.answered(ticket, None, answer.reason, time.monotonic())
        else:
            self.tasks.answered(ticket, answer, None, time.monotonic())
        if (task := out.pending.order.task).kind in (TaskKind.WHOLE, TaskKind.COMBINE):
            self._forget_end(task.job)
        self._hand_out()

    def came_back(self, ticket: int) -> None:
        """A task is with Dask no more."""
        self.tasks.came_back(ticket)
        self._hand_out()

    def given_up(self, ticket: int, worker: str) -> None:
        """Dask has lost too many workers that had a task."""
        self.tasks.given_up(ticket, self._attempt(worker))
        self._hand_out()

    def lost(self, worker: str, tickets: list[int]) -> None:
        """A worker is gone."""
        self.tasks.lost(worker, tickets, self._attempt(worker))
        member = self.session.staff.left(worker) if self.session else None
        if member is not None and member.presence is not None:
            self._gone += 1
        self._note_room()
        self._hand_out()

    def more_room(self) -> None:
        """A worker has become ready, perhaps in the place of another."""
        if self._gone:
            self._gone -= 1
            self.replaced += 1
        self._note_room()
        self._hand_out()

    def _attempt(self, worker: str) -> Attempt | None:
        """What the loss of a worker costs a task; None where we ended it, or it was to leave."""
        member = self.session.staff.members.get(worker) if self.session else None
        if member is not None and (member.kill_reason or member.presence is None):
            return None
        pid = member.presence.pid if member and member.presence else 0
        return Attempt(pid, None, None, f"Dask has lost its worker {worker}", "computing")

    def _note_room(self) -> None:
        if self.session is not None and self.session.staff.slots:
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = time.monotonic()
        self._count_patience()

    # -- what the tasks need ----------------------------------------------------------

    def send(self, ticket: int, order: Order) -> None:
        """Have a task computed."""
        now = time.monotonic()
        left = order.time_limit.deadline(now) - now
        place = self._place
        errand = Errand(place.name, ticket, place.wanted.resource, left, order.task)
        if self.session is not None:
            self.session.send(ticket, errand)

    def recall(self, ticket: int) -> None:
        """Wait for an answer no more."""
        if self.session is not None:
            self.session.recall(ticket)

    def kill(self, worker: str, reason: str) -> None:
        """End a worker."""
        if self.session is not None:
            self.session.staff.kill(worker, reason)
            self._note_room()

    def let_finish(self, ticket: int, worker: str) -> None:
        """End a worker, unless it is through with this ticket in a moment."""
        if ticket not in self._spared:
            self._spared[ticket] = self.loop.call_later(
                SPARE_SECONDS, self._end_spared, ticket, worker
            )

    def _end_spared(self, ticket: int, worker: str) -> None:
        del self._spared[ticket]
        self.kill(worker, "computes what is not wanted any more")

    def watch(self, limit: TimeLimit, job: int) -> None:
        """End the job when its time is over."""
        if job not in self._ends:
            at = limit.deadline(time.monotonic())
            self._ends[job] = self.loop.call_at(at, self._end_job, job, str(limit))

    def _end_job(self, job: int, reason: str) -> None:
        self._forget_end(job)
        self.tasks.end_job(job, reason)
        self._hand_out()

    def _forget_end(self, job: int) -> None:
        if (timer := self._ends.pop(job, None)) is not None:
            timer.cancel()

    def _hand_out(self) -> None:
        if self.session is not None and not self.closing.is_set():
            self.tasks.hand_out(self.session.staff.slots, time.monotonic())
        self._look_if_emptied()

    def _look_if_emptied(self) -> None:
        if self.closing.is_set() and not self.tasks.out:
            self._emptied.set()

    # -- where there is nobody to compute ---------------------------------------------

    def _count_patience(self) -> None:
        """See to it that nothing waits too long for a worker where there is none."""
        if self.alone_since is None or self._impatience is not None:
            return
        if (oldest := self.tasks.oldest()) is not None:
            at = max(oldest, self.alone_since) + self._patience
            self._impatience = self.loop.call_at(at, self._lose_patience)

    def _lose_patience(self) -> None:
        self._impatience = None
        now = time.monotonic()
        if self.alone_since is not None and self.alone_since + self._patience <= now:
            reason = f"no Dask worker for {self._patience:g} s"
            self.tasks.end_what_came_before(now - self._patience, reason)
        self._count_patience()


def _log_failure(out: Out, failed: Failed) -> None:
    task = out.pending.order.task
    about = fields(job=task.job, statistic=task.statistic, request_id=task.request_id)
    story = ("job %d part %d raised %s", task.job, task.part, failed.reason)
    log.error(*story, extra=about | {"trace": failed.story})
