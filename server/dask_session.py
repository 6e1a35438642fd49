"""One connection to a Dask scheduler, from when it answers until it is lost.

send ─▶ client ─▶ scheduler ─▶ worker: run_errand
                      │            ├─ "begun", as an event of our topic ─▶ events.begun
  events.lost ◀─ a worker is gone  └─ its answer, gathered ─────────────▶ events.answered
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from distributed import Client, Event, KilledWorker

from server.dask_staff import DaskStaff
from server.dask_worker import Errand, Failed, NotHere, Wanted, difference, run_errand, versions
from server.errors import StartError

CONNECT_SECONDS = 5.0
"""How long one attempt to reach the scheduler may take."""

ECHO_SECONDS = 0.1
"""How long an echo is waited for before there is another call."""

READY_SECONDS = 20.0
"""How long the workers that are there at first are waited for."""

LEAVE_SECONDS = 2.0
"""How long taking leave of the scheduler may take."""

log = logging.getLogger("sportiv.pool")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pool has its tasks computed: the scheduler, and what its workers have to have.

    `table_fd` is the region, `name` tells this pool from others at the scheduler.
    """

    scheduler: str
    wanted: Wanted
    table_fd: int
    name: str


class Events(Protocol):
    """Who hears of a session, in its event loop. Each call is short."""

    def begun(self, ticket: int, worker: str) -> None:
        """A worker has begun with what was sent under this ticket."""

    def through(self, ticket: int, worker: str) -> None:
        """The worker is through with this ticket, wanted or not."""

    def answered(self, ticket: int, answer: bytes | Failed) -> None:
        """The ticket's answer."""

    def came_back(self, ticket: int) -> None:
        """The scheduler does not know of the ticket any more."""

    def given_up(self, ticket: int, worker: str) -> None:
        """The scheduler will not have the ticket computed: its workers have died, this last."""

    def lost(self, worker: str, tickets: list[int]) -> None:
        """A worker is gone that had these tickets."""

    def more_room(self) -> None:
        """There are more slots."""


