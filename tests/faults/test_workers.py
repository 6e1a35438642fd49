"""Workers that die, hang, lie and fall silent: each task ends once, and the pool stays whole."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server import crew
from server.channel import MAX_FRAME, frame
from server.messages import TaskKind
from server.pool import Outcome, TimeLimit
from server.process_pool import ProcessPool
from tests.support import pools
from tests.support.pools import (
    CATALOGUE,
    DEADLINE,
    Bench,
    Moody,
    Recorder,
    alive,
    children,
    decoded,
    descendants,
    end,
    open_files,
    opened_pool,
    published,
    read_pids,
    small_table,
    unread_bytes,
    wait_for_clock,
    wait_until,
)

moody = pools.moody
nothing_left_behind = pools.nothing_left_behind

ROOT = Path(__file__).parents[2]

SOON = 5.0
"""Seconds within which the pool is whole again; a quiet machine takes less than one."""


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with opened_pool(tmp_path_factory.mktemp("gates")) as bench:
        yield bench


@pytest.fixture
def bench(lasting: Bench) -> Iterator[Bench]:
    """A pool of two workers, which withstands all tests one after the other."""
    assert not lasting.closed, "an earlier test has broken the pool"
    yield lasting
    try:
        job = lasting.submit("echo")
        lasting.heard.wait_until(lambda: lasting.heard.of(job), SOON)
        wait_until(lambda: len(lasting.pids()) == 2, SOON)
    except AssertionError:
        lasting.close()
        raise


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Bench]:
    """A pool of two workers that no other test has."""
    with opened_pool(tmp_path) as bench:
        yield bench


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Bench]:
    """A pool of one worker, who therefore holds every second task as well."""
    with opened_pool(tmp_path, workers=1) as bench:
        yield bench


# -- killed from outside ------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_an_idle_worker_that_is_killed_is_replaced_and_no_task_notices(
    bench: Bench, number: int
) -> None:
    victim, other = bench.pids()
    bench.end_worker(victim, number)
    wait_until(lambda: len(bench.pids() - {victim}) == 2, SOON)
    assert other in bench.pids()
    assert bench.run("echo").attempts == ()


def test_a_worker_killed_while_it_computes_costs_its_task_one_attempt(bench: Bench) -> None:
    gate = bench.gate()
    job = bench.submit("wait_for_file", "well", path=gate.path)
    victim = gate.begun()
    bench.end_worker(victim)
    again = gate.begun(except_by=victim)
    gate.open()
    outcome = bench.heard.wait_for(job)
    assert decoded(outcome) == "well"
    (attempt,) = outcome.attempts
    assert (attempt.pid, attempt.exit_code, attempt.signal) == (victim, None, 9)
    assert attempt.cause == f"worker {victim} was killed by signal 9 (SIGKILL): often out of memory"
    assert again in bench.wait_until_whole(without={victim})
    steps = [step for step, of, _ in bench.heard.story if of == job]
    assert steps == ["started", "started", "ended"]


def test_a_worker_that_is_killed_disturbs_no_other(bench: Bench) -> None:
    mine, other = bench.gate(), bench.gate()
    doomed = bench.submit("wait_for_file", path=mine.path, max_attempts=1)
    undisturbed = bench.submit("wait_for_file", "well", path=other.path)
    bench.end_worker(mine.begun())
    assert bench.heard.wait_for(doomed).reason is not None
    other.open()
    outcome = bench.heard.wait_for(undisturbed)
    assert (decoded(outcome), outcome.attempts) == ("well", ())


@pytest.mark.parametrize("more", [0, 8])
def test_a_task_whose_worker_is_killed_after_its_answer_is_not_run_again(
    bench: Bench, more: int
) -> None:
    """Also where the server learns of the death only by sending it `more` tasks."""
    gate = bench.gate()
    job = bench.submit("wait_for_file", "well", path=gate.path)
    victim = gate.begun()
    with supervisor_held(bench):
        gate.open()
        wait_until(unread_bytes)
        bench.end_worker(victim)
        others = [bench.submit("echo", n) for n in range(more)]
    outcome = bench.heard.wait_for(job)
    assert (decoded(outcome), outcome.attempts) == ("well", ())
    assert [task.job for task in bench.heard.started].count(job) == 1
    assert [decoded(bench.heard.wait_for(other)) for other in others] == list(range(more))


@contextmanager
def supervisor_held(bench: Bench) -> Iterator[None]:
    """The pool's own thread does nothing in the meantime; what happens, it finds afterwards."""
    job = bench.new_job()
    with bench.heard.holding(job) as wait_for_it:
        bench.submit("echo", job=job)
        wait_for_it()
        yield


