"""Starting further Python processes that see the same modules as this one."""

import os
import sys
from pathlib import Path

from server.memory import KEEPING_FREED

_THREADS_OF_BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs `module` as a program, with this interpreter."""
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """This process's environment, with its own module path written out for the child."""
    path = [entry or str(Path.cwd()) for entry in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def computing_environment() -> dict[str, str]:
    """For a process that computes: one BLAS thread, and an allocator that keeps its memory.

    Two such processes with two BLAS threads each are slower than with one; one that has
    nothing for BLAS to do begins with threads that wait for work by looking for it.
    """
    return module_environment() | dict.fromkeys(_THREADS_OF_BLAS, "1") | KEEPING_FREED
