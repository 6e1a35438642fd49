"""The parts of a job become one answer, whoever computes them and in whatever order."""

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from server.gathering import FAN_IN, MOST_KEPT, Gathering, Step, TooMuchKept
from server.messages import TaskKind


def work_of(step: Step) -> Any:
    return msgspec.json.decode(step.work)


class Computer:
    """Computes steps as workers do: a partial is a list of parts, and merging joins lists."""

    def __init__(self, parts: Sequence[int], *, merges: bool, ahead: int = 8) -> None:
        self.gathering = Gathering(parts, merges=merges, ahead=ahead)
        self.waiting = list(self.gathering.begin())
        self.seen = list(self.waiting)
        self.most_waiting = len(self.waiting)
        self.answer: Any = None

    def compute(self, place: int) -> None:
        step = self.waiting.pop(place)
        work = work_of(step)
        match step.kind:
            case TaskKind.WHOLE:
                self.answer = [work]
            case TaskKind.COMBINE:
                self.answer = [each for partial in work for each in partial]
            case TaskKind.PARTIAL | TaskKind.MERGE:
                lists = [[work]] if step.kind is TaskKind.PARTIAL else work
                joined = [each for partial in lists for each in partial]
                partial = Raw(msgspec.json.encode(joined))
                further = list(self.gathering.arrived(step.number, partial))
                self.waiting += further
                self.seen += further
        self.most_waiting = max(self.most_waiting, len(self.waiting))

    def compute_all(self, rng: random.Random) -> Any:
        while self.waiting:
            self.compute(rng.randrange(len(self.waiting)))
        return self.answer


@given(
    st.integers(0, 300) | st.sampled_from([FAN_IN - 1, FAN_IN, FAN_IN + 1, FAN_IN**2 + 1, 9000]),
    st.booleans(),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_every_part_is_in_the_answer_once_and_in_its_place(
    count: int, merges: bool, ahead: int, rng: random.Random
) -> None:
    computer = Computer(range(count), merges=merges, ahead=ahead)
    assert computer.compute_all(rng) == list(range(count))
    numbers = [step.number for step in computer.seen]
    assert len(set(numbers)) == len(numbers), "no two steps have the same number"
    assert computer.seen[-1].kind is (TaskKind.WHOLE if count == 1 else TaskKind.COMBINE)
    assert computer.gathering.progress == (0.0 if count == 1 else 1.0)


def test_which_partials_are_merged_does_not_depend_on_the_order_of_answers() -> None:
    works = []
    for seed in range(5):
        computer = Computer(range(1000), merges=True)
        computer.compute_all(random.Random(seed))
        works.append({step.number: (step.kind, bytes(step.work)) for step in computer.seen})
    assert all(each == works[0] for each in works)
    merged = [work for kind, work in works[0].values() if kind is TaskKind.MERGE]
    assert len(merged) == -(-1000 // FAN_IN)


def test_only_so_many_parts_are_out_at_a_time() -> None:
    computer = Computer(range(10_000), merges=True, ahead=8)
    assert [step.number for step in computer.waiting] == list(range(8))
    computer.compute_all(random.Random(1))
    assert computer.most_waiting <= 8 + 2


def test_of_a_job_of_very_many_parts_few_partials_are_kept() -> None:
    computer = Computer(range(50_000), merges=True)
    most = 0
    while computer.waiting:
        computer.compute(0)
        kept = sum(len(run) for run in computer.gathering._open.values())
        most = max(most, kept)
    assert most <= 3 * FAN_IN


def test_at_the_last_level_no_more_than_a_few_are_combined() -> None:
    computer = Computer(range(FAN_IN * FAN_IN + 1), merges=True)
    computer.compute_all(random.Random(2))
    assert len(work_of(computer.seen[-1])) == 2


@pytest.mark.parametrize(("count", "kind"), [(0, TaskKind.COMBINE), (1, TaskKind.WHOLE)])
def test_a_job_of_no_more_than_one_part_is_one_step(count: int, kind: TaskKind) -> None:
    (step,) = Gathering(range(count), merges=True, ahead=8).begin()
    assert step.kind is kind
    assert work_of(step) == (0 if count else [])


def test_partials_that_are_too_much_to_keep_are_an_error() -> None:
    gathering = Gathering(range(10), merges=False, ahead=10)
    list(gathering.begin())
    third = Raw(b'"' + b"x" * (MOST_KEPT // 3) + b'"')
    for number in range(2):
        assert not list(gathering.arrived(number, third))
    with pytest.raises(TooMuchKept, match="bytes together"):
        list(gathering.arrived(2, third))


def test_what_was_merged_is_not_kept() -> None:
    gathering = Gathering(range(FAN_IN * 4), merges=True, ahead=FAN_IN * 4)
    list(gathering.begin())
    large = Raw(b'"' + b"x" * (MOST_KEPT // FAN_IN - 10) + b'"')
    steps = [step for number in range(FAN_IN * 3) for step in gathering.arrived(number, large)]
    assert [step.kind for step in steps] == [TaskKind.MERGE] * 3


def test_progress_is_the_share_of_parts_done() -> None:
    computer = Computer(range(4), merges=False)
    shares = []
    while computer.waiting:
        shares.append(computer.gathering.progress)
        computer.compute(0)
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]
