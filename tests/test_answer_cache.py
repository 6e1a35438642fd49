"""Questions are remembered with who has answered them, as many as there is room for."""

from server.answer_cache import AnswerCache, Answered


def question(number: int) -> tuple[str, bytes]:
    return "mean", b"%d" % number


def test_who_has_answered_last_is_remembered() -> None:
    cache = AnswerCache()
    assert cache.get(question(1)) is None
    cache.put(question(1), Answered(7, 70))
    cache.put(question(2), Answered(8, 80))
    cache.put(question(1), Answered(9, 90))
    assert cache.get(question(1)) == Answered(9, 90)
    assert cache.get(question(2)) == Answered(8, 80)
    assert cache.get(("median", b"1")) is None


def test_of_too_many_questions_the_one_asked_longest_ago_is_forgotten() -> None:
    cache = AnswerCache(most=3)
    for number in range(3):
        cache.put(question(number), Answered(number, 0))
    cache.get(question(0))
    cache.put(question(3), Answered(3, 0))
    assert len(cache) == 3
    assert cache.get(question(1)) is None
    assert cache.get(question(0)) == Answered(0, 0)


def test_what_is_forgotten_is_not_known_any_more() -> None:
    cache = AnswerCache()
    cache.put(question(1), Answered(1, 0))
    for _ in range(2):
        cache.forget(question(1))
    assert cache.get(question(1)) is None
    assert len(cache) == 0
