"""Jobs and waiting clients are counted, and let in while there is room and no end in sight."""

import threading
from collections.abc import Callable

import pytest

from server.admission import Admission
from server.errors import QueueFull, ShuttingDown


def test_as_many_jobs_are_let_in_as_there_is_room_for_all_or_none() -> None:
    admission = Admission(most=5, waiters=1)
    admission.reserve(3)
    with pytest.raises(QueueFull) as caught:
        admission.reserve(3)
    assert (caught.value.status, admission.unfinished) == (503, 3)
    assert caught.value.retry_after >= 1
    admission.reserve(2)
    admission.release(4)
    assert admission.unfinished == 1


def test_after_the_end_has_begun_nobody_is_let_in() -> None:
    admission = Admission(most=5, waiters=1)
    assert admission.readmit()
    assert admission.begin_to_drain()
    assert not admission.begin_to_drain()
    assert admission.draining
    with pytest.raises(ShuttingDown):
        admission.reserve(1)
    assert not admission.readmit()
    assert admission.unfinished == 1


def test_who_waits_for_the_last_job_is_told_of_its_end(eventually: Callable[..., None]) -> None:
    admission = Admission(most=5, waiters=1)
    admission.reserve(2)
    found: list[bool] = []
    waiter = threading.Thread(target=lambda: found.append(admission.wait_until_drained(None)))
    waiter.start()
    admission.ended()
    assert not admission.wait_until_drained(0.0)
    assert not found
    admission.ended()
    eventually(lambda: found == [True])
    waiter.join()


def test_who_is_in_a_hurry_waits_no_longer() -> None:
    admission = Admission(most=5, waiters=1)
    admission.reserve(1)
    admission.hurry()
    assert not admission.wait_until_drained(None)


def test_only_so_many_clients_wait_at_a_time() -> None:
    admission = Admission(most=1, waiters=2)
    with admission.waiting() as first, admission.waiting() as second:
        with admission.waiting() as third:
            assert (first, second, third) == (True, True, False)
        with admission.waiting() as fourth:
            assert not fourth
    with admission.waiting() as fifth:
        assert fifth
