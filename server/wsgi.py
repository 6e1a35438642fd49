"""What gunicorn imports, and what its configuration calls. Importing it starts nothing.

The one gunicorn worker is the server: it opens everything when it has been forked
(`start`), and closes everything before it leaves (`stop`).
"""

import logging
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from server.errors import SportivError
from server.reach import check_reach
from server.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from server.jobs import Jobs

CANNOT_START = 4
"""The exit code of a worker that gunicorn must not replace, because it would fail again."""

NOTIFY_SECONDS = 5.0
"""How often the server tells gunicorn that it is alive while it starts."""

MOST_CONNECTIONS = 1000
OWN_DESCRIPTORS = 200
"""What the server keeps for everything but its clients' connections."""

LEAVE_SECONDS = 2.0
"""How long the process stays when all is closed, for answers on their way to clients; and,
when gunicorn's master is gone, how long it may take to close."""

SWITCH_SECONDS = 0.0005
"""After how long a thread that computes lets another one have the interpreter. The main thread asks
for it after each system call, so that at Python's 5 ms a busy server would be slow to accept."""

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

log = logging.getLogger("sportiv.runtime")


class Server:
    """The WSGI callable, and the life of what stands behind it.

    `statistics` names the module whose `STATISTICS` can be asked for.
    """

    def __init__(self, statistics: str = "server.stats") -> None:
        self._statistics = statistics
        self._app: Flask | None = None
        self._jobs: Jobs | None = None
        self._open = ExitStack()
        self._closing = threading.Lock()  # never let go: who gets it closes everything
        self._closed = threading.Event()
        self._in_a_hurry = False
        self._on_drained: Callable[[], object] = lambda: None

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request. Addresses may begin with several slashes: they count as one."""
        path = environ["PATH_INFO"]
        if path.startswith("//"):
            environ["PATH_INFO"] = "/" + path.lstrip("/")
        assert self._app is not None, "gunicorn serves nothing before post_worker_init"
        return self._app(environ, start_response)

    def start(self, settings: Settings, worker: Any) -> None:
        """Open everything in gunicorn's `worker`; leaves the process where that fails."""
        from server.endpoints import create_app
        from server.express import Express
        from server.runtime import serving

        os.umask(0o077)  # what the server writes is its own
        sys.setswitchinterval(SWITCH_SECONDS)
        _leave_at_a_signal(worker)
        worker.receive_seconds = settings.receive_timeout
        threading.Thread(
            target=self._watch_master, args=(worker.ppid,), name="master", daemon=True
        ).start()
        started = threading.Event()
        threading.Thread(target=_keep_alive, args=(worker, started), daemon=True).start()
        try:
            # The first worker of this start; a later one takes the place of one that died.
            keep_log = settings.log_keep or worker.age > 1
            server = serving(settings, self._statistics, keep_log=keep_log)
            self._jobs = self._open.enter_context(server)
        except SportivError as error:
            print(f"sportiv: cannot start: {error}", file=sys.stderr, flush=True)
            sys.exit(CANNOT_START)
        finally:
            started.set()
        self._app = create_app(self._jobs, settings)
        express = Express(self._jobs, settings, worker.express_arrives)
        worker.express = self._open.enter_context(express)
        self._take_over_signals(settings, worker)

    def _take_over_signals(self, settings: Settings, worker: Any) -> None:
        """Begin to drain at the signal itself, not when the last slow client has left.

        gunicorn's own handler of SIGINT and SIGQUIT must not run twice: the second run
        waits for ever for a lock of the first. Ours may, and hastens a drain under way.
        """

        def drain(number: int, frame: FrameType | None) -> None:
            # gunicorn hears of it only when the drain is over: until then requests are
            # answered, if only with 503.
            self._on_drained = partial(worker.handle_exit, number, None)
            self._begin_to_close(settings.drain_timeout)

        def leave_now(number: int, frame: FrameType | None) -> None:
            self._hurry()
            worker.handle_exit(number, frame)

        for number, handler in {
            signal.SIGTERM: drain,
            signal.SIGINT: leave_now,
            signal.SIGQUIT: leave_now,
        }.items():
            signal.signal(number, handler)
            signal.siginterrupt(number, False)

    def _watch_master(self, master: int) -> None:
        """Leave soon when gunicorn's master is gone: nobody would end this process any more.

        gunicorn itself looks for it about every second, and then waits for slow clients.
        """
        try:
            descriptor = os.pidfd_open(master)
        except (AttributeError, OSError):
            if os.getppid() == master:
                return  # the system has no such descriptors: gunicorn's own look must do
        else:
            if os.getppid() == master:  # else the number may be another process's by now
                death = select.poll()
                death.register(descriptor, select.POLLIN)
                death.poll()
            os.close(descriptor)
        if self._jobs is not None:
            log.error("gunicorn's master is gone: leaving")
            self._hurry()
            self._closed.wait(LEAVE_SECONDS)
        os._exit(1)

    def _hurry(self) -> None:
        """Close everything now, or cut the drain short that is under way."""
        self._in_a_hurry = True
        if self._jobs is not None:
            self._jobs.hurry()
        self._begin_to_close(0.0)

    def _begin_to_close(self, timeout: float) -> None:
        if self._closing.acquire(blocking=False):
            threading.Thread(
                target=self._drain_and_close, args=(timeout,), name="closing", daemon=True
            ).start()

    def _drain_and_close(self, timeout: float) -> None:
        assert self._jobs is not None
        try:
            begun = time.monotonic()
            self._jobs.drain()
            drained = self._jobs.wait_until_drained(timeout)
            how = "every job has ended" if drained else "the rest runs at the next start"
            log.info("drained for %.1f s: %s", time.monotonic() - begun, how)
            self._on_drained()
            self._open.close()
        finally:
            self._closed.set()
        if not self._in_a_hurry:
            time.sleep(LEAVE_SECONDS)  # the process leaves meanwhile, where no client is slow
        os._exit(0)

    def stop(self) -> None:
        """Close everything, after the drain where one is under way; gunicorn's worker leaves."""
        if self._jobs is not None:
            self._begin_to_close(0.0)
            self._closed.wait()


