"""What gunicorn imports, and what its configuration calls. Importing it starts nothing.

The one gunicorn worker is the server: it opens everything when it has been forked
(`start`), and closes everything before it leaves (`stop`).
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING, Any

from server.errors import SportivError
from server.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from server.jobs import Jobs

CANNOT_START = 4
"""The exit code of a worker that gunicorn must not replace, because it would fail again."""

NOTIFY_SECONDS = 5.0
"""How often the server tells gunicorn that it is alive while it starts."""

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
        self._closing: threading.Thread | None = None
        self._in_a_hurry = False

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
        from server.runtime import serving

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
        self._app = create_app(self._jobs)
        self._take_over_signals(settings, worker)

    def _take_over_signals(self, settings: Settings, worker: Any) -> None:
        """Begin to drain at the signal itself, not when the last slow client has left.

        gunicorn's own handler of SIGINT and SIGQUIT must not run twice: the second run
        waits for ever for a lock of the first. Ours may, and hastens a drain under way.
        """

        def drain(number: int, frame: FrameType | None) -> None:
            self._begin_to_close(settings.drain_timeout)
            worker.handle_exit(number, frame)

        def leave_now(number: int, frame: FrameType | None) -> None:
            self._in_a_hurry = True
            if self._jobs is not None:
                self._jobs.hurry()
            self._begin_to_close(0.0)
            worker.handle_exit(number, frame)

        for number, handler in {
            signal.SIGTERM: drain,
            signal.SIGINT: leave_now,
            signal.SIGQUIT: leave_now,
        }.items():
            signal.signal(number, handler)
            signal.siginterrupt(number, False)

    def _begin_to_close(self, timeout: float) -> None:
        if self._closing is None:
            self._closing = threading.Thread(
                target=self._drain_and_close, args=(timeout,), name="closing"
            )
            self._closing.start()

    def _drain_and_close(self, timeout: float) -> None:
        assert self._jobs is not None
        begun = time.monotonic()
        self._jobs.drain()
        drained = self._jobs.wait_until_drained(timeout)
        how = "every job has ended" if drained else "the rest runs at the next start"
        log.info("drained for %.1f s: %s", time.monotonic() - begun, how)
        self._open.close()
        if self._in_a_hurry:
            os._exit(0)  # everything is closed; slow clients are not waited for

    def stop(self) -> None:
        """Close everything, after the drain where one is under way; gunicorn's worker leaves."""
        if self._closing is not None:
            self._closing.join()
        self._open.close()


application = Server()


def _keep_alive(worker: Any, started: threading.Event) -> None:
    while not started.wait(NOTIFY_SECONDS):
        worker.notify()


# -- for gunicorn.conf.py -------------------------------------------------------------


def read_settings() -> Settings:
    """The settings of this process's environment; leaves with a sentence where they are wrong."""
    try:
        return Settings.read(os.environ)
    except SportivError as error:
        raise SystemExit(f"sportiv: cannot start: {error}") from None


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


def prepare_arbiter(arbiter: Any) -> None:
    """gunicorn's `on_starting`: refuse what would start a second server beside the first."""
    if arbiter.cfg.preload_app:
        raise SystemExit("sportiv: --preload is not possible: workers are not forked from here")
    for name in ("hup", "usr2"):
        setattr(arbiter, f"handle_{name}", _refusal(arbiter, name))


def _refusal(arbiter: Any, name: str) -> Callable[[], None]:
    def refuse() -> None:
        arbiter.log.error("SIG%s is refused: stop the server and start it again", name.upper())

    return refuse
