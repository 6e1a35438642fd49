"""Loading a table into shared memory, by a process of its own.

The CSV library and the memory that parsing takes never enter the server: a short-lived
process reads the file into the region that it was handed, says how that went in one line
of JSON, and is gone. It leaves at once when the server is gone.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from server.dataset import load_description
from server.errors import SportivError, StartError
from server.interpreter import module_command, module_environment
from server.shared_data import SharedRegion, write_table


class _Job(msgspec.Struct, frozen=True):
    fd: int
    lifeline: int
    data: str
    dataset: str


class _Failure(msgspec.Struct, frozen=True):
    reason: str


class LoadFailed(StartError):
    """The table cannot be loaded; the text says where and why."""


def load_region(data: Path, dataset: Path) -> SharedRegion:
    """A sealed region with the table of file `data`, read as the description `dataset` says.

    The caller closes it. Raises LoadFailed with the text of the DataError,
    DescriptionError or SharedMemoryError that the loading process met.
    """
    region = SharedRegion()
    lifeline, held = os.pipe()  # reads end of file when this process is gone
    try:
        job = msgspec.json.encode(_Job(region.fd, lifeline, str(data), str(dataset))).decode()
        done = subprocess.run(
            module_command("server.loader", job),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=[region.fd, lifeline],
            env=module_environment(),
            check=False,
        )
        if done.returncode:
            raise LoadFailed(_reason(done))
        region.seal()
    except BaseException:
        region.close()
        raise
    finally:
        os.close(held)
        os.close(lifeline)
    return region


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    try:
        return msgspec.json.decode(done.stdout, type=_Failure).reason
    except msgspec.DecodeError:
        code = done.returncode
        if code < 0:
            return (
                f"the process that loads the table was killed by signal {-code}: too little memory?"
            )
        return f"the process that loads the table left with exit code {code}; see standard error"


def main(job: _Job) -> int:
    """Load the table into the region; the exit code."""
    threading.Thread(target=_watch_lifeline, args=(job.lifeline,), daemon=True).start()
    from server.ingest import read_table  # here, so that the server's end does not import it

    try:
        description = load_description(Path(job.dataset))
        write_table(job.fd, read_table(Path(job.data), description))
    except SportivError as error:
        sys.stdout.buffer.write(msgspec.json.encode(_Failure(str(error))))
        return 1
    return 0


def _watch_lifeline(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(msgspec.json.decode(sys.argv[1], type=_Job)))
