"""The life of jobs: whatever clients, workers and restarts do, each ends in one state, once.

A state machine submits jobs, lets them end well or badly, cancels them, runs out of their
time, damages and removes their files, and restarts the service, in any order, against real
files and threads; a plain model of what was promised goes along.
"""

import json
import shutil
import sqlite3
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from prometheus_client.parser import text_string_to_metric_families

import server.jobs
from server import end_recorder, housekeeper
from server.errors import (
    AlreadyEnded,
    BadRequest,
    QueueFull,
    ShuttingDown,
    StorageError,
    UnknownJob,
)
from server.job_state import JobState
from server.jobs import Jobs
from server.ledger_schema import JobRecord
from server.runtime import PRIVATE
from server.stats.statistic import Json, Statistic
from server.table import Table
from tests.support.pools import wait_until
from tests.support.service import service
from tests.support.statistics import Anything

DEADLINE = 30.0


@dataclass
class Gates:
    """Holds each task back until the test says how it goes on; all at once when closed for good."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    verdicts: dict[str, str] = field(default_factory=dict)  # by the job's own name
    begun: set[str] = field(default_factory=set)

    def pass_through(self, name: str) -> str:
        """Called in a worker thread: wait for the verdict on `name`."""
        with self.changed:
            self.begun.add(name)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: name in self.verdicts, DEADLINE)
            return self.verdicts[name]

    def decide(self, name: str, verdict: str) -> None:
        with self.changed:
            self.verdicts[name] = verdict
            self.changed.notify_all()


GATES = Gates()


def gated(table: Table, request: Anything, part: Json) -> Json:
    """The request's value, once the test lets it."""
    verdict = GATES.pass_through(request.path)
    if verdict == "fail":
        raise ValueError("told to fail")
    return request.value


def three(table: Table, request: Anything) -> list[Json]:
    """Three parts."""
    return [0, 1, 2]


def gather(table: Table, request: Anything, partials: list[Json]) -> Json:
    """All partials, or the one."""
    return partials[0] if len(partials) == 1 else partials


STATISTICS = {
    "one": Statistic("one", "One part.", Anything, gated),
    "many": Statistic("many", "Three parts.", Anything, gated, three, gather),
}


ALWAYS = {"now": Statistic("now", "At once.", Anything, lambda table, request, part: 1)}


def counted(jobs: Jobs) -> Counter[str]:
    """What the metrics say, over all labels."""
    counts = Counter[str]()
    for family in text_string_to_metric_families(jobs.metrics.text().decode()):
        for sample in family.samples:
            counts[sample.name] += int(sample.value)
    return counts


@dataclass
class Promise:
    """What the model knows of a job: `state` is None until it ends."""

    name: str
    statistic: str
    state: JobState | None = None
    gone: bool = False  # somebody has removed its file
    settled: bool = False  # its verdict was given


