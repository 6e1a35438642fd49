"""A Dask scheduler and workers: real processes, of this machine or of simulated hosts."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.servers import free_port

ROOT = Path(__file__).resolve().parents[1]

Process = subprocess.Popen[bytes]

QUIET = {"PYTHONWARNINGS": "ignore", "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "60s"}


@dataclass
class DaskCluster:
    """The processes of a cluster whose scheduler listens at `host` and `port`."""

    folder: Path
    host: str
    port: int
    environment: dict[str, str]
    started: list[Process] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The scheduler's."""
        return f"tcp://{self.host}:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """With which a server computes here."""
        return {
            "SPORTIV_BACKEND": "dask",
            "SPORTIV_DASK_SCHEDULER": self.address,
            "SPORTIV_DASK_COLUMNS": str(self.columns),
        }

    @property
    def columns(self) -> Path:
        """Where its workers keep columns."""
        return self.folder / "columns"

    def start(
        self, *command: str, inside: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> Process:
        """A process of the cluster, perhaps `inside` something that another command makes."""
        dask = str(Path(sys.executable).with_name("dask"))
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen(
                [*inside, dask, *command],
                cwd=self.folder,
                env=os.environ | self.environment | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def start_scheduler(self) -> Process:
        """The scheduler, always at the same address."""
        return self.start(
            *("scheduler", "--host", self.host, "--port", str(self.port)),
            *("--no-dashboard", "--no-jupyter"),
        )

    def start_worker(
        self,
        *options: str,
        host: str = "127.0.0.1",
        inside: Sequence[str] = (),
        **environment: str,
    ) -> Process:
        """The nanny of a worker process with one thread, which is its child."""
        return self.start(
            *("worker", self.address, "--host", host, "--nthreads", "1", "--memory-limit", "0"),
            *("--no-dashboard", "--local-directory", str(self.folder), *options),
            inside=inside,
            environment=environment,
        )

    def end(self, process: Process) -> None:
        """Kill a process of the cluster, and all that it has started.

        But not the one that then tidies up after them, and leaves: they have semaphores.
        """
        process.kill()
        for pid in _members(process.pid):
            with contextlib.suppress(OSError):
                if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        process.wait(10)
        self.started.remove(process)


def _members(group: int) -> Iterator[int]:
    """The processes of a process group."""
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == group:
                yield pid


@contextmanager
def dask_cluster(
    folder: Path, workers: int = 2, host: str = "127.0.0.1", **environment: str
) -> Iterator[DaskCluster]:
    """A scheduler and workers; leaving kills them."""
    folder.mkdir(exist_ok=True)
    variables = {"PYTHONPATH": str(ROOT), **QUIET, **environment}
    cluster = DaskCluster(folder, host, free_port(), variables)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        for process in list(cluster.started):
            cluster.end(process)
