"""Putting a load on a server: by wrk where that is installed and can, else by `benchmarks.load`."""

import math
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress

import msgspec

from benchmarks.load import LONGEST, Load, Measured
from server.interpreter import module_command, module_environment
from server.settings import ROOT

SIGNAL_SECONDS = 0.1
"""How long to wait for wrk after SIGINT before it is sent another one."""


class LoadFailed(RuntimeError):
    """A server has refused some of a load, or could not be reached."""


def measured(load: Load) -> Measured:
    """What the load gave; LoadFailed where any of it was refused."""
    found = _chosen(load)(load)
    if found.refused:
        raise LoadFailed(f"{found.refused} of {found.count} requests to {load.path} were refused")
    return found


def about_generators() -> str:
    """Which generator puts which load, for the report."""
    if shutil.which("wrk") is None:
        return "the load comes from the bundled generator, benchmarks/load.py"
    return (
        "single requests come from wrk, whose latencies also count what waited behind a slow one;"
        " clients that ask for a result until it is there, from the bundled benchmarks/load.py"
    )


def by_wrk(load: Load) -> Measured:
    """One thread of wrk, which is stopped by SIGINT, since it counts whole seconds only.

    The signal is ignored until wrk has its own handler, so none can end it before its time.
    """
    texts = [load.body, *(text for header in load.headers.items() for text in header)]
    command = [
        *("sh", "-c", 'trap "" INT; exec wrk "$@"', "sh"),
        *("-t1", f"-c{load.clients}", f"-d{math.ceil(load.seconds + LONGEST)}s", "--timeout=60s"),
        *("-s", "benchmarks/wrk.lua", f"http://127.0.0.1:{load.port}{load.path}", "--", *texts),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            printed = _printed(process, load.seconds)
        finally:
            process.kill()
    return _decoded(load, process.returncode, printed.rstrip().rpartition(b"\n")[2])


def _printed(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    with suppress(subprocess.TimeoutExpired):
        return process.communicate(timeout=seconds)[0]
    while True:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=SIGNAL_SECONDS)[0]


def by_bundled(load: Load) -> Measured:
    """This project's own generator, which also knows clients that wait for their job."""
    command = module_command("benchmarks.load", msgspec.json.encode(load).decode())
    done = subprocess.run(command, env=module_environment(), stdout=subprocess.PIPE, check=False)
    return _decoded(load, done.returncode, done.stdout)


def _decoded(load: Load, exit_code: int, printed: bytes) -> Measured:
    if exit_code:
        raise LoadFailed(f"the generator left with {exit_code} at {load.path}; see standard error")
    return msgspec.json.decode(printed, type=Measured)


def _chosen(load: Load) -> Callable[[Load], Measured]:
    """wrk knows only clients that send the same request again and again."""
    has_wrk = shutil.which("wrk") is not None
    return by_wrk if has_wrk and not load.reads_result else by_bundled