class LifeOfJobs(RuleBasedStateMachine):
    """Random lives of a service and its jobs."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="life-of-jobs-"))
        self.open = ExitStack()
        self.promises: dict[int, Promise] = {}
        self.draining = False
        self.start()

    def start(self) -> None:
        context = service(self.folder, STATISTICS, max_queued="6", durability="process")
        self.served: Jobs = self.open.enter_context(context)
        self.draining = False

    def teardown(self) -> None:
        self.open.close()
        for promise in self.promises.values():
            GATES.decide(promise.name, "pass")
        shutil.rmtree(self.folder)

    # -- what clients do --------------------------------------------------------------

    @rule(target=jobs, statistic=st.sampled_from(["one", "many"]))
    def submit(self, statistic: str) -> int | None:
        name = f"{self.folder.name}/{max(self.promises, default=0) + 1}"
        request = Anything(value=name, path=name)
        waiting = sum(each.state is None for each in self.promises.values())
        try:
            job_id = self.served.submit(STATISTICS[statistic], request)
        except ShuttingDown:
            assert self.draining
            return None
        except QueueFull:
            assert waiting >= 6
            return None
        assert not self.draining
        assert job_id == max(self.promises, default=0) + 1, "ids count on, and none is lost"
        self.promises[job_id] = Promise(name, statistic)
        return job_id

    @rule()
    def submit_with_too_much_time(self) -> None:
        with pytest.raises(BadRequest):
            self.served.submit(STATISTICS["one"], Anything(timeout_s=1e6))

    @rule(job_id=jobs)
    def cancel(self, job_id: int | None) -> None:
        if job_id is None:
            return
        promise = self.promises[job_id]
        if promise.settled and promise.state is None:
            self.see_all_end()
        if promise.state is None:
            self.served.cancel(job_id)
            promise.state = JobState.CANCELLED
            self.settle(promise, "pass")
        else:
            with pytest.raises(AlreadyEnded):
                self.served.cancel(job_id)

    @rule()
    def ask_for_what_is_not_there(self) -> None:
        unknown = max(self.promises, default=0) + 1
        with pytest.raises(UnknownJob):
            self.served.result(unknown)
        with pytest.raises(UnknownJob):
            self.served.cancel(unknown)

    # -- what becomes of the work -----------------------------------------------------

    @rule(job_id=jobs, verdict=st.sampled_from(["pass", "pass", "fail"]))
    def let_it_end(self, job_id: int | None, verdict: str) -> None:
        if job_id is not None and self.promises[job_id].state is None:
            self.settle(self.promises[job_id], verdict)

    def settle(self, promise: Promise, verdict: str) -> None:
        if not promise.settled:
            promise.settled = True
            GATES.decide(promise.name, verdict)

    @rule()
    def see_all_end(self) -> None:
        """Two threads serve all, so that none is sure to end before every job may."""
        for promise in self.promises.values():
            if promise.state is None:
                self.settle(promise, "pass")
        wait_until(lambda: self.served.unfinished == 0)
        self.note_what_has_ended()
        assert all(promise.state is not None for promise in self.promises.values())
        assert len(self.served.live.locks) == 0
        counts = counted(self.served)
        assert counts["sportiv_jobs_accepted_total"] == counts["sportiv_jobs_ended_total"]

    def note_what_has_ended(self) -> None:
        """A job ends some time after its verdict, and as that says."""
        for job_id, state in self.served.states():
            promise = self.promises[job_id]
            if promise.state is None and state.final:
                verdict = GATES.verdicts[promise.name]
                assert state is (JobState.DONE if verdict == "pass" else JobState.FAILED)
                promise.state = state

    # -- what happens to the house ----------------------------------------------------

    @rule()
    def drain(self) -> None:
        self.served.drain()
        self.draining = True

    @rule()
    def restart(self) -> None:
        self.open.close()
        self.start()

    @precondition(lambda self: not self.draining)
    @rule(job_id=jobs, content=st.sampled_from([b"", b"torn", b'{"status":"done","data":0}']))
    def damage_a_result(self, job_id: int | None, content: bytes) -> None:
        if job_id is None or self.promises[job_id].state is not JobState.DONE:
            return
        if self.promises[job_id].gone:
            return
        wait_until(lambda: self.served.live.get(job_id) is None)  # the end is on record
        (self.folder / f"job_id_{job_id}.json").write_bytes(content)

    @rule(job_id=consumes(jobs))
    def remove_a_result(self, job_id: int | None) -> None:
        if job_id is None or self.promises[job_id].state is not JobState.DONE:
            return
        path = self.folder / f"job_id_{job_id}.json"
        wait_until(lambda: self.served.live.get(job_id) is None)
        path.unlink(missing_ok=True)
        self.promises[job_id].gone = True

    # -- what always holds ------------------------------------------------------------

    @invariant()
    def every_accepted_job_is_known_and_no_other(self) -> None:
        assert [job_id for job_id, _ in self.served.states()] == sorted(self.promises)

    @invariant()
    def who_has_ended_stays_so_and_reads_what_was_promised(self) -> None:
        for job_id, promise in self.promises.items():
            if promise.state is None:
                continue
            if promise.gone:
                with pytest.raises(UnknownJob):
                    self.served.result(job_id)
                continue
            answer = json.loads(self.served.result(job_id))
            if answer["status"] == "running":  # it was damaged, and is computed again
                assert promise.state is JobState.DONE
                self.see_all_end()
                answer = json.loads(self.served.result(job_id))
            assert answer == self.expected(promise)

    def expected(self, promise: Promise) -> dict[str, Any]:
        match promise.state:
            case JobState.DONE:
                parts = promise.statistic == "many"
                data: Json = [promise.name] * 3 if parts else promise.name
                return {"status": "done", "data": data}
            case JobState.CANCELLED:
                return {"status": "error", "reason": "cancelled"}
            case _:
                return {"status": "error", "reason": "ValueError: told to fail"}

    @invariant()
    def who_waits_is_counted_and_has_a_lock(self) -> None:
        waiting = [each for each in self.promises.values() if each.state is None]
        held_back = [each for each in waiting if not each.settled]
        assert len(held_back) <= self.served.unfinished <= len(waiting)
        assert len(held_back) <= len(self.served.live.locks) <= len(waiting)


def test_a_job_that_was_read_as_done_is_listed_so(tmp_path: Path) -> None:
    """Also in the moment when memory forgets it, because the ledger knows its end."""
    with service(tmp_path, ALWAYS, max_queued="1000000", durability="process") as served:
        leave = threading.Event()
        wrong: list[int] = []

        def look() -> None:
            while not leave.is_set():
                done = [job_id for job_id, state in served.states() if state is JobState.DONE]
                now = dict(served.states())
                wrong.extend(job_id for job_id in done if now[job_id] is not JobState.DONE)

        lookers = [threading.Thread(target=look) for _ in range(2)]
        for looker in lookers:
            looker.start()
        for _ in range(600):
            served.submit(ALWAYS["now"], Anything(value=1))
        wait_until(lambda: served.unfinished == 0)
        leave.set()
        for looker in lookers:
            looker.join()
        assert wrong == []


def test_a_job_that_was_read_as_done_is_described_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where memory forgets it between the two looks that this takes."""
    with service(tmp_path, ALWAYS) as served:
        ledger, may_be_recorded = served._ledger, threading.Event()
        end, record = ledger.end, ledger.record

        def record_and_let_go(job_id: int) -> JobRecord | None:
            found = record(job_id)
            may_be_recorded.set()
            wait_until(lambda: served.live.get(job_id) is None)
            return found

        monkeypatch.setattr(
            ledger, "end", lambda ends: may_be_recorded.wait(DEADLINE) and end(ends)
        )
        monkeypatch.setattr(ledger, "record", record_and_let_go)
        job_id = served.submit(ALWAYS["now"], Anything())
        wait_until(lambda: served.unfinished == 0)
        assert served.describe(job_id)["state"] is JobState.DONE


