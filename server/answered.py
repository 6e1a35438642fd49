"""The answer of a job that has ended well, as a table and as a picture."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from server.errors import NoAnswer
from server.job_state import JobState
from server.jobs import Jobs
from server.stats.answer_table import AnswerTable, table_of
from server.stats.chart import Spec
from server.stats.charts import chart_of
from server.stats.statistic import Json, Statistic


class _Content(msgspec.Struct):
    """What the file of a job holds."""

    status: str
    data: Json = None
    reason: str = ""


_decode = msgspec.json.Decoder(_Content).decode


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and what was asked; `statistic` is None where that is not known any more."""

    statistic: Statistic | None
    request: Mapping[str, Json]
    data: Json

    def table(self) -> AnswerTable:
        """The answer as columns and rows."""
        if self.statistic is None:
            return table_of(self.data)
        return table_of(self.data, self.statistic.columns, self.statistic.apart)

    def chart(self) -> Spec | None:
        """The description of its picture; None where none fits."""
        return chart_of(self.statistic, self.request, self.data)


def answered(jobs: Jobs, job_id: int) -> Answered:
    """The answer of a job; NoAnswer says why there is none, UnknownJob that there is no job."""
    content = _decode(jobs.result(job_id))
    if content.status == "running":
        raise NoAnswer(f"job {job_id} has not ended")
    known = jobs.describe(job_id)
    if content.status != "done":
        was_cancelled = known["state"] == JobState.CANCELLED
        how = "was cancelled" if was_cancelled else f"has failed: {content.reason}"
        raise NoAnswer(f"job {job_id} {how}")
    statistic = jobs.catalogue.statistics.get(known["statistic"])
    return Answered(statistic, known["request"], content.data)
