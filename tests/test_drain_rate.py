"""What a client is told to wait follows from how fast jobs have ended of late."""

import pytest

from server.drain_rate import LONGEST, MOST, SHORTEST, SPAN, DrainRate


def after(ends: list[float]) -> DrainRate:
    rate = DrainRate()
    rate.begun(min(ends, default=0.0))
    for moment in ends:
        rate.ended(moment)
    return rate


@pytest.mark.parametrize(
    ("per_second", "count", "seconds"), [(10, 100, 10), (10, 1, 1), (0.5, 10, 20), (1000, 50, 1)]
)
def test_as_many_seconds_as_the_jobs_will_take(per_second: float, count: int, seconds: int) -> None:
    ends = [100 + number / per_second for number in range(20)]
    told = after(ends).seconds_for(count, ends[-1] + 1 / per_second)
    assert told == pytest.approx(seconds, abs=1)


def test_where_nothing_has_ended_yet_it_is_short_at_first_and_ever_longer() -> None:
    rate = DrainRate()
    rate.begun(100.0)
    assert rate.seconds_for(100, 100.001) == SHORTEST
    assert rate.seconds_for(100, 101.0) == 100
    assert rate.seconds_for(100, 110.0) == LONGEST


def test_where_nothing_has_ended_of_late_it_is_as_if_one_did_now() -> None:
    rate = after([1.0, 2.0])
    assert rate.seconds_for(1, 100.0 + SPAN) == SPAN
    assert rate.seconds_for(10, 100.0 + SPAN) == LONGEST


def test_what_ended_before_there_was_nothing_to_do_says_nothing() -> None:
    rate = after([1.0, 2.0])
    rate.begun(50.0)
    assert rate.seconds_for(100, 50.01) == SHORTEST


def test_a_first_job_that_takes_long_is_no_less_of_a_sign_when_it_has_ended() -> None:
    rate = DrainRate()
    rate.begun(100.0)
    rate.ended(130.0)
    assert rate.seconds_for(2, 130.001) == pytest.approx(60, abs=1)


def test_it_is_bounded_both_ways() -> None:
    assert after([100.0]).seconds_for(10**9, 101.0) == LONGEST
    assert after([100.0] * 2 * MOST).seconds_for(1, 100.0) == SHORTEST
