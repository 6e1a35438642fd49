"""The Dask workers of one connection: who is there, who has the columns, who is to be ended.

A worker that joins is asked whether it can compute for us. Where its host lacks the columns,
these are sent in pieces, to one worker of a host at a time; then it offers to compute.
"""

import asyncio
import logging
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from distributed import Client

from server import dask_worker
from server.dask_worker import Presence, Wanted

PIECE = 4 << 20
"""How many bytes of the columns go in one message."""

ANSWER_SECONDS = 60.0
"""How long a worker may take for one answer about itself or its columns."""

AGAIN_SECONDS = 5.0
"""How soon a worker is asked again that does not offer our columns any more."""

KILL_SECONDS = 2.0
"""How long whoever has started a worker may take to end it; then it is only cast out."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds before a worker is asked again

log = logging.getLogger("sportiv.pool")


@dataclass(eq=False, slots=True)
class Member:
    """A worker of the cluster. Without a `presence` it is not ready."""

    address: str
    presence: Presence | None = None
    unfit: str | None = None
    kill_reason: str | None = None
    tasks_done: int = 0

    @property
    def slots(self) -> int:
        """How many tasks it computes at a time for us."""
        return self.presence.threads if self.presence and not self.kill_reason else 0


class DaskStaff:
    """The workers of a cluster. Owned by one event loop; any thread may look at `members`.

    Borrows the client and the region `fd`. `changed()` is called when there are more slots.
    """

    def __init__(
        self, client: Client, wanted: Wanted, fd: int, changed: Callable[[], object]
    ) -> None:
        self.members: dict[str, Member] = {}
        self._client = client
        self._wanted = wanted
        self._fd = fd
        self._changed = changed
        self._sending: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._preparing: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def slots(self) -> int:
        """How many tasks can be computed at a time."""
        return sum(member.slots for member in list(self.members.values()))

    @property
    def unfit(self) -> str | None:
        """Why a worker that is there cannot be used; None where there is no such worker."""
        told = (f"{m.address}: {m.unfit}" for m in list(self.members.values()) if m.unfit)
        return next(told, None)

    # -- workers come and go ----------------------------------------------------------

    def joined(self, address: str) -> asyncio.Task[None]:
        """A worker is there: have it made ready."""
        member = self.members[address] = Member(address)
        return _begin(self._make_ready(member), self._preparing)

    def withdrawn(self, address: str) -> None:
        """A worker does not offer to compute for us any more; it is asked again in a while."""
        member = self.members.get(address)
        if member is not None and member.presence is not None:
            log.warning("Dask worker %s does not offer the columns any more", address)
            member.presence = None
            _begin(self._make_ready(member, AGAIN_SECONDS), self._preparing)

    def left(self, address: str) -> Member | None:
        """A worker is gone; who that was, None where it was not known."""
        return self.members.pop(address, None)

    def kill(self, address: str, reason: str) -> None:
        """End the worker: what it computes is not wanted. Whoever started it starts another."""
        member = self.members.get(address)
        if member is not None and member.kill_reason is None:
            member.kill_reason = reason
            log.info("Dask worker %s is ended: %s", address, reason)
            _begin(self._end(member), self._ending)

    async def close(self) -> None:
        """Leave what is under way; workers that are being ended are waited for."""
        for task in self._preparing:
            task.cancel()
        await asyncio.gather(*self._preparing, *self._ending, return_exceptions=True)

    # -- making a worker ready --------------------------------------------------------

    async def _make_ready(self, member: Member, after: float = 0.0) -> None:
        """Until the worker is ready, cannot be used, or is gone."""
        await asyncio.sleep(after)
        pause = _FIRST_PAUSE
        while self.members.get(member.address) is member:
            try:
                presence = await self._prepared(member.address)
            except Exception as error:
                log.warning("Dask worker %s is not ready: %s", member.address, _told(error))
                if isinstance(error, ImportError):
                    member.unfit = f"it cannot import this program: {error}"
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            member.unfit = presence.unfit
            if presence.unfit is None:
                member.presence = presence
                log.info("Dask worker %s is ready, pid %d", member.address, presence.pid)
                self._changed()
            else:
                log.error("Dask worker %s cannot be used: %s", member.address, presence.unfit)
            return

    async def _prepared(self, address: str) -> Presence:
        presence: Presence = await self._ask(address, dask_worker.prepare, self._wanted)
        if presence.lacks is not None:
            async with self._sending[presence.lacks]:
                presence = await self._ask(address, dask_worker.prepare, self._wanted)
                if presence.lacks is not None:
                    await self._send_columns(address)
                    presence = await self._ask(address, dask_worker.prepare, self._wanted)
        if presence.lacks is not None:
            raise OSError("it does not keep the columns that were sent")
        return presence

    async def _send_columns(self, address: str) -> None:
        size = os.fstat(self._fd).st_size
        log.info("sending the columns, %d bytes, to the host of %s", size, address)
        name = await self._ask(address, dask_worker.begin_columns, self._wanted, size)
        for at in range(0, size, PIECE):
            piece = os.pread(self._fd, PIECE, at)
            await self._ask(address, dask_worker.add_columns, self._wanted, name, piece, at)
        await self._ask(address, dask_worker.end_columns, self._wanted, name)

    async def _ask(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        async with asyncio.timeout(ANSWER_SECONDS):
            answers = await self._client.run(function, *arguments, workers=[address])
        return answers[address]

    # -- ending one -------------------------------------------------------------------

    async def _end(self, member: Member) -> None:
        """Kill the process, by its nanny; cast it out of the cluster, whether it is dead or not.

        What was waiting for it is then others', also where it cannot be reached.
        """
        address, presence = member.address, member.presence
        try:
            async with asyncio.timeout(KILL_SECONDS):
                if presence and presence.nanny:
                    kill = (os.kill, presence.pid, signal.SIGKILL)
                    await self._client.run(*kill, workers=[address], nanny=True)
                else:
                    await self._client.run(dask_worker.leave, workers=[address], wait=False)
        except Exception as error:
            log.warning("Dask worker %s could not be ended: %s", address, _told(error))
        try:
            async with asyncio.timeout(KILL_SECONDS):
                scheduler: Any = self._client.scheduler
                await scheduler.unregister(address=address, stimulus_id="sportiv-kill")
        except Exception as error:
            log.warning("Dask worker %s could not be cast out: %s", address, _told(error))


def _begin(
    work: Coroutine[Any, Any, None], under_way: set[asyncio.Task[None]]
) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(work)
    under_way.add(task)
    task.add_done_callback(under_way.discard)
    return task


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip(": ")