def test_a_cancelled_job_is_not_said_to_be_before_that_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash it would run once more, and might end well."""
    monkeypatch.setattr(server.jobs, "RECORD_SECONDS", 0.1)
    with (
        service(tmp_path, STATISTICS, durability="process") as served,
        closing(sqlite3.connect(tmp_path / PRIVATE / "ledger.sqlite3")) as other,
    ):
        name = str(tmp_path)
        job_id = served.submit(STATISTICS["one"], Anything(path=name))
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(StorageError, match="cannot be recorded"):
                served.cancel(job_id)
            assert not dict(served.states())[job_id].final
        other.rollback()
        wait_until(lambda: dict(served.states())[job_id] is JobState.CANCELLED)
        with pytest.raises(AlreadyEnded):
            served.cancel(job_id)
        GATES.decide(name, "pass")


def test_a_job_can_be_cancelled_as_soon_as_it_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client may find it in the list before the one that has sent it is answered."""
    with service(tmp_path, STATISTICS) as served, ThreadPoolExecutor() as threads:
        live, name = served.live, str(tmp_path)
        run, may_run = live.run, threading.Event()
        monkeypatch.setattr(live, "run", lambda job: may_run.wait(DEADLINE) and run(job))
        submitting = threads.submit(served.submit, STATISTICS["one"], Anything(path=name))
        wait_until(lambda: served.states() == [(1, JobState.QUEUED)])
        cancelling = [threads.submit(served.cancel, 1) for _ in range(2)]
        wait_until(lambda: live._awaited)
        may_run.set()
        assert submitting.result(DEADLINE) == 1
        told = [each.exception(DEADLINE) for each in cancelling]
        assert sorted(map(type, told), key=str) == [type(None), AlreadyEnded]
        assert served.states() == [(1, JobState.CANCELLED)]
        assert not live._awaited
        GATES.decide(name, "pass")


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_recorder, "BATCH_SECONDS", 0.005)
    monkeypatch.setattr(housekeeper, "SWEEP_SECONDS", 0.05)


@pytest.mark.usefixtures("_hasty")
def test_the_life_of_jobs() -> None:
    run_state_machine_as_test(
        LifeOfJobs,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