application = Server()


def _leave_at_a_signal(worker: Any) -> None:
    """While the server starts, a signal to stop ends the process at once: it has done nothing.

    gunicorn's own handler of SIGTERM would let the start go on to its end.
    """
    for number in _STOPS:
        signal.signal(number, lambda *_: os._exit(0))
    if not worker.alive:
        os._exit(0)  # the signal came first


def _keep_alive(worker: Any, started: threading.Event) -> None:
    while not started.wait(NOTIFY_SECONDS):
        worker.notify()


# -- for gunicorn.conf.py -------------------------------------------------------------


def read_settings() -> Settings:
    """The settings of this process's environment; leaves with a sentence where they are wrong."""
    try:
        settings = Settings.read(os.environ)
        check_reach([(settings.bind.host, settings.bind.port)], settings.token)
    except SportivError as error:
        raise SystemExit(f"sportiv: cannot start: {error}") from None
    for stranger in Settings.strangers(os.environ):
        print(f"sportiv: {stranger}", file=sys.stderr, flush=True)
    return settings


def most_connections() -> int:
    """How many connections the server takes at a time, so that it never lacks descriptors.

    Raises this process's own limit of these as far as it may.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else hard - OWN_DESCRIPTORS
    return max(1, min(MOST_CONNECTIONS, room))


def refuse_more_workers(arbiter: Any, new: int, old: int | None) -> None:
    """gunicorn's `nworkers_changed`: one worker, at the start and for ever."""
    if new == 1:
        return
    sentence = (
        f"sportiv: {new} gunicorn workers are not possible: one server process owns the jobs; "
        "set SPORTIV_WORKERS for more workers that compute"
    )
    if old is None:
        raise SystemExit(sentence)
    arbiter.log.error(sentence)
    arbiter._num_workers = 1


def prepare_arbiter(arbiter: Any, settings: Settings) -> None:
    """gunicorn's `on_starting`: refuse a second server beside the first, heed a second signal.

    gunicorn's command line, or systemd, may have it listen elsewhere than the settings say.
    """
    inherited = [3] if os.environ.get("LISTEN_FDS") else []
    try:
        check_reach([*arbiter.cfg.address, *inherited], settings.token)
    except SportivError as error:
        raise SystemExit(f"sportiv: cannot start: {error}") from None
    if arbiter.cfg.preload_app:
        raise SystemExit("sportiv: --preload is not possible: workers are not forked from here")
    if arbiter.cfg.is_ssl:
        raise SystemExit("sportiv: TLS is not possible: leave it to a reverse proxy")
    for name in ("hup", "usr2"):
        setattr(arbiter, f"handle_{name}", _refusal(arbiter, name))
    _hasten_when_told_twice(arbiter)


def _refusal(arbiter: Any, name: str) -> Callable[[], None]:
    def refuse() -> None:
        arbiter.log.error("SIG%s is refused: stop the server and start it again", name.upper())

    return refuse


def _hasten_when_told_twice(arbiter: Any) -> None:
    """Let any second signal to stop act as SIGQUIT; gunicorn ignores a second SIGTERM.

    It also forgets a signal that comes together with the first. And until a worker that
    it has just forked has handlers of its own, these run there, and nobody would listen.
    """
    told = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if number in _STOPS:
            if os.getpid() != arbiter.pid:
                os._exit(0)
            told += 1
            number = number if told == 1 else signal.SIGQUIT
        arbiter.SIG_QUEUE.put_nowait(number)

    def terminate() -> None:
        if told > 1:
            arbiter.stop(False)
        raise StopIteration

    arbiter.signal = note
    arbiter.handle_term = terminate
