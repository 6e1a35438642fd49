"""What a request says beside its body is understood, passed over, or refused with a reason."""

import pytest

from server.errors import BadRequest
from server.http_input import (
    LONGEST_WAIT,
    batch_items,
    choice,
    idempotency_key,
    only_known,
    preferred_wait,
    wait_of_address,
    whole_number,
)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=5", 5),
        ("wait=0.5", 0.5),
        ("respond-async, wait=7", 7),
        ('Wait = "3" ; x=y', 3),
        ("wait=10, wait=20", 10),
        ("wait=100000", LONGEST_WAIT),
        ("wait=1e3", 0),
        ("wait=-1", 0),
        ("waiting=5", 0),
        ("wait=5 6", 0),
        ("wait=\u0665", 0),
    ],
)
def test_a_preference_is_heeded_or_passed_over(header: str | None, seconds: float) -> None:
    assert preferred_wait(header) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("20", 20), ("0.25", 0.25), ("6e1", 60)])
def test_seconds_to_wait_are_read(text: str, seconds: float) -> None:
    assert wait_of_address({"wait": text}) == seconds
    assert wait_of_address({}) == 0


@pytest.mark.parametrize(
    "text", ["", "-1", "60.1", "1e2", "\u0661", "inf", "nan", "1,5", " 1", "1e"]
)
def test_seconds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="wait must be seconds"):
        wait_of_address({"wait": text})


@pytest.mark.parametrize("key", ["a", "k" * 255, "!~", "550e8400-e29b-41d4-a716-446655440000"])
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert idempotency_key(key) == key


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "a\n", "\x7f", "é"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(BadRequest, match="1 to 255"):
        idempotency_key(key)
    assert idempotency_key(None) is None


def test_numbers_and_words_of_an_address_are_checked() -> None:
    assert whole_number({"limit": "7"}, "limit", 1, 1) == 7
    assert whole_number({}, "limit", 3, 1) == 3
    for text in ("0", "-1", "x", "\u0667", "1" * 19, ""):
        with pytest.raises(BadRequest, match="limit must be a whole number, at least 1"):
            whole_number({"limit": text}, "limit", 1, 1)
    assert choice({"status": "a"}, "status", {"a": 1}) == 1
    assert choice({}, "status", {"a": 1}) is None
    with pytest.raises(BadRequest, match="there is no status 'b'; there is: a"):
        choice({"status": "b"}, "status", {"a": 1})
    only_known({"a": "1"}, ("a", "b"))
    with pytest.raises(BadRequest, match="there is no 'c' here; there is: a, b"):
        only_known({"c": "1"}, ("a", "b"))


def test_a_batch_is_a_list_of_objects_with_their_statistics() -> None:
    jobs = [{"statistic": "best5", "question": "q"}]
    assert batch_items({"jobs": jobs}, 1) == jobs
    for fields in ({}, {"jobs": None}, {"jobs": jobs, "x": 1}, {"jobs": []}, {"jobs": jobs * 2}):
        with pytest.raises(BadRequest, match="a batch"):
            batch_items(fields, 1)
    for job in (1, {}, {"statistic": 1}):
        with pytest.raises(BadRequest, match=r"jobs\[0\]"):
            batch_items({"jobs": [job]}, 1)
