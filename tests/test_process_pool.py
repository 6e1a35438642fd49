"""Every pool ends each task exactly once, with its own answer; and what processes add to it."""

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from server.channel import MAX_FRAME
from server.errors import StartError
from server.memory import private_memory
from server.messages import Task, TaskKind, encode
from server.pool import Order, PoolCounts, TimeLimit
from server.process_pool import ProcessPool
from server.shared_data import attach_table
from tests.support import pools
from tests.support.backends import BACKENDS
from tests.support.pools import (
    CATALOGUE,
    DEADLINE,
    Bench,
    Recorder,
    decoded,
    descendants,
    open_files,
    opened_pool,
    published,
    small_table,
    wait_for_clock,
    wait_until,
)

nothing_left_behind = pools.nothing_left_behind
shared_cluster = pools.shared_cluster

LONGEST_RESULT = MAX_FRAME - 1024
"""The longest result in bytes of JSON."""


@pytest.fixture(scope="module", params=BACKENDS)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """A pool of two workers, of any backend, for tests that harm no worker."""
    with opened_pool(tmp_path_factory.mktemp("gates"), request.param) as bench:
        yield bench


@pytest.fixture(params=BACKENDS)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A pool of two workers, of any backend, that no other test has."""
    with opened_pool(tmp_path, request.param) as bench:
        yield bench


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Bench]:
    """A pool of two worker processes."""
    with opened_pool(tmp_path) as bench:
        yield bench


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[Bench]:
    """A pool of a single worker process."""
    with opened_pool(tmp_path, workers=1) as bench:
        yield bench


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, name="background")
    thread.start()
    return thread


# -- tasks and outcomes, on every backend -------------------------------------------------


def test_each_task_ends_once_and_with_its_own_answer_whoever_submits_it(bench: Bench) -> None:
    jobs: dict[int, int] = {}

    def submit_many(first: int) -> None:
        for number in range(first, first + 100):
            jobs[number] = bench.submit("echo", number)

    threads = [in_background(lambda first=first: submit_many(first)) for first in (0, 100, 200)]
    for thread in threads:
        thread.join()
    assert [decoded(bench.heard.wait_for(jobs[n])) for n in range(300)] == list(range(300))
    assert all(len(bench.heard.of(job)) == 1 for job in jobs.values())


def test_an_outcome_carries_the_task_it_was_submitted_with(bench: Bench) -> None:
    job = bench.new_job()
    outcome = bench.run("echo", "value", job=job, part=3, kind=TaskKind.PARTIAL)
    assert (outcome.task.job, outcome.task.part, outcome.task.kind) == (job, 3, TaskKind.PARTIAL)
    assert outcome.task.statistic == "echo"
    assert outcome.attempts == ()


def test_a_task_is_told_to_have_started_once_and_before_it_ends(bench: Bench) -> None:
    jobs = [bench.submit("echo") for _ in range(100)]
    for job in jobs:
        bench.heard.wait_for(job)
        steps = [step for step in bench.heard.story if step[1] == job]
        assert steps == [("started", job, 0), ("ended", job, 0)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_tasks_begin_in_the_order_in_which_they_came(backend: str, tmp_path: Path) -> None:
    with opened_pool(tmp_path, backend, workers=1) as bench:
        jobs = [bench.submit("echo") for _ in range(100)]
        bench.heard.wait_for(jobs[-1])
        assert [task.job for task in bench.heard.started] == jobs


def test_a_whole_task_is_computed_and_combined(bench: Bench) -> None:
    assert bench.answer("sum_of_squares", 1, work=3) == {"partials": [9], "sum": 9}


def test_a_job_of_many_parts_is_computed_part_by_part_and_combined(bench: Bench) -> None:
    job = bench.new_job()
    for part in range(20):
        bench.submit("sum_of_squares", job=job, part=part, kind=TaskKind.PARTIAL, work=part)
    partials = [decoded(bench.heard.wait_for(job, part)) for part in range(20)]
    last = {"part": 20, "kind": TaskKind.COMBINE, "work": partials}
    whole = bench.answer("sum_of_squares", job=job, **last)
    assert whole == {"partials": [n * n for n in range(20)], "sum": 2470}


def test_an_exception_fails_its_task_with_its_type_and_text(bench: Bench) -> None:
    for argument, reason in (
        (None, "ValueError: None"),
        ("", "ValueError"),
        ("two\nlines", "ValueError: two lines"),
        ([1, [2, None]], "ValueError: [1, [2, None]]"),
        ({"key": 1.5}, "ValueError: {'key': 1.5}"),
        ("\u2603 %s {0}", "ValueError: \u2603 %s {0}"),
    ):
        outcome = bench.run("fail", argument)
        assert (outcome.data, outcome.reason, outcome.attempts) == (None, reason, ())
        assert bench.answer("echo", "next") == "next"


def test_an_exception_without_words_fails_its_task_all_the_same(bench: Bench) -> None:
    assert bench.run("fail_mutely").reason == "Mute: (its text cannot be had)"


@pytest.mark.parametrize("statistic", ["fail_beyond_unicode", "beyond_unicode"])
def test_text_that_no_encoding_takes_fails_its_task_alone(bench: Bench, statistic: str) -> None:
    before = bench.pids()
    outcome = bench.run(statistic)
    assert outcome.reason is not None
    assert "Error: " in outcome.reason
    assert outcome.attempts == ()
    assert bench.pids() == before


def test_undefined_numbers_read_null(bench: Bench) -> None:
    assert bench.answer("undefined") == {"nan": None, "infinity": None}


@pytest.mark.parametrize(
    ("statistic", "value", "reason"),
    [
        ("odd_type", None, "TypeError: Encoding objects of type object is unsupported"),
        ("deep", 100_000, "RecursionError: "),
    ],
)
def test_a_value_that_cannot_be_encoded_fails_its_task(
    bench: Bench, statistic: str, value: Any, reason: str
) -> None:
    outcome = bench.run(statistic, value)
    assert (outcome.data, outcome.attempts) == (None, ())
    assert outcome.reason is not None
    assert outcome.reason.startswith(reason)


def test_the_longest_result_arrives_whole(bench: Bench) -> None:
    data = bench.run("huge", LONGEST_RESULT - 2).data  # two quotation marks
    assert data is not None
    digest = hashlib.sha256(b'"' + b"x" * (LONGEST_RESULT - 2) + b'"').digest()
    assert hashlib.sha256(data).digest() == digest


def test_a_longer_result_fails_its_task(bench: Bench) -> None:
    outcome = bench.run("huge", LONGEST_RESULT - 1)
    assert outcome.data is None
    assert outcome.reason is not None
    words = f"the result has {LONGEST_RESULT + 1} bytes, more than {LONGEST_RESULT}"
    assert words in outcome.reason
    assert outcome.attempts == ()


def test_a_request_larger_than_a_pipe_holds_arrives_whole(bench: Bench) -> None:
    assert bench.answer("echo", "x" * 5_000_000) == "x" * 5_000_000


def test_a_task_beyond_its_time_limit_fails_and_says_so(fresh: Bench) -> None:
    for limit in (0.2, 0.4):
        gate = fresh.gate()
        outcome = fresh.run("wait_for_file", path=gate.path, time_limit=limit)
        assert (outcome.data, outcome.reason) == (None, f"time limit of {limit} s")
        gate.open()
        fresh.wait_until_whole()


def test_a_task_that_waits_does_not_use_up_its_time(bench: Bench) -> None:
    gates = bench.hold_all()
    waiting = [bench.submit("echo", time_limit=1) for _ in range(6)]
    wait_for_clock(time.monotonic() + 1.1)
    for gate in gates:
        gate.open()
    for job in waiting:
        assert bench.heard.wait_for(job).reason is None


def test_the_parts_of_a_job_share_its_time(fresh: Bench) -> None:
    """Each takes less than the limit, all together more: the last ones do not even begin."""
    limit = TimeLimit(1.0)
    job = fresh.new_job()
    for part in range(40):
        fresh.submit("pause", part, seconds=0.4, job=job, part=part, time_limit=limit)
    outcomes = [fresh.heard.wait_for(job, part) for part in range(40)]
    assert {outcome.reason for outcome in outcomes} <= {None, "time limit of 1 s"}
    assert outcomes[-1].reason is not None
    assert 39 not in {task.part for task in fresh.heard.started}


def test_a_task_of_a_job_whose_time_is_over_never_begins(bench: Bench) -> None:
    limit = TimeLimit(0.2)
    job = bench.submit("echo", time_limit=limit)
    bench.heard.wait_for(job)
    assert limit.begun is not None
    wait_for_clock(limit.begun + 0.2)
    outcome = bench.run("echo", job=job, part=1, time_limit=limit)
    assert (outcome.reason, outcome.attempts) == ("time limit of 0.2 s", ())
    assert [task.part for task in bench.heard.started if task.job == job] == [0]


def test_a_time_limit_ends_no_other_task(fresh: Bench) -> None:
    mine, other = fresh.gate(), fresh.gate()
    undisturbed = fresh.submit("wait_for_file", "well", path=other.path)
    other.begun()
    assert fresh.run("wait_for_file", path=mine.path, time_limit=0.2).reason
    mine.open()
    other.open()
    outcome = fresh.heard.wait_for(undisturbed)
    assert (decoded(outcome), outcome.attempts) == ("well", ())


# -- what a pool tells of itself ----------------------------------------------------------


def test_workers_tell_who_is_busy_with_which_job(bench: Bench) -> None:
    wait_until(lambda: {(w.state, w.job) for w in bench.pool.workers()} == {("idle", None)})
    gate = bench.gate()
    job = bench.submit("wait_for_file", path=gate.path)
    gate.begun()
    at_work = {("busy", job), ("idle", None)}
    wait_until(lambda: {(w.state, w.job) for w in bench.pool.workers()} == at_work)
    gate.open()
    bench.heard.wait_for(job)
    wait_until(lambda: {w.state for w in bench.pool.workers()} == {"idle"})


def test_workers_count_the_tasks_that_they_have_done(fresh: Bench) -> None:
    for job in [fresh.submit("echo") for _ in range(50)]:
        fresh.heard.wait_for(job)
    wait_until(lambda: sum(worker.tasks_done for worker in fresh.pool.workers()) == 50)


def test_as_many_tasks_wait_as_no_worker_has(bench: Bench) -> None:
    assert bench.pool.waiting() == 0
    gates = bench.hold_all()
    for _ in range(40):
        bench.submit("echo")
    # A process has its next task, a Dask worker up to fifteen short ones.
    in_hands = {"thread": {0}, "process": {2}, "dask": range(2, 31)}[bench.pool.backend]
    wait_until(lambda: 40 - bench.pool.waiting() in in_hands)
    for gate in gates:
        gate.open()
    wait_until(lambda: bench.pool.waiting() == 0)


# -- the end ------------------------------------------------------------------------------


def test_closing_an_idle_pool_takes_no_time_and_leaves_no_worker(fresh: Bench) -> None:
    pids = fresh.pids()
    begun = time.monotonic()
    fresh.close(DEADLINE)
    assert time.monotonic() - begun < DEADLINE / 2
    wait_until(lambda: fresh.pool.workers() == [])
    if fresh.pool.backend == "dask":  # its workers are not the pool's
        assert all(map(pools.alive, pids))
    else:
        wait_until(lambda: not any(map(pools.alive, pids)))


def test_closing_twice_is_closing_once(fresh: Bench) -> None:
    fresh.close()
    fresh.close()


def test_many_may_close_at_once(fresh: Bench) -> None:
    gates = fresh.hold_all()
    threads = [in_background(lambda: fresh.close(0.1)) for _ in range(8)]
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
    for gate in gates:
        gate.open()


def test_a_closing_pool_lets_running_tasks_end_and_begins_no_other(fresh: Bench) -> None:
    gates = fresh.hold_all()
    closing = in_background(lambda: fresh.close(DEADLINE))
    wait_until(lambda: fresh.closed)
    for gate in gates:
        gate.open()
    closing.join(DEADLINE)
    assert not closing.is_alive()
    assert len(fresh.heard.ended) == 2
    assert all(outcome.reason is None for outcome in fresh.heard.ended)


def test_no_outcome_comes_from_a_pool_that_is_closed(fresh: Bench) -> None:
    gates = fresh.hold_all()
    workers = fresh.pids()
    fresh.submit("echo")
    fresh.close()
    heard = list(fresh.heard.story)
    for gate in gates:
        gate.open()
    wait_until(lambda: not any(thread.native_id in workers for thread in threading.enumerate()))
    assert fresh.heard.story == heard


def test_what_is_submitted_to_a_closed_pool_never_begins(fresh: Bench) -> None:
    fresh.close()
    fresh.submit("echo")
    assert fresh.heard.story == []


# -- shared columns -----------------------------------------------------------------------


def test_a_statistic_cannot_write_to_a_column(bench: Bench) -> None:
    for statistic in ("write_column", "unlock_column"):
        outcome = bench.run(statistic)
        assert outcome.reason is not None
        assert outcome.reason.startswith("ValueError: ")
    assert bench.answer("first_value") == 1.0


def test_not_even_c_code_can_write_to_a_column(tmp_path: Path) -> None:
    table = small_table()
    with published(table) as region:
        before = os.pread(region.fd, region.size, 0)
        heard = Recorder()
        with ProcessPool(heard, workers=1, table_fd=region.fd, catalogue=CATALOGUE) as pool:
            bench = Bench(pool, heard, tmp_path)
            outcome = bench.run("overwrite_memory", max_attempts=1)
            assert [attempt.signal for attempt in outcome.attempts] == [11]
            assert bench.answer("first_value") == 1.0
        assert os.pread(region.fd, region.size, 0) == before


def test_a_workers_own_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    memory = {}
    for repeats in (1, 40_000):
        table = small_table(repeats)
        with published(table) as region:
            # The server has the pages, too: those that only one process has entered count
            # as its own.
            shared = attach_table(region.fd, populate=True)
            heard = Recorder()
            with ProcessPool(heard, workers=1, table_fd=region.fd, catalogue=CATALOGUE) as pool:
                bench = Bench(pool, heard, tmp_path)
                assert bench.answer("value_sum") == shared.value.sum()
                (worker,) = pool.workers()
                memory[shared.value.nbytes] = worker.memory
    (small, with_small), (large, with_large) = memory.items()
    assert large - small > 15_000_000
    assert with_large - with_small < 3_000_000


# -- how processes share the tasks --------------------------------------------------------


def test_a_task_behind_a_long_one_is_given_to_a_worker_that_is_idle(processes: Bench) -> None:
    long, short = processes.gate(), processes.gate()
    slow = processes.submit("wait_for_file", path=long.path)
    busy = processes.submit("wait_for_file", path=short.path)
    with_long, with_short = long.begun(), short.begun()
    behind = [processes.submit("pid") for _ in range(2)]  # one in the hands of each
    wait_until(lambda: processes.pool.waiting() == 0)
    short.open()
    assert [decoded(processes.heard.wait_for(job)) for job in behind] == [with_short] * 2
    assert processes.heard.of(slow) == []
    assert {w.pid for w in processes.pool.workers() if w.state == "busy"} == {with_long}
    long.open()
    processes.heard.wait_for(busy)


def test_a_task_taken_back_too_late_ends_once_and_its_first_worker_harms_no_other(
    processes: Bench,
) -> None:
    """Both workers compute the same task: the first had begun it before it learned."""
    heard = processes.heard
    first, second, other = processes.gate(), processes.gate(), processes.gate()
    one = processes.submit("wait_for_file", 1, path=first.path)
    slow = first.begun()
    three = processes.submit("wait_for_file", 3, path=other.path)
    other.begun()
    two = processes.submit("wait_for_file", 2, path=second.path)
    wait_until(lambda: processes.pool.waiting() == 0)
    with heard.holding(three) as supervisor_is_held:
        other.open()
        supervisor_is_held()
        first.open()
        holder = second.begun()
    again = second.begun(except_by=holder)
    assert {holder, again} == processes.pids()
    following = processes.submit("echo", 4)
    second.open()
    answers = [decoded(heard.wait_for(job)) for job in (one, two, three, following)]
    assert answers == [1, 2, 3, 4]
    assert slow in (holder, again)


def test_a_late_answer_is_never_taken_for_that_of_the_next_task(one_process: Bench) -> None:
    heard = one_process.heard
    for _ in range(2):
        gate = one_process.gate()
        late = one_process.submit("wait_for_file", "late", path=gate.path, time_limit=0.3)
        following = [one_process.submit("echo", n) for n in range(5)]
        assert heard.wait_for(late).reason == "time limit of 0.3 s"
        gate.open()
        for number, job in enumerate(following):
            outcome = heard.wait_for(job)
            assert (decoded(outcome), outcome.attempts) == (number, ())


# -- what a pool of processes needs and holds ---------------------------------------------


def test_a_pool_whose_catalogue_cannot_be_imported_does_not_start_and_leaves_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = open_files()
    with (
        published(small_table()) as region,
        pytest.raises(StartError),
        ProcessPool(Recorder(), workers=2, table_fd=region.fd, catalogue="no.such.catalogue"),
    ):
        pass
    assert "No module named 'no'" in capfd.readouterr().err
    assert open_files() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ValueError: cannot mmap an empty file"),
        (b"\x10" + bytes(7) + b"this is no table", "DecodeError: "),
        (b"\xff" * 8, "DecodeError: "),
        (b"abc", "error: unpack_from requires a buffer of at least 8 bytes"),
    ],
)
def test_a_pool_over_something_that_is_no_table_does_not_start_and_says_why(
    content: bytes, reason: str
) -> None:
    before = open_files()
    fd = os.memfd_create("no columns")
    try:
        os.write(fd, content)
        with (
            pytest.raises(StartError, match=f"cannot attach the columns: {reason}"),
            ProcessPool(Recorder(), workers=2, table_fd=fd, catalogue=CATALOGUE),
        ):
            pass
    finally:
        os.close(fd)
    assert open_files() == before


def test_a_pool_whose_workers_die_before_they_are_ready_does_not_start_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "deadly_catalogue.py").write_text(
        "import os\n"
        f"from {CATALOGUE} import STATISTICS\n"
        "os.register_at_fork(after_in_child=lambda: os._exit(7))\n"
    )
    with (
        published(small_table()) as region,
        pytest.raises(StartError, match=r"worker \d+ left with exit code 7"),
        ProcessPool(Recorder(), workers=2, table_fd=region.fd, catalogue="deadly_catalogue"),
    ):
        pass


def test_the_server_holds_one_descriptor_for_each_worker(tmp_path: Path) -> None:
    held = []
    for workers in (1, 2, 3):
        with opened_pool(tmp_path, workers=workers):
            held.append(len(open_files()))
    assert held[1] - held[0] == held[2] - held[1] == 1


def test_each_worker_is_a_process_whose_memory_is_told(processes: Bench) -> None:
    for worker in processes.pool.workers():
        assert worker.memory == pytest.approx(private_memory(worker.pid), rel=0.5)
        assert worker.memory > 100_000
    assert processes.pids() < descendants(os.getpid())


def test_what_a_worker_has_to_say_stands_in_the_servers_log(
    processes: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "sportiv.pool"):
        processes.run("fail", "of no use")
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert record.getMessage().endswith(": job 1 part 0 raised ValueError: of no use")
    assert int(record.getMessage().split()[1].rstrip(":")) in processes.pids()
    assert "in fail\n" in record.trace


def test_replaced_workers_and_repeated_tasks_are_counted(processes: Bench) -> None:
    counts = processes.pool.counts
    assert counts() == PoolCounts(replaced=0, retried=0)
    processes.end_worker(min(processes.pids()))  # at nothing
    wait_until(lambda: counts() == PoolCounts(replaced=1, retried=0))
    processes.run("leave", 3, max_attempts=3)
    wait_until(lambda: counts() == PoolCounts(replaced=4, retried=2))
    gate = processes.gate()
    processes.pool.cancel(processes.submit("wait_for_file", path=gate.path, job=(job := 99)))
    processes.submitted.discard((job, 0))
    processes.answer("echo")
    assert counts().retried == 2


def test_a_workers_line_about_a_task_names_job_and_request(
    processes: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    raw = Raw(encode({"value": "of no use"}))
    task = Task(7, 0, TaskKind.WHOLE, "fail", raw, Raw(b"null"), "the-client.s_1")
    with caplog.at_level(logging.INFO, "sportiv.pool"):
        processes.submitted.add((7, 0))
        processes.pool.submit(Order(task, TimeLimit(60.0), 3))
        processes.heard.wait_for(7)
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert record.fields.pop("worker") in processes.pids()
    assert record.fields == {"job": 7, "request_id": "the-client.s_1"}


# -- whoever submits hands the task over, where a worker is idle ----------------------------


def begun_while_submitted(bench: Bench) -> int:
    """A task that its worker was given before `submit` returned; most are."""
    for _ in range(1000):
        gate = bench.gate()
        job = bench.submit("wait_for_file", path=gate.path)
        begun = job in {task.job for task in bench.heard.started}
        gate.open()
        bench.heard.wait_for(job)
        if begun:
            return job
    pytest.fail("the supervisor was woken for each of a thousand tasks")


def test_an_idle_worker_is_given_its_task_by_who_submits_it(one_process: Bench) -> None:
    job = begun_while_submitted(one_process)
    assert [step for step, of, _ in one_process.heard.story if of == job] == ["started", "ended"]


@pytest.mark.parametrize("limits", [(0.3,), (60.0, 0.3), (0.5, 60.0, 0.3)])
def test_the_supervisor_keeps_a_time_limit_though_it_slept_when_the_task_came(
    limits: tuple[float, ...], processes: Bench
) -> None:
    *before, last = limits
    for seconds in before:  # what it was to look out for then is settled
        assert processes.run("echo", time_limit=seconds).reason is None
    begun = time.monotonic()
    outcome = processes.run("wait_for_file", path=processes.gate().path, time_limit=last)
    assert outcome.reason == "time limit of 0.3 s"
    assert time.monotonic() - begun < DEADLINE / 2


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_tasks_of_many_threads_end_once_whoever_hands_them_over(
    workers: int, tmp_path: Path
) -> None:
    with opened_pool(tmp_path, workers=workers) as bench:

        def one_after_the_other(name: int) -> None:
            for number in range(100):
                assert bench.answer("echo", [name, number]) == [name, number]

        threads = [in_background(lambda name=name: one_after_the_other(name)) for name in range(8)]
        for thread in threads:
            thread.join()
        assert len(bench.heard.ended) == len(bench.heard.started) == 800
        assert bench.pool.waiting() == 0


class ClumsyAtTheStart(Recorder):
    """A listener that fails as soon as a task is begun."""

    def task_started(self, task: Task) -> None:
        raise ValueError("clumsy")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_fails_while_a_task_is_handed_over_ends_the_pool_and_not_who_submits(
    tmp_path: Path,
) -> None:
    with published(small_table()) as region:
        pool = ProcessPool(ClumsyAtTheStart(), workers=2, table_fd=region.fd, catalogue=CATALOGUE)
        with pool:
            Bench(pool, Recorder(), tmp_path).submit("echo")
            wait_until(lambda: pool.trouble)
            assert pool.trouble == "the supervisor has failed; the log says why"
            wait_until(lambda: pool.workers() == [])