class Session:
    """A client that has connected, and the workers behind it. Made by `connected`."""

    def __init__(self, client: Client, place: Place, events: Events) -> None:
        self.staff = DaskStaff(client, place.wanted, place.table_fd, events.more_room)
        self._client = client
        self._events = events
        self._name = place.name
        self._resource = place.wanted.resource
        self._hears = asyncio.Event()
        self._following: dict[int, asyncio.Task[None]] = {}
        self._leaving = False

    async def begin(self) -> None:
        """Hear of all workers, and have those that are there made ready, as far as can be."""
        await self._subscribe()
        scheduler: Any = self._client.scheduler
        identity = await scheduler.identity(n_workers=-1)
        if joining := [self.staff.joined(address) for address in identity["workers"]]:
            await asyncio.wait(joining, timeout=READY_SECONDS)

    async def _subscribe(self) -> None:
        """Hear of events from now on: an echo tells that the scheduler knows of the wish.

        Else a worker that comes or goes before that, and after we have asked who is there,
        would be missed.
        """
        self._client.subscribe_topic("all", self._on_event)
        self._client.subscribe_topic(self._resource, self._on_withdrawal)
        self._client.subscribe_topic(self._name, self._on_word)
        while not self._hears.is_set():
            await self._client.log_event(self._name, None)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hears.wait(), ECHO_SECONDS)

    async def until_lost(self) -> None:
        """Return when the scheduler is gone."""
        try:
            await Event(f"{self._name}-never", client=self._client).wait()
        except (OSError, RuntimeError, CancelledError) as error:
            log.warning("the Dask scheduler is lost: %s", error)

    # -- tasks ------------------------------------------------------------------------

    def send(self, ticket: int, errand: Errand) -> None:
        """Have a task computed."""
        work = self._follow(ticket, errand)
        task = asyncio.get_running_loop().create_task(work)
        self._following[ticket] = task
        task.add_done_callback(lambda _: self._following.pop(ticket, None))

    def recall(self, ticket: int) -> None:
        """Wait for this ticket no more; what no worker has begun is not begun."""
        if (task := self._following.get(ticket)) is not None:
            task.cancel()

    async def _follow(self, ticket: int, errand: Errand) -> None:
        """From the task to its answer, or to the news that none will come."""
        future = self._client.submit(
            run_errand,
            _encode(errand),
            key=self._key(ticket, errand),
            resources={errand.resource: 1},
            pure=False,
            fifo_timeout="0ms",  # in the order in which they are sent
        )
        try:
            await future.exception()
            answer = await self._client.gather(future)
        except KilledWorker as error:
            self._events.given_up(ticket, error.last_worker.address)
        except (CancelledError, NotHere, OSError) as error:
            log.info("task %d comes back: %s", ticket, error)
            self._events.came_back(ticket)
        except Exception as error:
            reason = f"Dask cannot have it computed: {type(error).__name__}: {error}"
            self._events.answered(ticket, Failed(reason))
        else:
            if answer is not None:  # else it has come already
                self._events.answered(ticket, answer)
        finally:
            future.release()

    # -- what the scheduler tells -----------------------------------------------------

    def _on_word(self, event: tuple[float, Any]) -> None:
        if event[1] is None:
            self._hears.set()
            return
        ticket, worker, answer = event[1]
        if answer is None:
            self._events.begun(ticket, worker)
        else:
            self._events.through(ticket, worker)
            if answer:
                self._events.answered(ticket, answer)
                self.recall(ticket)

    def _on_withdrawal(self, event: tuple[float, str]) -> None:
        if not self._leaving:
            self.staff.withdrawn(event[1])

    def _on_event(self, event: tuple[float, Any]) -> None:
        if self._leaving:  # nobody would wait for what begins now
            return
        match event[1]:
            case {"action": "add-worker", "worker": address}:
                self.staff.joined(address)
            case {"action": "remove-worker", "worker": address, "processing-tasks": keys}:
                self._events.lost(
                    address, [ticket for key in keys if (ticket := self._ticket(key))]
                )

    def _key(self, ticket: int, errand: Errand) -> str:
        """A name for Dask, which takes what stands before the number for the kind of task."""
        return f"{errand.task.statistic}-{ticket}-{self._name}"

    def _ticket(self, key: object) -> int:
        """The ticket of a task; 0 where it is another's."""
        _, ticket, name = (*str(key).split("-", 2), "", "")[:3]
        return int(ticket) if name == self._name else 0

    async def close(self) -> None:
        """Leave everything that is under way."""
        self._leaving = True
        await self.staff.close()
        for task in list(self._following.values()):
            task.cancel()
        await asyncio.gather(*self._following.values(), return_exceptions=True)


@asynccontextmanager
async def connected(place: Place, events: Events) -> AsyncIterator[Session]:
    """A connection to the scheduler there.

    OSError where nobody answers, StartError where its versions are not ours.
    """
    client = Client(
        place.scheduler,
        asynchronous=True,
        timeout=CONNECT_SECONDS,
        set_as_default=False,
        name=place.name,
    )
    try:
        async with asyncio.timeout(2 * CONNECT_SECONDS):  # of its own accord it may wait for ever
            await client
            await _check_versions(client)
        session = Session(client, place, events)
        try:
            yield session
        finally:
            await session.close()
    finally:
        await _take_leave(client)


async def _check_versions(client: Client) -> None:
    remote: Any = client.scheduler
    theirs = (await remote.versions())["packages"]
    if wrong := difference(theirs, {"distributed": versions()["distributed"]}):
        raise StartError(f"the scheduler does not fit: {wrong}")


async def _take_leave(client: Client) -> None:
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await client.close(timeout=LEAVE_SECONDS)
    except (OSError, TimeoutError) as error:
        log.info("the Dask scheduler was left without a word: %s", error)
