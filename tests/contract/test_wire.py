"""The wire contract of the nine first statistics, against pandas, on every table there is."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.backends import BACKENDS, settings_of
from tests.support.oracle import Oracle
from tests.support.servers import ROOT, RunningServer, running_server

SAMPLE = ROOT / "data" / "sample.csv.gz"
REAL = ("cdc_brfss_2011_2021.csv.gz", "cdc_brfss_2011_2023.csv.gz")
ABOUT_A_QUESTION = (
    "states_mean",
    "best5",
    "worst5",
    "global_mean",
    "diff_from_mean",
    "mean_by_category",
)
ABOUT_A_STATE = ("state_mean", "state_diff_from_mean", "state_mean_by_category")
RANKED = ("states_mean", "best5", "worst5")
TOLERANCE = 1e-9


@pytest.fixture(scope="module", params=[*(f"sample-{name}" for name in BACKENDS), *REAL])
def case(request: pytest.FixtureRequest) -> str:
    """The shipped sample by each backend, and the real tables by processes."""
    return request.param


@pytest.fixture(scope="module")
def table(case: str) -> Path:
    """The table's file; SPORTIV_TEST_DATA names the folder of the real ones."""
    if case not in REAL:
        return SAMPLE
    folder = os.environ.get("SPORTIV_TEST_DATA")
    if not folder:
        pytest.skip("SPORTIV_TEST_DATA does not name a folder with the real CDC tables")
    return Path(folder) / case


@pytest.fixture(scope="module")
def server(
    case: str,
    table: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[RunningServer]:
    settings = settings_of("process" if case in REAL else case.removeprefix("sample-"), request)
    folder = tmp_path_factory.mktemp("wire")
    with running_server(folder, SPORTIV_DATA=str(table), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def oracle(table: Path) -> Oracle:
    return Oracle(table)


def assert_same(ours: Any, theirs: Any) -> None:
    """The same keys, and numbers that are floats and agree."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert_same(ours[key], value)
    elif theirs is None:
        assert ours is None
    else:
        assert type(ours) is float
        assert ours == pytest.approx(theirs, abs=TOLERANCE, rel=0)


def assert_same_order(ours: dict[str, float], theirs: dict[str, float]) -> None:
    """The same ranking; states whose means differ by rounding alone may change places."""
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other or abs(theirs[mine] - theirs[other]) < TOLERANCE


@pytest.mark.parametrize("statistic", ABOUT_A_QUESTION)
def test_answers_about_a_question_are_those_of_pandas(
    server: RunningServer, oracle: Oracle, statistic: str
) -> None:
    for question in oracle.questions:
        ours = server.data(statistic, question=question)
        theirs = oracle.answer(statistic, question)
        assert_same(ours, theirs)
        if statistic in RANKED:
            assert_same_order(ours, theirs)


@pytest.mark.parametrize("statistic", ABOUT_A_STATE)
def test_answers_about_a_state_are_those_of_pandas(
    server: RunningServer, oracle: Oracle, statistic: str
) -> None:
    pairs = [(question, state) for question in oracle.questions for state in oracle.states]
    for question, state in random.Random(7).sample(pairs, 60):
        ours = server.data(statistic, question=question, state=state)
        assert_same(ours, oracle.answer(statistic, question, state))


def test_diff_from_mean_covers_every_state_that_has_a_mean(
    server: RunningServer, oracle: Oracle
) -> None:
    question = oracle.questions[0]
    states = server.data("states_mean", question=question)
    assert server.data("diff_from_mean", question=question).keys() == states.keys()


def test_discovery_tells_what_the_table_holds(server: RunningServer, oracle: Oracle) -> None:
    questions = server.get("/api/questions")["data"]
    assert [each["question"] for each in questions] == oracle.questions
    for each in questions:
        rows = oracle.frame[oracle.frame["Question"] == each["question"]]
        assert each["rows"] == len(rows)
        assert each["years"] == sorted(rows["YearStart"].unique())
        assert each["direction"] == ("low" if each["question"] in oracle.better_low else "high")
    assert server.get("/api/states")["data"] == oracle.states