def test_an_answer_cut_off_in_the_middle_is_thrown_away_and_the_task_tried_again(
    bench: Bench,
) -> None:
    gate = bench.gate()
    job = bench.submit("wait_for_file", "x" * 5_000_000, path=gate.path)
    victim = gate.begun()
    with supervisor_held(bench):
        gate.open()
        wait_until(lambda: unread_bytes() > 50_000)
        bench.end_worker(victim)
    outcome = bench.heard.wait_for(job)
    assert decoded(outcome) == "x" * 5_000_000
    assert [attempt.pid for attempt in outcome.attempts] == [victim]


def test_all_workers_killed_at_once_under_load_come_back_and_every_task_ends_once(
    bench: Bench,
) -> None:
    jobs = [bench.submit("pause", n, seconds=0.004, max_attempts=100) for n in range(300)]
    for share in (50, 100, 200):
        bench.heard.wait_for(jobs[share])
        before = bench.pids()
        for pid in before:
            end(pid)
        bench.wait_until_whole(without=before)
    assert [decoded(bench.heard.wait_for(job)) for job in jobs] == list(range(300))


def test_workers_that_die_while_the_server_is_at_something_else_are_all_replaced(
    tmp_path: Path,
) -> None:
    """Their pipes and the fork server all have something to tell at once."""
    with opened_pool(tmp_path, workers=3) as bench:
        before = bench.pids()
        with supervisor_held(bench):
            for pid in before:
                told = unread_bytes()
                bench.end_worker(pid)
                wait_until(lambda told=told: unread_bytes() > told)
        bench.wait_until_whole(3, without=before)
        assert bench.answer("echo", "well") == "well"


# -- ended by the task itself -------------------------------------------------------------

DEADLY: list[tuple[str, Any, int | None, int | None, str]] = [
    ("leave", 0, 0, None, "left with exit code 0"),
    ("leave", 1, 1, None, "left with exit code 1"),
    ("leave", 3, 3, None, "left with exit code 3"),
    ("leave", 255, 255, None, "left with exit code 255"),
    ("system_exit", None, 0, None, "left with exit code 0"),
    ("system_exit", 3, 3, None, "left with exit code 3"),
    ("system_exit", "a text", 1, None, "left with exit code 1"),
    ("interrupt", None, 1, None, "left with exit code 1"),
    ("abort", None, None, 6, "was killed by signal 6 (SIGABRT)"),
    ("segfault", None, None, 11, "was killed by signal 11 (SIGSEGV): a fault in C code"),
    ("signal_self", 15, None, 15, "was killed by signal 15 (SIGTERM)"),
]


def test_a_task_that_ends_its_worker_each_time_fails_and_tells_of_every_attempt(
    bench: Bench,
) -> None:
    for statistic, value, code, number, words in DEADLY:
        outcome = bench.run(statistic, value, max_attempts=3)
        assert outcome.data is None
        assert [(a.exit_code, a.signal) for a in outcome.attempts] == [(code, number)] * 3
        causes = [attempt.cause for attempt in outcome.attempts]
        assert causes == [f"worker {attempt.pid} {words}" for attempt in outcome.attempts]
        assert outcome.reason == f"its worker died in each of 3 attempts; in the last, {causes[-1]}"
        dead = {attempt.pid for attempt in outcome.attempts}
        assert len(dead) == 3
        wait_until(lambda dead=dead: len(bench.pids() - dead) == 2, SOON)
        assert bench.run("echo").attempts == ()


