"""What becomes of each task that is for Dask: one outcome, and attempts that are counted."""

import pytest
from msgspec import Raw

from server.dask_tasks import DEEPEST, DaskTasks
from server.messages import Task, TaskKind
from server.pool import Attempt, Order, TimeLimit
from tests.support.pools import Recorder

ATTEMPT = Attempt(1, None, None, "lost", "computing")


class Carrier:
    """Stands for Dask: notes what it is told."""

    def __init__(self) -> None:
        self.sent: dict[int, int] = {}  # ticket: job
        self.recalled: list[int] = []
        self.killed: list[tuple[str, str]] = []
        self.spared: list[tuple[int, str]] = []
        self.watched: list[int] = []

    def send(self, ticket: int, order: Order) -> None:
        self.sent[ticket] = order.task.job

    def recall(self, ticket: int) -> None:
        self.recalled.append(ticket)

    def kill(self, worker: str, reason: str) -> None:
        self.killed.append((worker, reason))

    def let_finish(self, ticket: int, worker: str) -> None:
        self.spared.append((ticket, worker))

    def watch(self, limit: TimeLimit, job: int) -> None:
        self.watched.append(job)


class Desk:
    """Tasks, who carries them, and who hears of them."""

    def __init__(self) -> None:
        self.carrier = Carrier()
        self.heard = Recorder()
        self.tasks = DaskTasks(self.heard, self.carrier)

    def accept(self, job: int, attempts: int = 3, kind: TaskKind = TaskKind.WHOLE) -> Order:
        task = Task(job, 0, kind, "echo", Raw(b"{}"), Raw(b"null"))
        order = Order(task, TimeLimit(10.0), attempts)
        self.tasks.accept(order, now=float(job))
        return order

    def outcomes(self) -> list[tuple[int, str | None, int]]:
        return [(o.task.job, o.reason, len(o.attempts)) for o in self.heard.ended]


@pytest.fixture
def desk() -> Desk:
    """Nothing accepted yet."""
    return Desk()


def test_what_waits_goes_out_in_its_turn_as_far_as_there_is_room(desk: Desk) -> None:
    for job in range(1, 6):
        desk.accept(job)
    desk.tasks.hand_out(0, 0.0)
    assert desk.carrier.sent == {}
    desk.tasks.hand_out(2, 0.0)  # two tasks for each slot, as long as none is known to be short
    assert list(desk.carrier.sent.values()) == [1, 2, 3, 4]
    assert desk.tasks.waiting() == 1


def test_the_shorter_the_tasks_the_more_are_with_dask(desk: Desk) -> None:
    for job in range(1, 200):
        desk.accept(job)
        desk.tasks.hand_out(1, 0.0)
        if job <= 100:
            desk.tasks.begun(job, "a", 1.0)
            desk.tasks.answered(job, b"1", None, 1.0001)
    assert len(desk.tasks.out) == DEEPEST


def test_a_combining_task_does_not_wait_behind_others(desk: Desk) -> None:
    for job in (1, 2, 3):
        desk.accept(job)
    desk.accept(4, kind=TaskKind.COMBINE)
    desk.tasks.hand_out(1, 0.0)
    assert desk.carrier.sent[1] == 4


def test_an_answer_ends_its_task_once(desk: Desk) -> None:
    desk.accept(1)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.begun(1, "a", 1.0)
    for _ in range(2):
        desk.tasks.answered(1, b"5", None, 2.0)
    assert desk.heard.story == [("started", 1, 0), ("ended", 1, 0)]
    assert desk.carrier.watched == [1]


def test_an_answer_without_the_word_of_its_begin_is_one_too(desk: Desk) -> None:
    desk.accept(1)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.answered(1, b"5", None, 2.0)
    assert desk.heard.story == [("started", 1, 0), ("ended", 1, 0)]


def test_a_lost_worker_costs_what_it_had_begun_an_attempt_and_nothing_else(desk: Desk) -> None:
    for job in (1, 2):
        desk.accept(job, attempts=2)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.begun(1, "a", 1.0)
    desk.tasks.lost("a", [1, 2], ATTEMPT)
    assert (desk.outcomes(), desk.tasks.retried) == ([], 1)
    desk.tasks.begun(1, "b", 2.0)
    desk.tasks.lost("b", [1, 2], ATTEMPT)
    ((job, reason, attempts),) = desk.outcomes()
    assert (job, attempts) == (1, 2)
    assert reason == "its worker died in each of 2 attempts; in the last, lost"
    assert desk.carrier.recalled == [1]


