"""What a soak has found: the ledger and the results compared with the right answers, as a table."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from server.runtime import PRIVATE
from tools.soak.processes import Server
from tools.soak.questions import Question
from tools.soak.record import Record

LEFT_IN_PRIVATE = {"lock", "ledger.sqlite3", "columns"}


@dataclass
class Findings:
    """Every figure of the table; what `must_be_zero` names must be."""

    accepted: int = 0
    ended: int = 0
    timed_out: int = 0
    accepted_unheard: int = 0  # in the ledger, though the client has never heard its id
    lost: int = 0
    not_ended: int = 0
    wrong: int = 0
    strange: int = 0  # more jobs than were asked for, or in a place where they cannot be
    retried: int = 0
    taken_up_again: int = 0
    processes_left: int = 0
    descriptors_grown: int = 0
    segments: int = 0
    files_left: int = 0

    @property
    def must_be_zero(self) -> dict[str, int]:
        """The figures that tell of a fault, by the name that the table gives them."""
        return {
            "lost": self.lost,
            "not ended": self.not_ended,
            "wrong answers": self.wrong,
            "jobs that nobody asked for": self.strange,
            "processes left": self.processes_left,
            "descriptors grown": self.descriptors_grown,
            "segments left": self.segments,
            "temporary files left": self.files_left,
        }


def audit(
    findings: Findings, server: Server, answers: Mapping[Question, Any], record: Record
) -> None:
    """Compare every job of the ledger with what clients were told, and with the right answer.

    The server must have ended.
    """
    private = server.results / PRIVATE
    with closing(sqlite3.connect(private / "ledger.sqlite3")) as ledger:
        rows = ledger.execute("SELECT id, statistic, request, state, reason, attempts FROM jobs")
        jobs = {row[0]: row for row in rows}
    findings.accepted = len(record.accepted)
    findings.lost = len(record.accepted.keys() - jobs.keys())
    findings.accepted_unheard = len(jobs.keys() - record.accepted.keys())
    findings.strange = max(0, findings.accepted_unheard - record.unanswered)
    for job_id, statistic, request, state, reason, attempts in jobs.values():
        question = Question(statistic, request)
        if record.accepted.get(job_id, question) != question or question not in answers:
            findings.strange += 1
            continue
        findings.retried += attempts != "[]"
        path = server.results / f"job_id_{job_id}.json"
        found = json.loads(path.read_bytes()) if path.exists() else None
        if state == "done":
            findings.ended += 1
            findings.wrong += found != {"status": "done", "data": answers[question]}
        elif state == "failed" and "time limit" in (reason or ""):
            findings.ended += 1
            findings.timed_out += 1
            findings.wrong += found != {"status": "error", "reason": reason}
        else:
            findings.not_ended += state in ("queued", "running")
            findings.wrong += state not in ("queued", "running")
    # Only a job that a stopped worker held may run out of time.
    findings.wrong += max(0, findings.timed_out - record.kills["worker SIGSTOP"])
    findings.taken_up_again = sum(
        path.read_text().count("taken up again") for path in server.logs.iterdir()
    )
    findings.files_left = _files_left(server)


def _files_left(server: Server) -> int:
    private = server.results / PRIVATE
    strangers = [
        path
        for path in server.results.iterdir()
        if path != private and not path.match("job_id_*.json")
    ]
    strangers += [path for path in private.iterdir() if path.name not in LEFT_IN_PRIVATE]
    strangers += [path for path in private.glob("columns/*") if path.suffix != ".columns"]
    return len(strangers) + len(list(server.temporary.iterdir()))


def table(findings: Findings, record: Record, seconds: float) -> str:
    """Everything in lines of a name and a figure."""
    lines = [
        ("seconds", f"{seconds:.0f}"),
        ("jobs accepted", f"{findings.accepted:,}"),
        ("jobs ended", f"{findings.ended:,}"),
        ("  by their time limit, in a stopped worker", f"{findings.timed_out:,}"),
        ("  tried again after a worker's death", f"{findings.retried:,}"),
        ("  taken up again by a new server, each time", f"{findings.taken_up_again:,}"),
        ("POSTs whose answer never came", f"{record.unanswered:,}"),
        ("  accepted all the same, wholly", f"{findings.accepted_unheard:,}"),
        ("POSTs refused", f"{record.refused:,}"),
        *((f"killed: {kind}", str(count)) for kind, count in sorted(record.kills.items())),
        *(
            (f"slowest recovery: {kind}", f"{seconds:.2f} s")
            for kind, seconds in sorted(record.slowest.items())
        ),
        *((f"must be 0: {name}", f"{count:,}") for name, count in findings.must_be_zero.items()),
        ("must be 0: surprises", str(len(record.unexpected))),
    ]
    return "\n".join(f"{name:<48} {value:>10}" for name, value in lines)