def test_a_task_has_as_many_attempts_as_its_order_grants(bench: Bench) -> None:
    for attempts in (1, 2, 5):
        assert len(bench.run("leave", 3, max_attempts=attempts).attempts) == attempts


def test_a_task_that_survives_its_second_attempt_ends_well(bench: Bench, tmp_path: Path) -> None:
    outcome = bench.run("leave_once", path=tmp_path / "mark")
    assert decoded(outcome) == "survived"
    assert [attempt.exit_code for attempt in outcome.attempts] == [3]


def test_many_deadly_tasks_among_others_fail_alone(bench: Bench) -> None:
    jobs = [bench.submit("leave" if n % 10 == 0 else "echo", n, max_attempts=2) for n in range(200)]
    for number, job in enumerate(jobs):
        outcome = bench.heard.wait_for(job)
        if number % 10:
            assert decoded(outcome) == number
            assert outcome.attempts == ()
        else:
            assert [attempt.exit_code for attempt in outcome.attempts] == [number] * 2


def test_what_a_dead_worker_had_not_begun_costs_no_attempt(single: Bench) -> None:
    doomed = single.submit("leave", 3)
    following = [single.submit("echo", n) for n in range(4)]
    assert len(single.heard.wait_for(doomed).attempts) == 3
    for number, job in enumerate(following):
        outcome = single.heard.wait_for(job)
        assert (decoded(outcome), outcome.attempts) == (number, ())


def test_what_a_worker_killed_from_outside_had_not_begun_costs_no_attempt(single: Bench) -> None:
    gate = single.gate()
    slow = single.submit("wait_for_file", path=gate.path)
    following = single.submit("echo", "well", max_attempts=1)
    wait_until(lambda: single.pool.waiting() == 0)
    single.end_worker(gate.begun())
    gate.open()
    assert len(single.heard.wait_for(slow).attempts) == 1
    outcome = single.heard.wait_for(following)
    assert (decoded(outcome), outcome.attempts) == ("well", ())


# -- stopped, hung, late ------------------------------------------------------------------


def test_a_stopped_worker_is_killed_at_the_time_limit_and_replaced(bench: Bench) -> None:
    outcome = bench.run("stop_self", time_limit=0.5)
    assert (outcome.data, outcome.reason) == (None, "time limit of 0.5 s")
    (attempt,) = outcome.attempts
    assert attempt.signal == 9
    assert attempt.cause == f"worker {attempt.pid} time limit of 0.5 s"
    wait_until(lambda: len(bench.pids() - {attempt.pid}) == 2, SOON)
    assert not alive(attempt.pid)


@pytest.mark.parametrize("statistic", ["spin", "hold_interpreter"])
def test_a_worker_that_computes_for_ever_is_killed_at_the_time_limit(
    bench: Bench, statistic: str
) -> None:
    gate = bench.gate()
    seconds = 2 * DEADLINE
    job = bench.submit(statistic, 10**11, path=gate.path, seconds=seconds, time_limit=0.5)
    victim = gate.begun()
    assert bench.heard.wait_for(job).reason == "time limit of 0.5 s"
    wait_until(lambda: len(bench.pids() - {victim}) == 2, SOON)


def test_the_attempts_of_a_task_share_the_time_of_its_job(bench: Bench) -> None:
    limit = TimeLimit(1.0)
    job = bench.submit("leave_after", 3, seconds=0.15, time_limit=limit, max_attempts=100)
    outcome = bench.heard.wait_for(job)
    assert outcome.reason == "time limit of 1 s"
    assert 1 <= len(outcome.attempts) <= 7
    assert bench.answer("echo", "well") == "well"


