"""Worker pools for tests: opened over a small table, watched by a recorder, checked when left.

`opened_pool` gives a `Bench`: the pool, what its listener has heard, and words for the
things that tests do with it. `nothing_left_behind` is a fixture for every module that
starts processes; a module applies it to its tests by having it:

    nothing_left_behind = pools.nothing_left_behind
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import queue
import signal
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from server.messages import Task, TaskKind
from server.pool import Order, Outcome, Pool, TimeLimit, WorkerInfo
from server.process_pool import ProcessPool
from server.shared_data import SharedRegion, write_table
from server.table import Names, Table, group_tree
from server.thread_pool import ThreadPool
from tests.support.backends import shared_clusters
from tests.support.dask_cluster import DaskCluster, dask_cluster
from tests.support.statistics import STATISTICS

CATALOGUE = "tests.support.statistics"

DEADLINE = 30.0
"""Seconds after which a test gives up waiting; nothing here takes that long unless it hangs."""

_SET_CHILD_SUBREAPER = 36


def wait_for_clock(moment: float) -> None:
    """Return once the monotonic clock shows `moment`."""
    wait_until(lambda: time.monotonic() >= moment)


def wait_until(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Return once `condition()` is true; fails when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)


# -- processes ----------------------------------------------------------------------------


def _stat(pid: int) -> tuple[str, int] | None:
    """The state letter and the parent of process `pid`; None where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def alive(pid: int) -> bool:
    """Whether the process runs or is stopped; one that only waits to be reaped does not."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def _parents() -> dict[int, int]:
    """The parent of every process."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid: stat[1] for pid in pids if (stat := _stat(pid))}


def children(pid: int) -> set[int]:
    """The processes right below `pid`, those included that have ended and are not reaped."""
    return {child for child, parent in _parents().items() if parent == pid}


def descendants(pid: int) -> set[int]:
    """Every process below `pid`, those included that have ended and are not reaped."""
    return set().union(*_families(pid).values())


def _families(pid: int) -> dict[int, set[int]]:
    """The children of `pid` and of every process below it."""
    children: dict[int, set[int]] = {}
    for child, parent in _parents().items():
        children.setdefault(parent, set()).add(child)
    families: dict[int, set[int]] = {}
    found = [pid]
    while found:
        families[found[0]] = children.get(found[0], set())
        found += families[found.pop(0)]
    return families


def end(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal to a process that is below this one; False where it is gone already.

    A pid of a moment ago may be another's now: the process is held fast before it is
    looked at.
    """
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if pid not in descendants(os.getpid()):
            return False
        signal.pidfd_send_signal(held, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(held)
    return True


def _adopt_orphans(wanted: bool) -> None:
    """Whether processes whose parent has died become this process's children."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def open_files() -> dict[int, str]:
    """This process's descriptors, and what each refers to."""
    links = {}
    for entry in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):
            links[int(entry.name)] = str(entry.readlink())
    return links


def unread_bytes() -> int:
    """How many bytes lie in this process's sockets that it has not read."""
    total = 0
    for number, link in open_files().items():
        if link.startswith("socket:"):
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(number, termios.FIONREAD, b"\0" * 4)
                total += int.from_bytes(answer, sys.byteorder)
    return total


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After the test no process, thread or descriptor is left that was not there before.

    A Dask cluster that all tests share is nobody's to count, nor are the connections that its
    client keeps for the next call.

    A pool that outlasts the test has as many workers as before, not the same ones. Orphans
    are adopted while the test runs, so that none escapes the count; what is left all the
    same is ended here.
    """
    if sys.platform != "linux":
        pytest.skip("needs /proc")
    files, threads, before = _kinds_of_files(), _threads(), _living_families()
    _adopt_orphans(True)
    try:
        yield
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not _strays(before), 5.0)
        strays = _strays(before)
        for pid in strays:
            end(pid)
        wait_until(lambda: not any(map(alive, strays)))
        _reap(children(os.getpid()) - before.keys())
    finally:
        _adopt_orphans(False)
    assert not strays, f"processes left behind: {strays}"
    wait_until(lambda: _threads() <= threads, 5.0)
    if _kinds_of_files() - files:
        gc.collect()
    assert not _kinds_of_files() - files


def _threads() -> set[threading.Thread]:
    """Those that are alive, save the few that Dask keeps for all its clients once it has begun."""
    return {each for each in threading.enumerate() if not each.name.startswith("Dask-Offload")}


def _living_families() -> dict[int, set[int]]:
    families = _families(os.getpid())
    for cluster in shared_clusters:
        for process in cluster.started:
            for pid in (process.pid, *descendants(process.pid)):
                families.pop(pid, None)
    return {parent: set(filter(alive, offspring)) for parent, offspring in families.items()}


def _strays(before: dict[int, set[int]]) -> set[int]:
    """Who is there beside `before`, save one in the place of each who was there and is not."""
    strays: set[int] = set()
    for parent, now in _living_families().items():
        earlier = before.get(parent, set())
        if parent == os.getpid() or len(now) > len(earlier):
            strays |= now - earlier
    return strays


def _kinds_of_files() -> Counter[str]:
    links = open_files().values()
    kept = {link for cluster in shared_clusters for link in _connections_to(cluster.port)}
    return Counter(link.partition(":")[0] for link in links if link not in kept)


def _connections_to(port: int) -> set[str]:
    """The sockets of any process that are connected with this port, or were just now."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}")}


