"""Statistics for tests: the real ones, and some that do what no statistic should."""

import contextlib
import ctypes
import math
import os
import resource
import signal
import sys
import threading
import time
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from server.stats import STATISTICS as REAL
from server.stats.statistic import JobRequest, Json, Statistic
from server.table import Table


class Anything(JobRequest, frozen=True, forbid_unknown_fields=True):
    """A request with a few loose fields for the statistics below."""

    value: Any = None
    path: str = ""
    seconds: float = 0.0
    question: str | None = None


class Touchy(JobRequest, frozen=True, forbid_unknown_fields=True):
    """A request that cannot be looked at, as where a check has a mistake in it."""

    def __post_init__(self) -> None:
        raise RuntimeError("touchy")


def been_here(request: Anything) -> bool:
    """Whether an earlier attempt has left its mark at `path`; without a path, never."""
    if not request.path:
        return False
    mark = Path(request.path)
    if mark.exists():
        return True
    mark.touch()
    return False


def announce(request: Anything) -> None:
    """Tell at `path`.begun, whole or not at all, in which process the task has begun."""
    draft = Path(f"{request.path}.{os.getpid()}.{threading.get_ident()}")
    draft.write_text(str(os.getpid()))
    draft.rename(f"{request.path}.begun")


def own_pipe() -> int:
    """The worker's end of its pipe: the one socket that it has beside the standard streams."""
    (pipe,) = (
        int(entry.name)
        for entry in Path("/proc/self/fd").iterdir()
        if int(entry.name) > 2 and entry.is_socket()
    )
    return pipe


def echo(table: Table, request: Anything, part: Json) -> Json:
    """The request's value."""
    return request.value


def pid(table: Table, request: Anything, part: Json) -> Json:
    """The worker's process id."""
    return os.getpid()


def loaded_modules(table: Table, request: Anything, part: Json) -> Json:
    """Which modules the worker has imported."""
    return sorted(sys.modules)


def wait_for_file(table: Table, request: Anything, part: Json) -> Json:
    """Announce itself as `path`.begun, then wait until `path` exists."""
    announce(request)
    while not Path(request.path).exists():
        time.sleep(0.005)
    return request.value


def spin(table: Table, request: Anything, part: Json) -> Json:
    """Announce itself where there is a `path`, then compute in Python for `seconds`."""
    if request.path:
        announce(request)
    end = time.process_time() + request.seconds
    turns = 0
    while time.process_time() < end:
        turns += 1
    return turns


def hold_interpreter(table: Table, request: Anything, part: Json) -> Json:
    """Announce itself, then count to `value` in C code that never lets another thread run."""
    announce(request)
    return sum(repeat(1, request.value))


def pause(table: Table, request: Anything, part: Json) -> Json:
    """The request's value, after `seconds`."""
    time.sleep(request.seconds)
    return request.value


