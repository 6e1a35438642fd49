"""What is put into the inbox arrives in its order, and wakes whoever waits for it."""

import select
from collections.abc import Iterator
from contextlib import closing

import pytest

from server.inbox import Inbox


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with closing(Inbox()) as inbox:
        yield inbox


def is_awake(inbox: Inbox) -> bool:
    """Whether a wait for it would be over at once."""
    return bool(select.select([inbox], [], [], 0)[0])


def test_what_arrives_is_taken_once_and_in_its_order(inbox: Inbox) -> None:
    for job in (3, 1, 2):
        inbox.put(job)
    assert len(inbox) == 3
    assert list(inbox.take()) == [3, 1, 2]
    assert list(inbox.take()) == []
    assert len(inbox) == 0


def test_what_arrives_while_others_are_taken_is_taken_too(inbox: Inbox) -> None:
    inbox.put(1)
    taken = []
    for job in inbox.take():
        taken.append(job)
        if job == 1:
            inbox.put(2)
    assert taken == [1, 2]


def test_whoever_puts_something_wakes_the_supervisor_until_it_has_heard(inbox: Inbox) -> None:
    assert not is_awake(inbox)
    inbox.put(1)
    inbox.put(2)
    assert is_awake(inbox)
    inbox.heard()
    assert not is_awake(inbox)
    inbox.wake()
    assert is_awake(inbox)


def test_a_silent_inbox_wakes_nobody_but_keeps_what_arrives(inbox: Inbox) -> None:
    inbox.silence()
    inbox.put(1)
    assert not is_awake(inbox)
    assert len(inbox) == 1