# -- tables -------------------------------------------------------------------------------


@cache
def small_table(repeats: int = 1) -> Table:
    """48 keys (2 questions, 3 locations, 2 categories, 2 strata, 2 years), each `repeats` times.

    The values are 1, 2, 3, ... in the order of the rows, the weights all 1. No array can be
    written to, as if it were shared.
    """
    grid = np.indices((2, 3, 2, 2, 2), dtype=np.int32).reshape(5, -1).repeat(repeats, axis=1)
    keys = [np.ascontiguousarray(column) for column in grid]
    keys[4] += 2020
    value = np.arange(1.0, grid.shape[1] + 1)
    names = Names(
        question=("How many apples?", "How many pears?"),
        location=("Alabama", "Alaska", "Arizona"),
        category=("Age", "Sex"),
        stratum=("First", "Second"),
    )
    weight = np.ones_like(value)
    levels = group_tree(keys, value)
    table = Table(f"small, {repeats}", names, *keys, value, weight, levels)
    arrays = {
        name: np.frombuffer(array.tobytes(), array.dtype) for name, array in table.arrays().items()
    }
    return Table.from_arrays(table.fingerprint, names, arrays)


@contextlib.contextmanager
def published(table: Table) -> Iterator[SharedRegion]:
    """The table in a sealed shared region."""
    with SharedRegion() as region:
        write_table(region.fd, table)
        region.seal()
        yield region


# -- what a pool tells --------------------------------------------------------------------


class Recorder:
    """A listener that keeps what it hears, and can keep the pool's own thread waiting."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.started: list[Task] = []
        self.ended: list[Outcome] = []
        self.story: list[tuple[str, int, int]] = []  # started or ended, job, part
        self._holds: dict[int, tuple[threading.Event, threading.Event]] = {}

    def task_started(self, task: Task) -> None:
        with self._changed:
            self.started.append(task)
            self.story.append(("started", task.job, task.part))
            self._changed.notify_all()

    def task_ended(self, outcome: Outcome) -> None:
        with self._changed:
            self.ended.append(outcome)
            self.story.append(("ended", outcome.task.job, outcome.task.part))
            self._changed.notify_all()
        if hold := self._holds.get(outcome.task.job):
            reached, released = hold
            reached.set()
            released.wait(DEADLINE)

    def of(self, job: int, part: int = 0) -> list[Outcome]:
        """Every outcome of one task that has come so far."""
        return [o for o in list(self.ended) if (o.task.job, o.task.part) == (job, part)]

    def wait_for(self, job: int, part: int = 0) -> Outcome:
        """The outcome of one task, as soon as there is one."""
        self.wait_until(lambda: self.of(job, part))
        return self.of(job, part)[0]

    def wait_until(self, condition: Callable[[], object], seconds: float = DEADLINE) -> None:
        """Return once `condition()` is true of what has been heard."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"not within {seconds} s"

    @contextlib.contextmanager
    def holding(self, job: int) -> Iterator[Callable[[], None]]:
        """The pool's thread that tells of the end of `job` stays there until the block is left.

        Gives a function that returns once the thread is there.
        """
        reached, released = self._holds[job] = threading.Event(), threading.Event()

        def wait_for_it() -> None:
            assert reached.wait(DEADLINE)

        try:
            yield wait_for_it
        finally:
            released.set()


@dataclass
class Gate:
    """The file that `wait_for_file` waits for: closed until `open`."""

    path: Path

    def begun(self, *, except_by: int = 0) -> int:
        """The process in which the task has begun; waits for one other than `except_by`."""
        mark = self.path.with_name(f"{self.path.name}.begun")
        wait_until(lambda: mark.exists() and int(mark.read_text()) != except_by)
        return int(mark.read_text())

    def open(self) -> None:
        """Let the task go on."""
        self.path.touch()