def fill_array(table: Table, request: Anything, part: Json) -> Json:
    """Make an array of `value` bytes; how many there are."""
    return int(np.ones(request.value // 8).nbytes)


def fill_bytes(table: Table, request: Anything, part: Json) -> Json:
    """Make a byte array of `value` bytes; how many there are."""
    return len(bytearray(request.value))


def grow_list(table: Table, request: Anything, part: Json) -> Json:
    """Make a list of `value` bytes one entry at a time; how many entries there are."""
    grown: list[None] = []
    while len(grown) < request.value // 8:
        grown.append(None)
    return len(grown)


def make_objects(table: Table, request: Anything, part: Json) -> Json:
    """Make and keep small objects of `value` bytes in all; how many there are."""
    return len([(number,) for number in range(request.value // 64)])


def catch_memory_error(table: Table, request: Anything, part: Json) -> Json:
    """As `fill_bytes`, but content with a failure."""
    try:
        return fill_bytes(table, request, part)
    except MemoryError:
        return "content"


_leaked: list[bytes] = []


def leak(table: Table, request: Anything, part: Json) -> Json:
    """Keep `value` bytes for ever, and take at least `seconds`; the worker's process id."""
    _leaked.append(b"x" * request.value)
    time.sleep(request.seconds)
    return os.getpid()


def leak_descriptors(table: Table, request: Anything, part: Json) -> Json:
    """Open and keep files until no more of `value` may be open; how many these are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (request.value, hard))
    kept: list[int] = []
    with contextlib.suppress(OSError):
        while True:
            kept.append(os.open(os.devnull, os.O_RDONLY))
    return len(kept)


def outstay(table: Table, request: Anything, part: Json) -> Json:
    """Have the worker go on for `seconds` when it should leave."""
    os._exit = lambda code: time.sleep(request.seconds)
    return None


def stop_self(table: Table, request: Anything, part: Json) -> Json:
    """Stop the whole process, as a debugger or a frozen machine would."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return None


def leave(table: Table, request: Anything, part: Json) -> Json:
    """End the worker with exit code `value`, without any clean-up."""
    os._exit(request.value)


def leave_after(table: Table, request: Anything, part: Json) -> Json:
    """End the worker with exit code `value` after `seconds`."""
    time.sleep(request.seconds)
    os._exit(request.value)


def leave_once(table: Table, request: Anything, part: Json) -> Json:
    """End the worker, unless an earlier attempt has left its mark at `path`."""
    if not been_here(request):
        os._exit(3)
    return "survived"


def system_exit(table: Table, request: Anything, part: Json) -> Json:
    """Raise SystemExit."""
    sys.exit(request.value)


def interrupt(table: Table, request: Anything, part: Json) -> Json:
    """Raise an exception that is no `Exception`, and no SystemExit either."""
    raise KeyboardInterrupt


def signal_self(table: Table, request: Anything, part: Json) -> Json:
    """Send signal `value` to the worker itself."""
    os.kill(os.getpid(), request.value)
    return None


def abort(table: Table, request: Anything, part: Json) -> Json:
    """End the worker as a failed assertion in C code does."""
    os.abort()


def segfault(table: Table, request: Anything, part: Json) -> Json:
    """Read from address zero."""
    ctypes.string_at(0)


def fail(table: Table, request: Anything, part: Json) -> Json:
    """Raise an exception with an argument that is no text."""
    raise ValueError(request.value)


class Mute(Exception):
    """An exception that has no text to give."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def fail_mutely(table: Table, request: Anything, part: Json) -> Json:
    """Raise an exception whose text cannot be had."""
    raise Mute


def fail_beyond_unicode(table: Table, request: Anything, part: Json) -> Json:
    """Raise an exception whose text no encoding takes, as the name of an odd file has it."""
    raise ValueError(os.fsdecode(b"\xff"))


def fail_at_length(table: Table, request: Anything, part: Json) -> Json:
    """Raise an exception whose text has `value` letters."""
    raise ValueError("x" * request.value)


def undefined(table: Table, request: Anything, part: Json) -> Json:
    """Numbers that JSON does not know."""
    return {"nan": math.nan, "infinity": math.inf}


def odd_type(table: Table, request: Anything, part: Json) -> Json:
    """Something that cannot be encoded."""
    return object()


def deep(table: Table, request: Anything, part: Json) -> Json:
    """A list in a list in a list, `value` times."""
    nest: list[Json] = []
    for _ in range(request.value):
        nest = [nest]
    return nest


def beyond_unicode(table: Table, request: Anything, part: Json) -> Json:
    """A text that no encoding takes."""
    return os.fsdecode(b"\xff")


def huge(table: Table, request: Anything, part: Json) -> Json:
    """A text of `value` bytes."""
    return "x" * request.value


def repeat_text(table: Table, request: Anything, part: Json) -> Json:
    """A list of `value` times the same text of a mebibyte."""
    return ["x" * 2**20] * request.value


def write_column(table: Table, request: Anything, part: Json) -> Json:
    """Try to change a shared column."""
    table.value[0] = 0.0
    return None


def unlock_column(table: Table, request: Anything, part: Json) -> Json:
    """Try to make a shared column writeable."""
    table.value.flags.writeable = True
    return None


def overwrite_memory(table: Table, request: Anything, part: Json) -> Json:
    """Write into a shared column as C code does, which nothing but the hardware stops."""
    ctypes.memset(table.value.ctypes.data, 0, 8)
    return None


def first_value(table: Table, request: Anything, part: Json) -> Json:
    """The first value of the table."""
    return float(table.value[0])


def value_sum(table: Table, request: Anything, part: Json) -> Json:
    """The sum of all values."""
    return float(table.value.sum())


def babble(table: Table, request: Anything, part: Json) -> Json:
    """Write `value` (bytes in hexadecimal) into the worker's own pipe, where it is a first try.

    Goes on for `seconds` as if nothing had been.
    """
    if not been_here(request):
        os.write(own_pipe(), bytes.fromhex(request.value))
        time.sleep(request.seconds)
    return "survived"


def babble_and_leave(table: Table, request: Anything, part: Json) -> Json:
    """As `babble`, and end the worker right behind the last byte."""
    if not been_here(request):
        os.write(own_pipe(), bytes.fromhex(request.value))
        os._exit(0)
    return "survived"


def hang_up(table: Table, request: Anything, part: Json) -> Json:
    """Close the worker's end of its pipe and live on for `seconds`, where it is a first try."""
    if not been_here(request):
        os.close(own_pipe())
        time.sleep(request.seconds)
        os._exit(0)
    return "survived"


def leave_child(table: Table, request: Anything, part: Json) -> Json:
    """End the worker, but leave a child that holds its pipe open for `seconds`."""
    if not been_here(request):
        if not os.fork():
            time.sleep(request.seconds)
        os._exit(3)
    return "survived"


def environment(table: Table, request: Anything, part: Json) -> Json:
    """The worker's environment."""
    return dict(os.environ)


def process_status(table: Table, request: Anything, part: Json) -> Json:
    """What the kernel tells about the worker: signals, threads and more, by name."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors(table: Table, request: Anything, part: Json) -> Json:
    """What the worker's descriptors beyond the standard streams refer to."""
    links = []
    for entry in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # the listing's own, closed again
            links += [str(entry.readlink())] if int(entry.name) > 2 else []
    return links


def plan_numbers(table: Table, request: Anything) -> list[Json]:
    """One part for each number below `value`."""
    return list(range(request.value))


def square(table: Table, request: Anything, part: Json) -> Json:
    """The part, squared."""
    return part * part


def endless_part(table: Table, request: Anything, part: Json) -> Json:
    """Never end."""
    while True:
        time.sleep(0.01)


def endless_part_but_one(table: Table, request: Anything, part: Json) -> Json:
    """Never end, except for part 1, which fails."""
    if part == 1:
        raise ValueError("part 1")
    return endless_part(table, request, part)


def total(table: Table, request: Anything, partials: list[Json]) -> Json:
    """All partials and their sum."""
    return {"partials": partials, "sum": sum(partials)}


_SINGLE = (
    abort,
    babble,
    babble_and_leave,
    beyond_unicode,
    catch_memory_error,
    deep,
    descriptors,
    echo,
    environment,
    fail,
    fail_at_length,
    fail_beyond_unicode,
    fail_mutely,
    fill_array,
    fill_bytes,
    first_value,
    grow_list,
    hang_up,
    hold_interpreter,
    huge,
    interrupt,
    leak,
    leave,
    leave_after,
    leak_descriptors,
    leave_child,
    leave_once,
    loaded_modules,
    make_objects,
    odd_type,
    outstay,
    overwrite_memory,
    pause,
    pid,
    process_status,
    repeat_text,
    segfault,
    signal_self,
    spin,
    stop_self,
    system_exit,
    undefined,
    unlock_column,
    value_sum,
    wait_for_file,
    write_column,
)

STATISTICS = {
    **REAL,
    **{f.__name__: Statistic(f.__name__, f.__doc__ or "", Anything, f) for f in _SINGLE},
    **{
        name: Statistic(name, "A job of many parts.", Anything, partial, plan_numbers, total)
        for name, partial in (
            ("endless_parts", endless_part),
            ("endless_but_one", endless_part_but_one),
        )
    },
    "touchy": Statistic("touchy", "A job that is never accepted.", Touchy, echo),
    "sum_of_squares": Statistic(
        "sum_of_squares", "A job of many parts.", Anything, square, plan_numbers, total
    ),
}
