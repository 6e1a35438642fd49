"""What a server asks of its Dask workers, by name; tests/faults/test_dask.py has real ones."""

import msgspec
import pytest

from server.dask_worker import PACKAGES, Wanted, difference, versions

WANTED = Wanted("digest", "server.stats", None, {"numpy": "2.0", "Python": "3.12"})


@pytest.mark.parametrize(
    "other",
    [{"columns": "another"}, {"catalogue": "another"}, {"versions": {"numpy": "2.1"}}],
    ids=lambda other: next(iter(other)),
)
def test_what_computes_otherwise_has_another_name(other: dict[str, object]) -> None:
    assert msgspec.structs.replace(WANTED, **other).resource != WANTED.resource


def test_the_same_by_another_way_has_the_same_name() -> None:
    turned = dict(reversed(WANTED.versions.items()))
    assert Wanted("digest", "server.stats", "/elsewhere", turned).resource == WANTED.resource


def test_a_difference_names_what_differs_and_nothing_else() -> None:
    theirs = {"numpy": "1.0", "Python": "3.12", "other": "5"}
    assert difference(theirs, WANTED.versions) == "it has numpy 1.0 instead of 2.0"
    assert difference({}, {"numpy": "2.0"}) == "it has numpy none instead of 2.0"
    assert difference(WANTED.versions, WANTED.versions) is None


def test_the_versions_are_of_all_that_decides_upon_digits() -> None:
    assert set(versions()) == {"Python", "the statistics", *PACKAGES}
    assert all(versions().values())
