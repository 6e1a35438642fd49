"""A lane: turns share what has come, and the thread outlives a turn that fails."""

import threading
import time

import pytest

from server.lane import Lane

SECONDS = 20.0


class Turns:
    """What each turn was given; the first one stays until `open` is set."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, items: list[int]) -> None:
        self.seen.append(items)
        self.begun.set()
        assert self.open.wait(SECONDS)
        if 0 in items:
            raise RuntimeError("stumbled")


def test_all_that_comes_during_a_turn_shares_the_next_one() -> None:
    turns = Turns()
    lane = Lane("lane", turns)
    lane.start()
    assert lane.put([1])
    assert turns.begun.wait(SECONDS)
    for items in ([2, 3], [4], [5, 6]):
        assert lane.put(items)
    turns.open.set()
    lane.close()
    assert turns.seen[0] == [1]
    assert turns.seen[1] == [2, 3, 4, 5, 6]


def test_closing_deals_with_what_was_put_and_takes_nothing_more() -> None:
    turns = Turns()
    turns.open.set()
    lane = Lane("lane", turns)
    assert lane.put([1, 2])
    lane.start()
    lane.close()
    assert [item for items in turns.seen for item in items] == [1, 2]
    assert not lane.put([3])
    assert "lane" not in {thread.name for thread in threading.enumerate()}


def test_a_turn_that_fails_is_logged_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns = Turns()
    lane = Lane("lane", turns)
    lane.start()
    assert lane.put([0])
    assert turns.begun.wait(SECONDS)
    assert lane.put([1])
    turns.open.set()
    lane.close()
    assert turns.seen[:2] == [[0], [1]]
    assert [record.message for record in caplog.records] == ["lane: a turn has failed"]


def test_a_turn_comes_when_something_is_due_though_nothing_has_come() -> None:
    due = time.monotonic() + 0.05
    late = threading.Event()

    def turn(items: list[int]) -> None:
        if not items and time.monotonic() >= due:
            late.set()

    lane = Lane("lane", turn, lambda: None if late.is_set() else max(0.0, due - time.monotonic()))
    lane.start()
    assert late.wait(SECONDS)
    lane.close()
