"""A Dask scheduler and workers as real processes on this machine's loopback."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.servers import ROOT, free_port, wait_for

QUIET = {"DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "60s", "PYTHONWARNINGS": "ignore"}


@dataclass
class DaskCluster:
    """The processes of a cluster; `address` is its scheduler's."""

    folder: Path
    address: str
    environment: dict[str, str]
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def columns(self) -> Path:
        """Where its workers keep columns."""
        return self.folder / "columns"

    def start(self, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
        """A process of the cluster."""
        dask = str(Path(sys.executable).with_name("dask"))
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen(
                [dask, *command],
                cwd=self.folder,
                env=os.environ | self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def start_scheduler(self) -> "subprocess.Popen[bytes]":
        """The scheduler, at the cluster's address."""
        port = self.address.rpartition(":")[2]
        return self.start(
            *("scheduler", "--host", "127.0.0.1", "--port", port),
            *("--no-dashboard", "--no-show", "--no-jupyter"),
        )

    def start_worker(self, *options: str, **environment: str) -> "subprocess.Popen[bytes]":
        """A worker process with one thread, and its nanny, whose pid this is."""
        return self.start(
            *("worker", self.address, "--host", "127.0.0.1", "--nthreads", "1"),
            *("--no-dashboard", "--local-directory", str(self.folder), "--memory-limit", "0"),
            *options,
            **environment,
        )

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill a process of the cluster, and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(10)
        self.started.remove(process)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, **environment: str) -> Iterator[DaskCluster]:
    """A scheduler and workers; leaving kills them."""
    folder.mkdir(exist_ok=True)
    variables = {"PYTHONPATH": str(ROOT), **QUIET, **environment}
    cluster = DaskCluster(folder, f"tcp://127.0.0.1:{free_port()}", variables)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        for process in list(cluster.started):
            cluster.end(process)


__all__ = ["DaskCluster", "dask_cluster", "wait_for"]
