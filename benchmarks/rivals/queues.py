"""The queues that are compared, with their workers on a Redis of their own.

queue's module: submit(statistic, request) -> id, result(id) -> the answer or None
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import Skipped
from benchmarks.servers import free_port, running, under_gunicorn, wait_until
from server.interpreter import computing_environment

Commands = Callable[[int], list[list[str]]]
"""What starts the workers for so many cores."""

LEAVES_OUT = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass(frozen=True, slots=True)
class Queue:
    """One of them: its package, our module of jobs for it, and its workers."""

    package: str
    module: str
    workers: Commands

    @property
    def is_installed(self) -> bool:
        """Whether it can take part."""
        return find_spec(self.package) is not None and find_spec("redis") is not None


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _celery(cores: int) -> list[list[str]]:
    application = ["-A", "benchmarks.rivals.celery_jobs"]
    options = ["-c", str(cores), "-l", "ERROR", *LEAVES_OUT]
    return [[_program("celery"), *application, "worker", *options]]


def _rq(worker: str) -> Commands:
    return lambda cores: [[sys.executable, "-m", "benchmarks.rivals.rq_jobs", worker]] * cores


def _huey(cores: int) -> list[list[str]]:
    options = ["-k", "process", "-w", str(cores), "--no-periodic", "--quiet"]
    return [[_program("huey_consumer"), "benchmarks.rivals.huey_jobs.huey", *options]]


def _none(cores: int) -> list[list[str]]:
    """Dask's client starts its own."""
    return []


def _dramatiq(cores: int) -> list[list[str]]:
    return [[_program("dramatiq"), "benchmarks.rivals.dramatiq_jobs", "-p", str(cores)]]


QUEUES = {
    "Celery": Queue("celery", "benchmarks.rivals.celery_jobs", _celery),
    "RQ": Queue("rq", "benchmarks.rivals.rq_jobs", _rq("Worker")),
    "RQ, SimpleWorker": Queue("rq", "benchmarks.rivals.rq_jobs", _rq("SimpleWorker")),
    "Huey": Queue("huey", "benchmarks.rivals.huey_jobs", _huey),
    "Dramatiq": Queue("dramatiq", "benchmarks.rivals.dramatiq_jobs", _dramatiq),
    "Dask": Queue("distributed", "benchmarks.rivals.dask_jobs", _none),
}
"""Each by the name that the report has for it."""

ABOUT = (
    "queues have one worker a core, which compute with this project's own functions over its"
    " shared table, and a Redis that writes nothing to disk"
)


def installed(names: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """The queues of these names that can take part, and a note for each other one."""
    present = [name for name in names if QUEUES[name].is_installed]
    return present, tuple(f"{name} is not installed" for name in names if name not in present)


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis without persistence, on a port of the loopback interface; its URL.

    Skipped where there is no redis-server.
    """
    program = shutil.which("redis-server")
    if program is None or find_spec("redis") is None:
        raise Skipped("redis-server, or the package redis, is not installed")
    import redis

    port = free_port()
    with tempfile.TemporaryDirectory() as folder, redis.Redis(port=port) as connection:

        def answers() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(connection.ping())
            return False

        options = ("--bind", "127.0.0.1", "--port", str(port), "--dir", folder)
        command = [program, *options, "--save", "", "--appendonly", "no"]
        with running(command) as process:
            wait_until(answers, process, "redis-server")
            yield f"redis://127.0.0.1:{port}"


@contextmanager
def working(name: str, redis: str, region: str, cores: int) -> Iterator[dict[str, str]]:
    """The workers of a queue; the environment in which its module reaches them.

    `region` is the file that they attach the table from. They are killed in the end: they
    have nothing to keep, and some take seconds to leave.
    """
    queue = QUEUES[name]
    address = f"{redis}/{list(QUEUES).index(name)}"
    environment = {"RIVAL": queue.module, "RIVAL_REDIS": address, "RIVAL_REGION": region}
    with ExitStack() as opened:
        for command in queue.workers(cores):
            surroundings = computing_environment() | environment
            opened.enter_context(running(command, surroundings, grace=0.0))
        yield environment


@contextmanager
def behind_flask(name: str, redis: str, region: str, cores: int) -> Iterator[int]:
    """A queue with its workers, and Flask under gunicorn in front of them; the port."""
    with (
        working(name, redis, region, cores) as environment,
        under_gunicorn("benchmarks.rivals.front:app", "/", **environment) as port,
    ):
        yield port