def test_a_worker_stopped_from_outside_and_woken_too_late_harms_no_other_task(
    single: Bench,
) -> None:
    gate = single.gate()
    late = single.submit("wait_for_file", "late", path=gate.path, time_limit=1)
    following = single.submit("echo", "well", max_attempts=1)
    victim = gate.begun()
    assert end(victim, signal.SIGSTOP)
    gate.open()
    assert single.heard.wait_for(late).reason == "time limit of 1 s"
    end(victim, signal.SIGCONT)
    outcome = single.heard.wait_for(following)
    assert (decoded(outcome), outcome.attempts) == ("well", ())


def test_an_answer_at_the_very_time_limit_does_not_fail_the_next_task(bench: Bench) -> None:
    """The server finds the answer and the passed limit at once, the next task has begun."""
    late, other, *behind = (bench.gate() for _ in range(4))
    job = bench.submit("wait_for_file", "late", path=late.path, time_limit=1.5)
    victim = late.begun()
    begun = time.monotonic()
    marker = bench.submit("wait_for_file", path=other.path)
    other.begun()
    following = [bench.submit("wait_for_file", "well", path=gate.path) for gate in behind]
    wait_until(lambda: bench.pool.waiting() == 0)  # one behind each of the two
    with bench.heard.holding(marker) as wait_for_it:
        other.open()
        wait_for_it()
        late.open()
        assert victim in [gate.begun() for gate in behind]
        wait_for_clock(begun + 1.6)
    for gate in behind:
        gate.open()
    assert bench.heard.wait_for(job).reason in (None, "time limit of 1.5 s")
    assert [decoded(bench.heard.wait_for(each)) for each in following] == ["well"] * 2


def test_an_idle_worker_that_is_stopped_fails_only_what_it_was_given(bench: Bench) -> None:
    stopped, _ = bench.pids()
    assert end(stopped, signal.SIGSTOP)
    jobs = [bench.submit("pause", seconds=0.02, time_limit=1.5) for _ in range(20)]
    outcomes = [bench.heard.wait_for(job) for job in jobs]
    (failed,) = (outcome for outcome in outcomes if outcome.reason is not None)
    assert failed.reason == "time limit of 1.5 s"
    assert [outcome.attempts for outcome in outcomes if outcome is not failed] == [()] * 19


def test_a_pool_with_a_stopped_worker_is_closed_all_the_same(own: Bench) -> None:
    pids = own.pids()
    for pid in pids:
        assert end(pid, signal.SIGSTOP)
    own.close(0.1)
    assert not any(map(alive, pids))


# -- nonsense on the pipe -----------------------------------------------------------------

NONSENSE = {
    "no JSON": frame(b"what is this"),
    "JSON of no message": frame(b'{"result": 1}'),
    "a message of another kind": frame(b'["stop"]'),
    "a half message in a whole frame": frame(b'["result", 1,'),
    "an empty frame": frame(b""),
    "an answer that is not due": frame(b'["result", 999999, null]'),
    "a failure that is not due": frame(b'["failure", 999999, "no"]'),
    "a length beyond all bounds": b"\xff" * 64,
    "no unicode": frame(b'["failure", 1, "\xff"]'),
    "nested without end": frame(b'["result", 1, ' + b"[" * 100_000 + b"]" * 100_000 + b"]"),
}


def test_a_worker_that_talks_nonsense_is_replaced_and_its_task_tried_again(
    bench: Bench, tmp_path: Path
) -> None:
    for kind, sent in NONSENSE.items():
        before = bench.wait_until_whole()
        job = bench.submit("babble", sent.hex(), path=tmp_path / kind, seconds=2 * DEADLINE)
        bench.heard.wait_until(lambda job=job: bench.heard.of(job), SOON)
        outcome = bench.heard.wait_for(job)
        assert decoded(outcome) == "survived"
        (attempt,) = outcome.attempts
        assert attempt.pid in before
        bench.wait_until_whole(without={attempt.pid})
        assert bench.answer("echo", "next") == "next"


def test_a_task_whose_workers_always_talk_nonsense_fails(bench: Bench) -> None:
    sent = frame(b"what is this").hex()
    outcome = bench.run("babble", sent, seconds=2 * DEADLINE, max_attempts=2)
    assert outcome.data is None
    assert len(outcome.attempts) == 2
    assert bench.answer("echo", "next") == "next"