def test_a_worker_lost_before_its_word_has_cost_the_first_of_its_tasks(desk: Desk) -> None:
    for job in (1, 2):
        desk.accept(job, attempts=1)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.lost("a", [2, 1, 0], ATTEMPT)
    assert [job for job, _, _ in desk.outcomes()] == [1]


def test_what_dask_tries_again_too_late_costs_those_behind_it_nothing(desk: Desk) -> None:
    for job in (1, 2):
        desk.accept(job, attempts=1)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.lost("a", [1], ATTEMPT)
    desk.tasks.lost("b", [1, 2], ATTEMPT)
    assert [job for job, _, _ in desk.outcomes()] == [1]
    assert set(desk.tasks.out) == {2}


def test_a_worker_that_was_ended_on_purpose_costs_no_attempt(desk: Desk) -> None:
    desk.accept(1, attempts=1)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.begun(1, "a", 1.0)
    desk.tasks.lost("a", [1], None)
    assert (desk.outcomes(), set(desk.tasks.out)) == ([], {1})


def test_what_dask_gives_up_is_sent_again_until_its_attempts_are_used_up(desk: Desk) -> None:
    desk.accept(1, attempts=2)
    for ticket in (1, 2):
        desk.tasks.hand_out(1, 0.0)
        assert set(desk.tasks.out) == {ticket}
        desk.tasks.given_up(ticket, ATTEMPT)
    assert [(job, attempts) for job, _, attempts in desk.outcomes()] == [(1, 2)]


def test_what_comes_back_has_lost_nothing_and_is_first_again(desk: Desk) -> None:
    for job in (1, 2, 3):
        desk.accept(job)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.begun(1, "a", 1.0)
    desk.tasks.take_back_all()
    assert desk.tasks.waiting() == 3
    desk.tasks.hand_out(1, 2.0)
    assert [desk.carrier.sent[ticket] for ticket in (3, 4)] == [1, 2]
    assert desk.outcomes() == []


def test_a_cancelled_job_has_no_outcome_and_ends_the_worker_that_computes_it(desk: Desk) -> None:
    for job in (1, 2, 3):
        desk.accept(job)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.begun(1, "a", 1.0)
    for job in (1, 2, 3):
        desk.tasks.cancel(job)
    assert (desk.tasks.waiting(), len(desk.tasks.out), desk.outcomes()) == (0, 0, [])
    assert desk.carrier.killed == [("a", "cancelled")]
    assert desk.carrier.recalled == [1, 2]


def test_what_is_begun_although_it_was_recalled_is_let_finish_for_a_moment(desk: Desk) -> None:
    desk.accept(1)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.cancel(1)
    desk.tasks.begun(1, "a", 1.0)
    assert desk.carrier.spared == [(1, "a")]
    assert desk.heard.story == []


def test_every_task_of_a_job_out_of_time_ends_and_its_worker_too(desk: Desk) -> None:
    for job in (1, 1, 1, 2):
        desk.accept(job)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.begun(1, "a", 1.0)
    desk.tasks.end_job(1, "time limit of 10 s")
    assert desk.outcomes() == [(1, "time limit of 10 s", 0)] * 3
    assert desk.carrier.killed == [("a", "time limit of 10 s")]


def test_a_task_whose_time_is_over_never_goes_out(desk: Desk) -> None:
    desk.accept(1).time_limit.begin(0.0)
    desk.tasks.hand_out(1, 10.0)
    assert desk.carrier.sent == {}
    assert desk.outcomes() == [(1, "time limit of 10 s", 0)]


def test_only_what_has_waited_so_long_and_was_not_begun_is_ended(desk: Desk) -> None:
    for job in (1, 2, 3, 4):
        desk.accept(job)
    desk.tasks.hand_out(1, 0.0)
    desk.tasks.begun(1, "a", 5.0)
    assert desk.tasks.oldest() == 2.0
    desk.tasks.end_what_came_before(3.0, "no worker")
    assert desk.outcomes() == [(2, "no worker", 0), (3, "no worker", 0)]
