"""No task is lost or in two owners' hands, whatever workers do and in whatever order."""

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from server.scheduler import (
    DEPTH,
    PATIENCE,
    STALE_SECONDS,
    TINY_DEPTH,
    TINY_SECONDS,
    Assignment,
    OutOfStep,
    Scheduler,
)

Items = list[Assignment[int]]


def alone(task: int) -> tuple[int, int]:
    """Every task is a job of its own, all of the same priority."""
    return task, 5


class Model(RuleBasedStateMachine):
    """Drives a scheduler as a pool does, and keeps its own books of who has what.

    Tasks are numbered in the order in which they are submitted.
    """

    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.scheduler: Scheduler[int, str] = Scheduler(alone)
        self.now = 1000.0
        self.submitted = 0
        self.waiting: list[int] = []
        self.hands: dict[str, Items] = {}
        self.answers: dict[str, int] = {}
        self.tickets: set[int] = set()
        self.first_assigned: list[int] = []
        self.done: set[int] = set()
        self.joined = 0
        self.retried: set[int] = set()

    # -- what happens -----------------------------------------------------------------

    @rule(count=st.integers(1, 2 * TINY_DEPTH))
    def submit(self, count: int) -> None:
        for _ in range(count):
            self.submitted += 1
            self.scheduler.submit(self.submitted)
            self.waiting.append(self.submitted)

    @rule(seconds=st.sampled_from([0.0, 0.0001, PATIENCE / 2, PATIENCE, 0.01, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=workers)
    def worker_comes(self) -> str:
        self.joined += 1
        worker = f"worker {self.joined}"
        self.scheduler.add_worker(worker)
        self.hands[worker] = []
        self.answers[worker] = 0
        return worker

    @rule(worker=consumes(workers), again=st.booleans())
    def worker_dies(self, worker: str, again: bool) -> None:
        held = self.hands.pop(worker)
        begun, untouched = self.scheduler.remove_worker(worker)
        assert begun is (held[0] if held and not held[0].taken_back else None)
        assert untouched == [item.task for item in held[1:] if not item.taken_back]
        for task in untouched:
            self.retry(task)
        if begun is not None:
            if again:
                self.retry(begun.task)
            else:
                self.done.add(begun.task)

    def retry(self, task: int) -> None:
        self.scheduler.submit_next(task)
        self.waiting.append(task)
        self.retried.add(task)

    @rule()
    def hand_out(self) -> None:
        while (found := self.next_assignment()) is not None:
            worker, item = found
            self.check_assignment(worker, item)
            self.hands[worker].append(item)
            self.waiting.remove(item.task)
        loads = [load_of(held) for held in self.hands.values() if not self.is_stale(held)]
        assert not self.waiting or not loads or min(loads) >= DEPTH, "somebody has too little"

    def is_stale(self, held: Items) -> bool:
        return bool(held) and self.now - (held[0].started or self.now) >= STALE_SECONDS

    def next_assignment(self) -> tuple[str, Assignment[int]] | None:
        before = len(self.waiting)
        found = self.scheduler.next_assignment(self.now)
        assert self.scheduler.waiting() == before - (found is not None)
        return found

    def check_assignment(self, worker: str, item: Assignment[int]) -> None:
        assert not self.is_stale(self.hands[worker])
        loads = [load_of(held) for held in self.hands.values() if not self.is_stale(held)]
        load = load_of(self.hands[worker])
        if load < DEPTH:
            assert load == min(loads), "another has less"
        else:
            assert min(loads) >= DEPTH, "another needs it more"
            assert load < TINY_DEPTH
            assert len(self.waiting) >= len(self.hands), "there is no backlog for all"
            assert self.answers[worker], "nobody knows that its tasks are tiny"
        assert item.ticket not in self.tickets
        self.tickets.add(item.ticket)
        first_tries = set(self.waiting) - self.retried
        assert item.task in self.retried or item.task == min(first_tries), "somebody is overtaken"
        if item.task not in self.first_assigned:
            self.first_assigned.append(item.task)
        assert (item.assigned, item.taken_back) == (self.now, False)
        assert item.started == (None if self.hands[worker] else self.now)

    @rule(worker=workers)
    def answer(self, worker: str) -> None:
        held = self.hands[worker]
        if not held:
            return
        item = held.pop(0)
        self.answers[worker] += 1
        settled = self.scheduler.answered(worker, item.ticket, self.now)
        assert settled is (None if item.taken_back else item)
        if settled is not None:
            self.done.add(item.task)
        if held:
            assert held[0].started == self.now

    @rule(worker=workers, number=st.integers(0, 20))
    def answer_out_of_step(self, worker: str, number: int) -> None:
        due = self.hands[worker][0].ticket if self.hands[worker] else None
        wrong = sorted({0, *self.tickets} - {due})
        with pytest.raises(OutOfStep):
            self.scheduler.answered(worker, wrong[-1 - number % len(wrong)], self.now)

    @precondition(lambda self: self.tickets)
    @rule()
    def answer_of_nobody(self) -> None:
        with pytest.raises(OutOfStep):
            self.scheduler.answered("worker 0", max(self.tickets), self.now)

    @rule()
    def take_back(self) -> None:
        idle = sum(not held for held in self.hands.values())
        stale = [
            item.ticket
            for held in self.hands.values()
            if self.is_stale(held)
            for item in held[1:]
            if not item.taken_back
        ]
        had_waiting = bool(self.waiting or stale)
        candidates = [ticket for _, ticket in self.could_be_taken_back() if ticket not in stale]
        taken = list(self.scheduler.take_back(self.now))
        expected = 0 if had_waiting else min(idle, len(candidates))
        assert len(taken) == len(stale) + expected
        for worker, item in taken:
            assert any(item is each for each in self.hands[worker][1:])
            assert item.ticket in {*candidates, *stale}
            assert item.taken_back
            self.waiting.append(item.task)

    @rule()
    def recall(self) -> None:
        """Of jobs of one task each and of equal priority, only what waits again is earlier."""
        before = self.scheduler.first()
        for worker, item in self.scheduler.recall():
            assert any(item is each for each in self.hands[worker][1:])
            assert item.taken_back
            assert before in self.retried or item.task > (before or 0)
            self.waiting.append(item.task)

    def could_be_taken_back(self) -> Iterator[tuple[str, int]]:
        for worker, held in self.hands.items():
            for item in held[1:]:
                if not item.taken_back and self.now - item.assigned >= PATIENCE:
                    yield worker, item.ticket

    @rule(target=workers)
    def many_workers_come(self) -> object:
        return multiple(*(self.worker_comes() for _ in range(3)))

    # -- what always holds ------------------------------------------------------------

    @invariant()
    def every_task_has_exactly_one_owner(self) -> None:
        assert self.scheduler.waiting() == len(self.waiting)
        held = [i.task for hand in self.hands.values() for i in hand if not i.taken_back]
        everywhere = sorted([*self.waiting, *held, *self.done])
        assert everywhere == list(range(1, self.submitted + 1))

    @invariant()
    def tasks_are_first_assigned_in_the_order_of_submission(self) -> None:
        assert self.first_assigned == sorted(self.first_assigned)

    @invariant()
    def the_first_in_each_hand_is_what_its_worker_computes(self) -> None:
        for worker, held in self.hands.items():
            assert self.scheduler.begun(worker) is (held[0] if held else None)
            assert all(item.started is None for item in held[1:])
            assert not held or held[0].started is not None

    @invariant()
    def it_is_known_when_something_can_be_taken_back(self) -> None:
        unstarted = [
            (item.assigned + PATIENCE, (held[0].started or 0.0) + STALE_SECONDS)
            for held in self.hands.values()
            for item in held[1:]
            if not item.taken_back
        ]
        due = [when_stale for _, when_stale in unstarted]
        if not self.waiting and not all(self.hands.values()):
            due += [when_patience_ends for when_patience_ends, _ in unstarted]
        assert self.scheduler.take_back_at() == min(due, default=None)


def load_of(held: Items) -> int:
    """How many tasks a worker has to do."""
    return sum(not place or not item.taken_back for place, item in enumerate(held))


Model.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnyOrderOfEvents = Model.TestCase


# -- examples -------------------------------------------------------------------------


def scheduler_with(*workers: str, tasks: int = 0) -> Scheduler[int, str]:
    scheduler: Scheduler[int, str] = Scheduler(alone)
    for worker in workers:
        scheduler.add_worker(worker)
    for task in range(1, tasks + 1):
        scheduler.submit(task)
    return scheduler


def hand_out(scheduler: Scheduler[int, str], now: float = 0.0) -> list[tuple[str, int]]:
    """Assign as much as goes; (worker, task) in the order of assignment."""
    given = []
    while found := scheduler.next_assignment(now):
        given.append((found[0], found[1].task))
    return given


def answer(scheduler: Scheduler[int, str], worker: str, now: float) -> Assignment[int] | None:
    begun = scheduler.begun(worker)
    assert begun is not None
    return scheduler.answered(worker, begun.ticket, now)


def test_tasks_go_to_the_least_loaded_worker_in_turn() -> None:
    scheduler = scheduler_with("a", "b", tasks=5)
    assert hand_out(scheduler) == [("a", 1), ("b", 2), ("a", 3), ("b", 4)]
    assert (scheduler.waiting(), scheduler.first()) == (1, 5)


def test_without_workers_tasks_wait() -> None:
    scheduler = scheduler_with(tasks=2)
    assert hand_out(scheduler) == []
    scheduler.add_worker("a")
    assert hand_out(scheduler) == [("a", 1), ("a", 2)]


def test_without_tasks_workers_wait() -> None:
    scheduler = scheduler_with("a")
    assert scheduler.next_assignment(0.0) is None
    assert scheduler.begun("a") is None
    assert list(scheduler.take_back(10.0)) == []
    assert scheduler.take_back_at() is None


def test_a_task_whose_worker_died_goes_first() -> None:
    scheduler = scheduler_with("a", tasks=4)
    hand_out(scheduler)
    begun, untouched = scheduler.remove_worker("a")
    assert begun is not None
    assert (begun.task, untouched) == (1, [2])
    for task in (2, 1):
        scheduler.submit_next(task)
    scheduler.add_worker("b")
    assert hand_out(scheduler) == [("b", 1), ("b", 2)]


def test_a_worker_that_was_never_there_holds_nothing() -> None:
    assert scheduler_with("a", tasks=1).remove_worker("z") == (None, [])
    assert scheduler_with("a", tasks=1).begun("z") is None


def test_an_idle_worker_gets_what_a_busy_one_has_not_begun() -> None:
    scheduler = scheduler_with("busy", tasks=2)
    hand_out(scheduler, now=1.0)
    scheduler.add_worker("idle")
    assert list(scheduler.take_back(1.0 + PATIENCE / 2)) == []
    ((worker, item),) = scheduler.take_back(1.0 + 2 * PATIENCE)
    assert (worker, item.task, item.taken_back) == ("busy", 2, True)
    assert hand_out(scheduler, now=1.1) == [("idle", 2)]
    assert answer(scheduler, "idle", 1.2) is not None


def test_a_worker_that_is_withdrawn_ends_what_it_has_begun_and_gets_nothing_more() -> None:
    scheduler = scheduler_with("a", tasks=3)
    hand_out(scheduler)
    (item,) = scheduler.withdraw("a")
    assert (item.task, scheduler.waiting(), scheduler.first()) == (2, 2, 2)
    assert hand_out(scheduler) == []
    assert scheduler.withdraw("a") == []
    first = answer(scheduler, "a", 1.0)
    assert first is not None
    assert first.task == 1
    assert scheduler.begun("a") is item  # it has to be answered for, or to be buried
    assert scheduler.take_back_at() is None
    assert scheduler.remove_worker("a") == (None, [])
    scheduler.add_worker("b")
    assert hand_out(scheduler) == [("b", 2), ("b", 3)]


def test_what_was_taken_back_still_has_to_be_answered_for() -> None:
    scheduler = scheduler_with("busy", tasks=2)
    hand_out(scheduler, now=1.0)
    scheduler.add_worker("idle")
    ((_, item),) = scheduler.take_back(2.0)
    with pytest.raises(OutOfStep):
        scheduler.answered("busy", item.ticket, 2.0)
    first = answer(scheduler, "busy", 2.0)
    assert first is not None
    assert first.task == 1
    assert scheduler.begun("busy") is item
    assert scheduler.answered("busy", item.ticket, 2.0) is None
    assert scheduler.begun("busy") is None


def test_what_was_taken_back_is_not_its_old_worker_s_when_that_dies() -> None:
    scheduler = scheduler_with("busy", tasks=2)
    hand_out(scheduler, now=1.0)
    scheduler.add_worker("idle")
    assert len(list(scheduler.take_back(2.0))) == 1
    hand_out(scheduler, now=2.0)
    answer(scheduler, "busy", 2.0)
    assert scheduler.remove_worker("busy") == (None, [])
    begun, _ = scheduler.remove_worker("idle")
    assert begun is not None
    assert begun.task == 2


def test_what_is_taken_back_is_asked_for_once() -> None:
    scheduler = scheduler_with("busy", tasks=2)
    hand_out(scheduler)
    scheduler.add_worker("idle")
    assert len(list(scheduler.take_back(1.0))) == 1
    hand_out(scheduler, now=1.0)
    scheduler.add_worker("idle too")
    assert list(scheduler.take_back(2.0)) == []
    assert scheduler.take_back_at() is None


def test_nothing_is_taken_back_while_tasks_wait() -> None:
    scheduler = scheduler_with("busy", tasks=3)
    hand_out(scheduler)
    scheduler.add_worker("idle")
    assert list(scheduler.take_back(STALE_SECONDS / 2)) == []


def test_what_lies_behind_a_long_task_is_taken_back_even_so() -> None:
    scheduler = scheduler_with("hanging", "other", tasks=6)
    hand_out(scheduler, now=1.0)
    assert scheduler.take_back_at() == 1.0 + STALE_SECONDS
    answer(scheduler, "other", 1.1)
    hand_out(scheduler, now=1.1)
    ((worker, item),) = scheduler.take_back(1.0 + STALE_SECONDS)
    assert (worker, item.task) == ("hanging", 3)
    answer(scheduler, "other", 1.3)
    assert hand_out(scheduler, now=1.3) == [("other", 3)], "and goes to another first"
    assert scheduler.waiting() == 1
    assert load(scheduler, "hanging") == 1


def test_it_is_known_from_when_something_can_be_taken_back() -> None:
    scheduler = scheduler_with("busy", tasks=1)
    hand_out(scheduler, now=1.0)
    assert scheduler.take_back_at() is None
    scheduler.submit(2)
    hand_out(scheduler, now=1.1)
    assert scheduler.take_back_at() == 1.0 + STALE_SECONDS  # nobody is idle
    scheduler.add_worker("idle")
    assert scheduler.take_back_at() == 1.1 + PATIENCE
    scheduler.remove_worker("idle")
    assert scheduler.take_back_at() == 1.0 + STALE_SECONDS


def grow_tiny(scheduler: Scheduler[int, str], worker: str, seconds: float, now: float) -> float:
    """Let `worker` answer for eight tasks that took `seconds` each; when it has."""
    for _ in range(8):
        now += seconds
        answer(scheduler, worker, now)
        hand_out(scheduler, now)
    return now


def load(scheduler: Scheduler[int, str], worker: str) -> int:
    begun, untouched = scheduler.remove_worker(worker)
    return len(untouched) + (begun is not None)


def test_a_worker_of_tiny_tasks_holds_more_of_them_under_a_backlog() -> None:
    scheduler = scheduler_with("a", tasks=100)
    hand_out(scheduler)
    grow_tiny(scheduler, "a", TINY_SECONDS / 10, now=0.0)
    assert load(scheduler, "a") == TINY_DEPTH


def test_a_worker_of_tiny_tasks_holds_no_more_unless_there_is_a_backlog_for_all() -> None:
    scheduler = scheduler_with("a", "b", "c", tasks=3 * DEPTH)
    hand_out(scheduler)
    now = 0.0
    for task in range(100, 108):
        scheduler.submit(task)
        now += TINY_SECONDS / 10
        answer(scheduler, "a", now)
        assert hand_out(scheduler, now) == [("a", task)]
    for task in (200, 201):
        scheduler.submit(task)
    assert hand_out(scheduler, now) == []
    scheduler.submit(202)
    assert hand_out(scheduler, now) == [("a", 200)]


def test_a_worker_of_longer_tasks_holds_no_more_under_any_backlog() -> None:
    scheduler = scheduler_with("a", tasks=100)
    hand_out(scheduler)
    grow_tiny(scheduler, "a", 2 * TINY_SECONDS, now=0.0)
    assert load(scheduler, "a") == DEPTH


def test_a_worker_whose_tasks_grow_longer_holds_fewer_again() -> None:
    scheduler = scheduler_with("a", tasks=200)
    hand_out(scheduler)
    now = grow_tiny(scheduler, "a", TINY_SECONDS / 10, now=0.0)
    for _ in range(2 * TINY_DEPTH):
        now += 1.0
        answer(scheduler, "a", now)
        hand_out(scheduler, now)
    assert load(scheduler, "a") == DEPTH


def test_a_backlog_goes_on_to_whoever_holds_too_little_first() -> None:
    scheduler = scheduler_with("tiny", "other", tasks=100)
    hand_out(scheduler)
    grow_tiny(scheduler, "tiny", TINY_SECONDS / 10, now=0.0)
    scheduler.add_worker("new")
    assert [worker for worker, _ in hand_out(scheduler)] == ["new", "new"]


def test_it_is_calm_where_no_worker_is_at_a_task_or_all_are_at_longer_ones() -> None:
    scheduler = scheduler_with("first", "second", tasks=1)
    assert scheduler.is_calm()
    hand_out(scheduler)
    assert not scheduler.is_calm(), "one works, one waits: a tiny task may have begun"
    scheduler.submit(2)
    hand_out(scheduler)
    assert scheduler.is_calm()
    answer(scheduler, "first", TINY_SECONDS / 2)
    scheduler.submit(3)
    hand_out(scheduler)
    assert not scheduler.is_calm(), "the first worker's tasks are tiny"
    for worker in ("first", "second"):
        answer(scheduler, worker, 1.0)
    assert scheduler.is_calm()


def test_an_answer_for_what_was_taken_back_does_not_make_a_worker_s_tasks_tiny() -> None:
    scheduler = scheduler_with("busy", tasks=2)
    hand_out(scheduler)
    scheduler.add_worker("idle")
    assert len(list(scheduler.take_back(1.0))) == 1
    hand_out(scheduler, now=1.0)
    answer(scheduler, "busy", TINY_SECONDS)  # its one task took as long as tasks are taken to
    answer(scheduler, "busy", TINY_SECONDS)  # skipped, which took no time
    for task in range(3, 3 + 3 * TINY_DEPTH):
        scheduler.submit(task)
    hand_out(scheduler, now=2.0)
    assert load(scheduler, "busy") == DEPTH


def jobs_with(*workers: str, **tasks: int) -> Scheduler[str, str]:
    """A scheduler of tasks `a0, a1, ...`: their first letter is the job, unless in capitals."""
    scheduler: Scheduler[str, str] = Scheduler(lambda task: (ord(task[0]), 5))
    for worker in workers:
        scheduler.add_worker(worker)
    for job, count in tasks.items():
        for number in range(count):
            scheduler.submit(f"{job}{number}")
    return scheduler


def give(scheduler: Scheduler[str, str]) -> list[str]:
    given = []
    while found := scheduler.next_assignment(0.0):
        given.append(found[1].task)
    return given


def test_a_cancelled_job_s_tasks_are_dropped_wherever_they_are() -> None:
    scheduler = jobs_with("one", a=4)  # two in its hand, two waiting
    give(scheduler)
    scheduler.submit("b0")
    held = scheduler.cancel(ord("a"))
    assert [(worker, item.task, begun) for worker, item, begun in held] == [
        ("one", "a0", True),
        ("one", "a1", False),
    ]
    assert (scheduler.waiting(), scheduler.first()) == (1, "b0")
    assert [scheduler.answered("one", item.ticket, 1.0) for _, item, _ in held] == [None, None]
    assert scheduler.cancel(ord("a")) == []


def test_a_worker_that_dies_with_cancelled_tasks_gives_none_of_them_back() -> None:
    scheduler = jobs_with("one", a=2)
    give(scheduler)
    assert len(scheduler.cancel(ord("a"))) == 2
    assert scheduler.remove_worker("one") == (None, [])


def test_a_new_job_comes_before_what_a_worker_has_not_begun() -> None:
    scheduler = jobs_with("one", "two", a=10)
    assert give(scheduler) == ["a0", "a1", "a2", "a3"]
    scheduler.submit("b0")
    assert scheduler.next_assignment(0.0) is None, "both have enough"
    ((worker, item),) = scheduler.recall()
    assert (worker, item.task) == ("one", "a2")
    assert give(scheduler) == ["b0"]
    assert scheduler.recall() == [], "within a job the order is no matter"
    begun = scheduler.begun("one")
    assert begun is not None
    assert begun.task == "a0"
    scheduler.answered("one", begun.ticket, 1.0)
    assert scheduler.begun("one") is item
    assert scheduler.answered("one", item.ticket, 1.0) is None, "skipped"
    after = scheduler.begun("one")
    assert after is not None
    assert after.task == "b0"
    assert give(scheduler) == ["a2"]


def test_what_was_recalled_is_not_lost_when_the_worker_dies() -> None:
    scheduler = jobs_with("one", a=2)
    give(scheduler)
    scheduler.submit("b0")
    assert [item.task for _, item in scheduler.recall()] == ["a1"]
    begun, untouched = scheduler.remove_worker("one")
    assert begun is not None
    assert (begun.task, untouched) == ("a0", [])
    scheduler.add_worker("two")
    assert give(scheduler) == ["b0", "a1"]