def test_a_worker_that_says_again_that_it_is_ready_loses_no_task(
    bench: Bench, tmp_path: Path
) -> None:
    ready = frame(b'["ready"]').hex()
    job = bench.submit("babble", ready, path=tmp_path / "mark")
    bench.heard.wait_until(lambda: bench.heard.of(job), SOON)


def test_half_a_message_and_then_death_costs_one_attempt(bench: Bench, tmp_path: Path) -> None:
    whole = frame(b'["result", 1, ' + b"[" * 99_999)
    for length in (1, 4, 18, len(whole) - 1):
        sent = whole[:length].hex()
        outcome = bench.run("babble_and_leave", sent, path=tmp_path / str(length))
        assert decoded(outcome) == "survived"
        assert [attempt.exit_code for attempt in outcome.attempts] == [0]


def test_the_record_of_a_worker_that_talked_nonsense_does_not_guess_at_its_memory(
    bench: Bench, tmp_path: Path
) -> None:
    sent = frame(b"what is this").hex()
    outcome = bench.run("babble", sent, path=tmp_path / "mark", seconds=2 * DEADLINE)
    (attempt,) = outcome.attempts
    assert "out of memory" not in attempt.cause


def test_an_exception_with_an_endless_text_fails_its_task_alone(bench: Bench) -> None:
    outcome = bench.run("fail_at_length", MAX_FRAME, max_attempts=1)
    assert outcome.reason is not None
    assert outcome.reason.startswith("ValueError: xxx")
    assert outcome.attempts == ()


def test_half_a_message_and_then_silence_ends_at_the_time_limit(bench: Bench) -> None:
    half = b"\x00\x00\x03\xe8abc"
    outcome = bench.run("babble", half.hex(), seconds=2 * DEADLINE, time_limit=0.5)
    assert outcome.reason == "time limit of 0.5 s"


def test_a_worker_that_closes_its_pipe_and_lives_on_is_killed(bench: Bench, tmp_path: Path) -> None:
    outcome = bench.run("hang_up", path=tmp_path / "mark", seconds=2 * DEADLINE)
    assert decoded(outcome) == "survived"
    (attempt,) = outcome.attempts
    assert attempt.signal == 9
    assert not alive(attempt.pid)


def test_a_child_that_a_dead_worker_has_left_does_not_hold_up_its_task(
    bench: Bench, tmp_path: Path
) -> None:
    before = descendants(os.getpid())
    job = bench.submit("leave_child", path=tmp_path / "mark", seconds=2 * DEADLINE, time_limit=1)
    try:
        bench.heard.wait_until(lambda: bench.heard.of(job), SOON)
    finally:
        strays = descendants(os.getpid()) - before - bench.pids()
        for pid in strays:
            end(pid)


# -- the fork server ----------------------------------------------------------------------


def test_a_killed_fork_server_takes_no_worker_with_it_and_is_replaced_when_needed(
    own: Bench,
) -> None:
    workers = own.pids()
    own.end_worker(own.fork_server())
    assert own.pids() == workers
    assert own.answer("echo", "well") == "well"
    for victim in workers:
        own.end_worker(victim)
        wait_until(lambda victim=victim: len(own.pids() - {victim}) == 2, 2 * SOON)
    assert not own.pids() & workers
    assert own.answer("echo", "well") == "well"


def test_a_task_survives_the_death_of_its_worker_and_of_the_fork_server(own: Bench) -> None:
    gate = own.gate()
    job = own.submit("wait_for_file", "well", path=gate.path)
    victim = gate.begun()
    own.end_worker(own.fork_server())
    own.end_worker(victim)
    gate.begun(except_by=victim)
    gate.open()
    outcome = own.heard.wait_for(job)
    assert decoded(outcome) == "well"
    assert [attempt.cause for attempt in outcome.attempts] == [
        f"worker {victim} is gone, nobody knows how"
    ]


