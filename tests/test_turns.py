"""Jobs take turns at the workers, and a higher priority has more of them."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from server.turns import Turn, Turns

Task = tuple[int, int, int]
"""Job, priority, number."""


def of_task(task: Task) -> tuple[int, int]:
    job, priority, _ = task
    return job, priority


def turns_of(jobs: Iterable[tuple[int, int, int]]) -> Turns[Task]:
    """Jobs as (job, priority, how many tasks), in this order."""
    turns: Turns[Task] = Turns(of_task)
    for job, priority, count in jobs:
        for number in range(count):
            turns.append((job, priority, number))
    return turns


def serve(turns: Turns[Task], count: int = 10**6) -> list[Task]:
    """Take tasks out and do them one after the other."""
    done = []
    while len(turns) and len(done) < count:
        task, turn = turns.pop()
        turns.begun()
        done.append(task)
        turns.settled(turn)
    return done


def jobs_of(tasks: Iterable[Task]) -> list[int]:
    return [job for job, _, _ in tasks]


def test_jobs_of_one_task_go_in_their_order() -> None:
    assert jobs_of(serve(turns_of((job, 5, 1) for job in range(1, 30)))) == list(range(1, 30))


def test_the_tasks_of_a_job_go_in_their_order() -> None:
    assert serve(turns_of([(1, 5, 9)])) == [(1, 5, number) for number in range(9)]


def test_two_long_jobs_take_turns() -> None:
    served = jobs_of(serve(turns_of([(1, 5, 50), (2, 5, 50)])))
    for at in range(0, 100, 2):
        assert set(served[at : at + 2]) == {1, 2}


def test_a_job_that_comes_late_is_next_and_owes_nothing() -> None:
    turns = turns_of([(1, 5, 1000)])
    serve(turns, 500)
    turns.append((2, 5, 0))
    assert jobs_of(serve(turns, 3)) == [2, 1, 1]


def test_a_job_that_was_away_has_no_turns_saved_up() -> None:
    turns = turns_of([(1, 5, 1000), (2, 5, 1)])
    serve(turns, 500)
    for number in range(1, 100):
        turns.append((2, 5, number))
    assert Counter(jobs_of(serve(turns, 100)))[1] >= 49


def test_each_level_of_priority_doubles_the_turns() -> None:
    served = Counter(jobs_of(serve(turns_of([(1, 5, 1000), (2, 6, 1000), (3, 7, 1000)]), 700)))
    assert served[1] == pytest.approx(100, abs=2)
    assert served[2] == pytest.approx(200, abs=2)
    assert served[3] == pytest.approx(400, abs=2)


def test_the_highest_priority_does_not_starve_the_lowest() -> None:
    turns = turns_of([(1, 0, 5)])
    served: list[int] = []
    for job in range(2, 3000):  # there is always one of the highest priority that waits
        turns.append((job, 9, 0))
        while len(turns) > 5 - served.count(1):
            served += jobs_of(serve(turns, 1))
    assert served.count(1) == 5


def test_a_job_of_a_higher_priority_goes_before_those_that_wait() -> None:
    turns = turns_of((job, 5, 1) for job in range(1, 1000))
    serve(turns, 10)
    turns.append((1000, 9, 0))
    assert jobs_of(serve(turns, 2)) == [1000, 11]


def test_a_task_that_is_tried_again_is_next() -> None:
    turns = turns_of([(1, 5, 100), (2, 9, 100)])
    task, turn = turns.pop()
    turns.begun()
    serve(turns, 20)
    turns.settled(turn)
    turns.prepend(task)
    assert turns.pop()[0] == task


def test_what_is_put_back_has_the_turn_that_it_had() -> None:
    turns = turns_of([(1, 5, 5), (2, 5, 5)])
    taken = [turns.pop() for _ in range(4)]
    for task, turn in reversed(taken):
        turns.put_back(task, turn)
    assert [turns.pop() for _ in range(4)] == taken


def test_one_task_of_a_job_can_be_taken_out_of_its_line() -> None:
    turns = turns_of([(1, 5, 1), (2, 5, 2)])
    assert [turns.pop_of(2), turns.pop_of(2), turns.pop_of(2)] == [(2, 5, 0), (2, 5, 1), None]
    assert turns.pop_of(3) is None
    assert jobs_of(serve(turns)) == [1]


def test_a_dropped_job_leaves_the_others_and_nothing_behind() -> None:
    turns = turns_of([(1, 5, 3), (2, 5, 3)])
    _, turn = turns.pop()
    assert [number for _, _, number in turns.drop(1)] == [1, 2]
    turns.settled(turn)
    assert jobs_of(serve(turns)) == [2, 2, 2]
    assert turns.drop(1) == []
    assert turns.peek() is None
    with pytest.raises(IndexError):
        turns.pop()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=1, max_size=8))
def test_while_jobs_wait_each_has_its_share(jobs: list[tuple[int, int]]) -> None:
    """Of two jobs that wait all the time, neither is further ahead than its next task."""
    turns = turns_of((job, priority, count) for job, (priority, count) in enumerate(jobs))
    left = [count for _, count in jobs]
    done = [0] * len(jobs)
    while all(left):
        (task,) = serve(turns, 1)
        done[task[0]] += 1
        left[task[0]] -= 1
        shares = [n * 2 ** (9 - priority) for n, (priority, _) in zip(done, jobs, strict=True)]
        steps = [2 ** (9 - priority) for priority, _ in jobs]
        for share, step in zip(shares, steps, strict=True):
            assert all(
                share - step <= other + own for other, own in zip(shares, steps, strict=True)
            )


class AnyOrder(RuleBasedStateMachine):
    """Tasks come, go, come back and are settled in any order: each is in exactly one place."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Turns[Task] = Turns(of_task)
        self.numbers = 0
        self.waiting: set[Task] = set()
        self.out: list[tuple[Task, Turn]] = []

    @rule(job=st.integers(1, 5), priority=st.integers(0, 9))
    def append(self, job: int, priority: int) -> None:
        self.numbers += 1
        task = (job, priority, self.numbers)
        self.turns.append(task)
        self.waiting.add(task)

    @precondition(lambda self: self.waiting)
    @rule()
    def pop(self) -> None:
        first = self.turns.peek()
        task, turn = self.turns.pop()
        assert first == (task, turn)
        self.waiting.remove(task)
        self.out.append((task, turn))

    @precondition(lambda self: self.out)
    @rule(back=st.sampled_from(["put back", "again", "settled"]))
    def come_back(self, back: str) -> None:
        task, turn = self.out.pop()
        if back == "put back":
            self.turns.put_back(task, turn)
        else:
            self.turns.begun()
            self.turns.settled(turn)
        if back == "again":
            self.turns.prepend(task)
        if back != "settled":
            self.waiting.add(task)

    @rule(job=st.integers(1, 5))
    def drop(self, job: int) -> None:
        dropped = set(self.turns.drop(job))
        assert dropped == {task for task in self.waiting if task[0] == job}
        self.waiting -= dropped

    @invariant()
    def every_task_that_waits_is_there_once(self) -> None:
        assert sorted(self.turns) == sorted(self.waiting)
        assert len(self.turns) == len(self.waiting)
        assert (self.turns.peek() is None) == (not self.waiting)


TestAnyOrder = AnyOrder.TestCase