@dataclass
class Bench:
    """A pool at work, and the words that a test needs."""

    pool: Pool
    heard: Recorder
    folder: Path
    submitted: set[tuple[int, int]] = field(default_factory=set)
    closed: bool = False
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def submit(
        self,
        statistic: str,
        value: Any = None,
        *,
        path: Path | str = "",
        seconds: float = 0.0,
        job: int | None = None,
        part: int = 0,
        kind: TaskKind = TaskKind.WHOLE,
        work: Any = None,
        time_limit: float | TimeLimit = 2 * DEADLINE,
        max_attempts: int = 3,
    ) -> int:
        """Submit one task, of a new job unless `job` is given; the job's number.

        Tasks that share their job's time are given the same `TimeLimit`.
        """
        job = job or self.new_job()
        request = {"value": value, "path": str(path), "seconds": seconds}
        raw_request, raw_work = (msgspec.Raw(msgspec.json.encode(v)) for v in (request, work))
        task = Task(job, part, kind, statistic, raw_request, raw_work)
        self.submitted.add((job, part))
        if not isinstance(time_limit, TimeLimit):
            time_limit = TimeLimit(time_limit)
        self.pool.submit(Order(task, time_limit, max_attempts))
        return job

    def run(self, statistic: str, value: Any = None, **options: Any) -> Outcome:
        """Submit a task and wait for its outcome."""
        return self.heard.wait_for(self.submit(statistic, value, **options), options.get("part", 0))

    def answer(self, statistic: str, value: Any = None, **options: Any) -> Any:
        """Run a task that ends well; its value."""
        return decoded(self.run(statistic, value, **options))

    def new_job(self) -> int:
        """A number that no job has yet."""
        return next(self._numbers)

    def gate(self) -> Gate:
        """A new closed gate for `wait_for_file`."""
        return Gate(self.folder / f"gate {self.new_job()}")

    def hold_all(self) -> list[Gate]:
        """Give every worker a task that it stays at until its gate is opened."""
        wait_until(lambda: len(self.at_work()) == len(self.pool.workers()) > 0)
        gates = [self.gate() for _ in self.pool.workers()]
        held = {self.submit("wait_for_file", path=gate.path) for gate in gates}
        for gate in gates:
            gate.begun()
        self.heard.wait_until(lambda: held <= {task.job for task in self.heard.started})
        return gates

    def at_work(self) -> list[WorkerInfo]:
        """The workers that are alive and ready for tasks."""
        there = self.pool.workers()
        return [w for w in there if w.state in ("idle", "busy") and alive(w.pid)]

    def pids(self) -> set[int]:
        """The processes of the workers that are alive and ready."""
        return {worker.pid for worker in self.at_work()}

    def other(self, pid: int) -> int:
        """The worker of two that is not `pid`."""
        (other,) = self.pids() - {pid}
        return other

    def wait_until_whole(self, workers: int = 2, *, without: set[int] | None = None) -> set[int]:
        """Wait for so many ready workers, none of them in `without`; their pids."""
        gone = without or set()
        there: set[int] = set()

        def whole() -> bool:
            nonlocal there
            there = self.pids()
            return len(there) == workers and not there & gone

        wait_until(whole)
        return there

    def end_worker(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal that ends a worker, and wait until it has."""
        assert end(pid, number)
        wait_until(lambda: not alive(pid))

    def fork_server(self) -> int:
        """The process that forks the workers: the child of this one that has them below it.

        One that has only just taken another's place has forked none yet, which is waited for.
        """
        wait_until(lambda: len(self._parents_of_workers()) == 1)
        (pid,) = self._parents_of_workers()
        return pid

    def _parents_of_workers(self) -> list[int]:
        workers = self.pids()
        return [child for child in children(os.getpid()) if workers & children(child)]

    def close(self, timeout: float = 0.0) -> None:
        """Close the pool before its tasks have ended."""
        self.closed = True
        self.pool.close(timeout)


@dataclass
class Moody:
    """A catalogue whose workers die at their start as long as the file `deadly` is there."""

    deadly: Path
    tally: Path
    name: str = "moody_catalogue"

    def deaths(self) -> int:
        """How many workers have died so."""
        return self.tally.stat().st_size if self.tally.exists() else 0


@pytest.fixture
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moody:
    """A catalogue that is not deadly yet."""
    moody = Moody(tmp_path / "deadly", tmp_path / "tally")
    (tmp_path / f"{moody.name}.py").write_text(
        "import os\n"
        f"from {CATALOGUE} import STATISTICS\n"
        "def begin():\n"
        f"    if os.path.exists({str(moody.deadly)!r}):\n"
        f"        with open({str(moody.tally)!r}, 'a') as file: file.write('x')\n"
        "        os._exit(7)\n"
        "os.register_at_fork(after_in_child=begin)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return moody


@pytest.fixture(scope="module", autouse=True)
def shared_cluster(dask_workers: DaskCluster) -> DaskCluster:
    """Two Dask workers, which every pool of two in the module has in turn; applied as above."""
    with opened_pool(dask_workers.folder, "dask") as bench:  # what Dask starts but once, is there
        bench.answer("echo")
    return dask_workers


@contextlib.contextmanager
def _cluster_of(folder: Path, workers: int) -> Iterator[DaskCluster]:
    if workers == 2 and shared_clusters:
        yield shared_clusters[0]
    else:
        with dask_cluster(folder / "dask", workers) as cluster:
            yield cluster


@contextlib.contextmanager
def _dask_pool(
    heard: Recorder, folder: Path, region: SharedRegion, workers: int, options: dict[str, Any]
) -> Iterator[Pool]:
    """A pool over so many Dask workers, all of which are ready."""
    from server.dask_pool import DaskPool

    with _cluster_of(folder, workers) as cluster:
        where = {"scheduler": cluster.address, "columns": str(cluster.columns)}
        with DaskPool(heard, table_fd=region.fd, **where, **options) as pool:
            wait_until(lambda: [w.state for w in pool.workers()] == ["idle"] * workers)
            yield pool


def decoded(outcome: Outcome) -> Any:
    """The value of an outcome that is good."""
    assert outcome.reason is None, outcome.reason
    assert outcome.data is not None
    return msgspec.json.decode(outcome.data)


@contextlib.contextmanager
def opened_pool(
    folder: Path,
    backend: str = "process",
    *,
    workers: int = 2,
    table: Table | None = None,
    catalogue: str = CATALOGUE,
    **options: Any,
) -> Iterator[Bench]:
    """A pool over a table. Left, every task has ended once, unless `Bench.close` came first.

    `options` are further ones of a `ProcessPool`, or of a `DaskPool`.
    """
    heard = Recorder()
    table = table or small_table()
    with published(table) as region:
        opening: contextlib.AbstractContextManager[Pool]
        options = {"catalogue": catalogue, **options}
        if backend == "process":
            opening = ProcessPool(heard, workers=workers, table_fd=region.fd, **options)
        elif backend == "dask":
            opening = _dask_pool(heard, folder, region, workers, options)
        else:
            opening = ThreadPool(heard, workers=workers, table=table, statistics=STATISTICS)
        with opening as pool:
            bench = Bench(pool, heard, folder)
            yield bench
            if not bench.closed:
                heard.wait_until(lambda: len(heard.ended) >= len(bench.submitted), 10.0)
        ended = [(outcome.task.job, outcome.task.part) for outcome in heard.ended]
        assert len(ended) == len(set(ended)), "a task has ended twice"
        assert set(ended) <= bench.submitted
        assert bench.closed or set(ended) == bench.submitted


def serve_until_killed(folder: Path) -> None:
    """The life of a process that stands in for the server, until a test kills it.

    Opens a pool of three workers: one computes in Python, one in C without ever giving the
    interpreter free, one is idle. Tells their pids in this order in the file `workers`, and
    after each SIGINT who is there in the file `interrupted`. Leaves when its standard input
    ends, so that it does not outlive the test.
    """
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    interrupts: queue.SimpleQueue[int] = queue.SimpleQueue()
    signal.signal(signal.SIGINT, lambda number, _: interrupts.put(number))
    with opened_pool(folder, workers=3) as bench:
        python, c = bench.gate(), bench.gate()
        bench.submit("spin", path=python.path, seconds=2 * DEADLINE)
        bench.submit("hold_interpreter", 10**11, path=c.path)
        busy = [python.begun(), c.begun()]
        write_pids(folder / "workers", [*busy, *bench.pids() - {*busy}])
        while interrupts.get():
            bench.answer("echo")
            write_pids(folder / "interrupted", sorted(bench.pids()))


def write_pids(path: Path, pids: Iterable[int]) -> None:
    """Write a file that is there whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(" ".join(map(str, pids)))
    draft.rename(path)


def read_pids(path: Path) -> list[int]:
    """What `write_pids` has written, as soon as it is there."""
    wait_until(path.exists)
    return [int(pid) for pid in path.read_text().split()]
