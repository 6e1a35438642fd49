"""The answer of a job as a table and a picture; or why there is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.answered import answered
from server.errors import NoAnswer, UnknownJob
from server.jobs import Jobs
from server.stats import STATISTICS as REAL
from tests.support import statistics
from tests.support.pools import wait_until
from tests.support.service import service
from tests.support.statistics import Anything

STATISTICS = {**statistics.STATISTICS, "states_mean": REAL["states_mean"], "trend": REAL["trend"]}


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    with service(tmp_path, STATISTICS) as jobs:
        yield jobs


def ended(jobs: Jobs, name: str, **fields: Any) -> int:
    """The id of a job that has ended."""
    statistic = STATISTICS[name]
    job_id = jobs.submit(statistic, msgspec.convert(fields, statistic.request))
    wait_until(lambda: jobs.describe(job_id)["state"] in ("done", "failed", "cancelled"))
    return job_id


def test_an_answer_is_a_table_and_a_picture(jobs: Jobs) -> None:
    question = jobs.catalogue.table.names.question[0]
    found = answered(jobs, ended(jobs, "states_mean", question=question))
    assert found.table().columns == ("state", "mean")
    assert dict(map(tuple, found.table().rows)) == found.data
    spec = found.chart()
    assert spec is not None
    assert [each["mean"] for each in spec["data"]["values"]] == list(found.data.values())
    assert question in " ".join(spec["title"]["text"])


def test_what_stands_apart_is_in_the_picture_and_not_in_the_table(jobs: Jobs) -> None:
    question = jobs.catalogue.table.names.question[0]
    found = answered(jobs, ended(jobs, "trend", question=question))
    assert "years" not in found.table().columns
    spec = found.chart()
    assert spec is not None
    assert [each["year"] for each in spec["data"]["values"]] == [
        each["year"] for each in found.data["groups"][0]["years"]
    ]


def test_an_answer_that_is_no_figure_has_a_table_and_no_picture(jobs: Jobs) -> None:
    found = answered(jobs, ended(jobs, "echo", value="a word"))
    assert (found.table().columns, found.table().rows) == (["value"], [["a word"]])
    assert found.chart() is None


def test_the_answer_of_a_statistic_that_is_gone_is_still_shown(tmp_path: Path) -> None:
    with service(tmp_path, STATISTICS) as jobs:
        job_id = ended(jobs, "echo", value={"Ohio": 1.5, "New York": 2.5})
    with service(tmp_path, {"states_mean": REAL["states_mean"]}) as jobs:
        found = answered(jobs, job_id)
        assert found.statistic is None
        assert found.table().rows == [["Ohio", 1.5], ["New York", 2.5]]
        assert found.chart() is not None


def test_a_job_that_has_no_answer_says_why(jobs: Jobs, tmp_path: Path) -> None:
    waits = Anything(path=str(tmp_path / "gate"))
    running = jobs.submit(STATISTICS["wait_for_file"], waits)
    with pytest.raises(NoAnswer, match=f"job {running} has not ended"):
        answered(jobs, running)
    jobs.cancel(running)
    (tmp_path / "gate").touch()
    with pytest.raises(NoAnswer, match=f"job {running} was cancelled"):
        answered(jobs, running)
    with pytest.raises(UnknownJob):
        answered(jobs, running + 1)


def test_a_job_that_failed_says_with_what(jobs: Jobs) -> None:
    failed = ended(jobs, "fail", value="the reason")
    with pytest.raises(NoAnswer, match=f"job {failed} has failed: .*the reason"):
        answered(jobs, failed)