def test_a_time_limit_holds_although_the_fork_server_is_gone(own: Bench) -> None:
    gate = own.gate()
    job = own.submit("hold_interpreter", 10**11, path=gate.path, time_limit=0.5)
    victim = gate.begun()
    own.end_worker(own.fork_server())
    assert own.heard.wait_for(job).reason == "time limit of 0.5 s"
    wait_until(lambda: not alive(victim))


def test_everything_killed_at_once_under_load_comes_back_and_every_task_ends_once(
    own: Bench,
) -> None:
    jobs = [own.submit("pause", n, seconds=0.005, max_attempts=100) for n in range(100)]
    own.heard.wait_for(jobs[20])
    workers = own.pids()
    for pid in (own.fork_server(), *workers):
        end(pid)
    own.wait_until_whole(without=workers)
    assert [decoded(own.heard.wait_for(job)) for job in jobs] == list(range(100))


def test_closing_ends_even_stopped_workers_whose_fork_server_is_gone(own: Bench) -> None:
    pids = own.pids()
    own.end_worker(own.fork_server())
    for pid in pids:
        assert end(pid, signal.SIGSTOP)
    own.close(0.1)
    wait_until(lambda: not any(map(alive, pids)), SOON)


def test_workers_that_die_at_the_start_are_started_again_less_and_less_often(
    tmp_path: Path, moody: Moody
) -> None:
    with opened_pool(tmp_path, catalogue=moody.name) as bench:
        moody.deadly.touch()
        victim, other = bench.pids()
        begun = time.monotonic()
        bench.end_worker(victim)
        wait_until(lambda: moody.deaths() >= 3)
        assert decoded(bench.run("pid", max_attempts=1)) == other
        starts = moody.deaths()
        assert sum(0.1 * 2**n for n in range(starts - 1)) < time.monotonic() - begun
        moody.deadly.unlink()
        assert other in bench.wait_until_whole(without={victim})


def test_a_pool_whose_workers_keep_dying_at_the_start_says_so_until_one_is_ready(
    tmp_path: Path, moody: Moody
) -> None:
    with opened_pool(tmp_path, catalogue=moody.name) as bench:
        assert bench.pool.trouble is None
        moody.deadly.touch()
        bench.end_worker(min(bench.pids()))
        wait_until(lambda: bench.pool.trouble)
        assert moody.deaths() >= 3
        told = bench.pool.trouble
        assert told is not None
        assert told.startswith("workers die at their start: worker ")
        assert told.endswith("left with exit code 7; trying again every 5 s")
        assert bench.answer("echo", "well") == "well"
        moody.deadly.unlink()
        bench.wait_until_whole()
        assert bench.pool.trouble is None


def test_workers_that_die_at_the_start_a_thousand_times_come_back_all_the_same(
    tmp_path: Path, moody: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "SHORTEST_BACKOFF", 1e-9)
    monkeypatch.setattr(crew, "LONGEST_BACKOFF", 1e-6)
    with opened_pool(tmp_path, catalogue=moody.name) as bench:
        moody.deadly.touch()
        bench.end_worker(min(bench.pids()))
        wait_until(lambda: moody.deaths() >= 1100)
        moody.deadly.unlink()
        bench.wait_until_whole()


