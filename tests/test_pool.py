"""A job has one time limit, whatever it consists of."""

import pytest

from server.pool import TimeLimit


def test_a_jobs_time_counts_from_when_its_first_task_begins() -> None:
    limit = TimeLimit(10.0)
    assert not limit.over(1e9)
    limit.begin(100.0)
    limit.begin(105.0)
    assert limit.deadline(105.0) == 110.0
    assert (limit.over(109.9), limit.over(110.0)) == (False, True)


def test_a_task_of_a_job_that_has_not_begun_has_a_deadline_all_the_same() -> None:
    """It may run although it was taken back, and must not run for ever."""
    assert TimeLimit(10.0).deadline(100.0) == 110.0


@pytest.mark.parametrize(("seconds", "words"), [(30.0, "30"), (0.5, "0.5"), (86_400.0, "86400")])
def test_the_limit_is_said_in_words(seconds: float, words: str) -> None:
    assert str(TimeLimit(seconds)) == f"time limit of {words} s"
