"""The first version's design, as the benchmarks have it, answers as the server does."""

import pytest

from benchmarks.rivals.first_version import Answers
from server.loader import load_region
from server.settings import Settings
from server.shared_data import attach_table
from server.stats import STATISTICS
from server.stats.means import ROWS
from server.table import Table
from tests.support.answers import answer

SETTINGS = Settings.read({})
STATES = ("Ohio", "Iowa")
RANKED = ("states_mean", "best5", "worst5")
"""In an order of their means; equal ones may change places with the last digit."""


@pytest.fixture(scope="module")
def table() -> Table:
    with load_region(SETTINGS.data, SETTINGS.dataset) as region:
        return attach_table(region.fd)


@pytest.fixture(scope="module")
def answers() -> Answers:
    return Answers(SETTINGS.data, SETTINGS.dataset)


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_each_of_the_first_statistics_is_answered_as_by_the_server(
    table: Table, answers: Answers, name: str
) -> None:
    statistic = STATISTICS[name]
    states = STATES if "state" in statistic.request.__struct_fields__ else (None,)
    for question in table.names.question:
        for state in states:
            body = {"question": question} | ({"state": state} if state else {})
            theirs = answers.of[name](body)
            ours = answer(statistic, table, statistic.request(**body))
            _check_close(theirs, ours)
            if name in RANKED:
                assert list(theirs.values()) == pytest.approx(list(ours.values()))


def _check_close(theirs: object, ours: object) -> None:
    if isinstance(ours, dict):
        assert isinstance(theirs, dict)
        assert theirs.keys() == ours.keys()
        for key, value in ours.items():
            _check_close(theirs[key], value)
    else:
        assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-9)