def test_a_replacement_that_hangs_at_its_start_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "READY_TIMEOUT", 0.3)
    hanging = tmp_path / "hanging"
    catalogue = tmp_path / "slow_to_start.py"
    catalogue.write_text(
        "import os, pathlib, time\n"
        f"from {CATALOGUE} import STATISTICS\n"
        f"hanging = pathlib.Path({str(hanging)!r})\n"
        "def begin():\n"
        "    while hanging.exists(): time.sleep(0.01)\n"
        "os.register_at_fork(after_in_child=begin)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with opened_pool(tmp_path, workers=1, catalogue="slow_to_start") as bench:
        hanging.touch()
        bench.end_worker(min(bench.pids()))
        wait_until(lambda: bench.pool.trouble)
        assert "was not ready in time" in str(bench.pool.trouble)
        hanging.unlink()
        assert bench.answer("echo", "well") == "well"


def test_a_stopped_fork_server_is_replaced(tmp_path: Path) -> None:
    with opened_pool(tmp_path) as bench:
        end(bench.fork_server(), signal.SIGSTOP)
        victim = min(bench.pids())
        bench.end_worker(victim)
        bench.wait_until_whole(without={victim})
        assert bench.answer("echo", "well") == "well"


def test_a_dead_worker_whose_pipe_a_child_holds_is_found_at_the_time_limit(tmp_path: Path) -> None:
    """Nobody else tells: the fork server that would has been killed before."""
    before = descendants(os.getpid())
    with opened_pool(tmp_path) as bench:
        end(bench.fork_server())
        mark = tmp_path / "mark"
        outcome = bench.run("leave_child", path=mark, seconds=2 * DEADLINE, time_limit=1.0)
        assert outcome.reason == "time limit of 1 s"
        assert bench.answer("echo", "well") == "well"
        for stray in descendants(os.getpid()) - before - bench.pids() - {bench.fork_server()}:
            end(stray)


def test_a_job_out_of_time_fails_although_no_worker_is_free(single: Bench) -> None:
    limit = TimeLimit(0.5)
    job = single.submit("pause", seconds=0.01, kind=TaskKind.PARTIAL, time_limit=limit)
    single.heard.wait_for(job)
    gate = single.gate()
    single.submit("wait_for_file", path=gate.path)
    gate.begun()
    single.submit("pause", job=job, part=1, kind=TaskKind.PARTIAL, time_limit=limit)
    assert single.heard.wait_for(job, 1).reason == "time limit of 0.5 s"
    gate.open()


def test_what_lies_behind_a_task_that_hangs_is_done_by_another(bench: Bench) -> None:
    hanging = bench.submit("stop_self", time_limit=DEADLINE)
    waiting = [bench.submit("pause", number, seconds=0.05) for number in range(40)]
    assert [decoded(bench.heard.wait_for(job)) for job in waiting] == list(range(40))
    bench.pool.cancel(hanging)
    bench.submitted.discard((hanging, 0))


def test_the_last_step_of_a_job_does_not_wait_behind_those_that_came_later(single: Bench) -> None:
    job = single.submit("pause", seconds=0.01, kind=TaskKind.PARTIAL)
    single.heard.wait_for(job)
    gate = single.gate()
    single.submit("wait_for_file", path=gate.path)
    gate.begun()
    later = [single.submit("echo", number) for number in range(50)]
    single.submit("sum_of_squares", job=job, part=1, kind=TaskKind.COMBINE, work=[1, 2])
    gate.open()
    single.heard.wait_for(job, 1)
    for other in later:
        single.heard.wait_for(other)
    order = [outcome.task.job for outcome in single.heard.ended]
    assert order.index(job) < order.index(later[5])


def test_descriptors_that_a_task_has_leaked_cost_the_next_one_no_attempt(tmp_path: Path) -> None:
    with opened_pool(tmp_path, workers=1, worker_memory=2**30) as bench:
        (worker,) = bench.pids()
        assert bench.answer("leak_descriptors", 64) > 0
        for _ in range(3):  # each long enough for the worker to look at its memory after it
            assert bench.answer("pause", "well", seconds=0.03, max_attempts=1) == "well"
        assert bench.answer("pid") == worker


class Clumsy(Recorder):
    """A listener that fails."""

    def task_ended(self, outcome: Outcome) -> None:
        raise ValueError("clumsy")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_pool_whose_supervisor_has_failed_says_so_and_has_no_worker_left(tmp_path: Path) -> None:
    with published(small_table()) as region:
        pool = ProcessPool(Clumsy(), workers=2, table_fd=region.fd, catalogue=CATALOGUE)
        with pool:
            pids = [worker.pid for worker in pool.workers()]
            assert pool.trouble is None
            Bench(pool, Recorder(), tmp_path).submit("echo")
            wait_until(lambda: pool.trouble)
            assert pool.trouble == "the supervisor has failed; the log says why"
            wait_until(lambda: not any(map(alive, pids)))
            assert pool.workers() == []


# -- nothing is left, nothing piles up ----------------------------------------------------


@contextmanager
def stand_in(folder: Path) -> Iterator[tuple[int, list[int]]]:
    """A server's process that has a pool, and its workers: in Python, in C, idle."""
    code = (
        "import sys; from pathlib import Path; from tests.support.pools import serve_until_killed;"
        "serve_until_killed(Path(sys.argv[1]))"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    with server:
        try:
            yield server.pid, read_pids(folder / "workers")
        finally:
            server.kill()


def test_no_process_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    with stand_in(tmp_path) as (server, workers):
        everyone = descendants(server)
        assert len(workers) == 3
        assert everyone > {*workers}
        assert end(server)
        wait_until(lambda: not any(map(alive, everyone)), SOON)


def test_not_even_a_stopped_worker_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    with stand_in(tmp_path) as (server, workers):
        everyone = descendants(server)
        assert end(workers[2], signal.SIGSTOP)
        assert end(server)
        wait_until(lambda: not any(map(alive, everyone)), SOON)


def test_workers_outlive_neither_the_server_nor_its_fork_server(tmp_path: Path) -> None:
    with stand_in(tmp_path) as (server, (python, c, idle)):
        (fork_server,) = children(server)
        for pid in (fork_server, server):
            assert end(pid)
        wait_until(lambda: not alive(python) and not alive(idle), SOON)
        end(c)  # C code that never lets go of the interpreter cannot be told


def test_an_interrupt_from_the_terminal_ends_no_worker(tmp_path: Path) -> None:
    with stand_in(tmp_path) as (server, workers):
        everyone = descendants(server)
        assert {os.getpgid(pid) for pid in everyone} == {server}
        os.killpg(server, signal.SIGINT)
        assert read_pids(tmp_path / "interrupted") == sorted(workers)
        assert all(map(alive, everyone))


def test_twenty_replacements_later_the_server_holds_what_it_held_before(own: Bench) -> None:
    files, threads = len(open_files()), threading.active_count()
    seen = own.pids()
    for _ in range(20):
        victim = min(own.pids())
        own.end_worker(victim)
        seen |= own.wait_until_whole(without={victim})
    assert len(seen) == 22
    assert len(open_files()) == files
    assert threading.active_count() == threads
    assert len(children(own.fork_server())) == 2


def test_a_replacement_holds_no_more_than_the_first_worker(bench: Bench) -> None:
    first = bench.answer("descriptors")
    for _ in range(5):
        victim = min(bench.pids())
        bench.end_worker(victim)
        bench.wait_until_whole(without={victim})
    assert len(bench.answer("descriptors")) == len(first)


def test_two_thousand_tasks_end_once_and_right_while_workers_are_killed_at_random(
    own: Bench,
) -> None:
    """Only the workers killed here count as attempts: nobody else has died."""
    chance = random.Random(20)
    jobs = [
        own.submit("pause", n, seconds=chance.choice((0, 0.002, 0.008)), max_attempts=1000)
        for n in range(2000)
    ]
    killed = []
    while len(own.heard.ended) < len(jobs):
        victims = sorted(own.pids())
        for pid in chance.sample(victims, min(len(victims), chance.randint(1, 2))):
            if end(pid, chance.choice((signal.SIGKILL, signal.SIGTERM))):
                killed.append(pid)
        heard = len(own.heard.ended) + chance.randint(1, 80)
        own.heard.wait_until(lambda heard=heard: len(own.heard.ended) >= min(heard, len(jobs)))
    outcomes = [own.heard.wait_for(job) for job in jobs]
    assert [decoded(outcome) for outcome in outcomes] == list(range(2000))
    attempts = [attempt.pid for outcome in outcomes for attempt in outcome.attempts]
    assert len(attempts) == len(set(attempts))
    assert {*attempts} <= {*killed}
    assert len(killed) > 20
