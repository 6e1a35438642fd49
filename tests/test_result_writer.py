"""Disk first, then state: a job has ended when its file is in place, and not before.

A writer and a recorder work here together, as they do in the server.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from server import end_recorder, result_writer
from server.end_recorder import EndRecorder
from server.job_state import JobState
from server.ledger import Ledger
from server.ledger_schema import Ending
from server.result_locks import ResultLocks
from server.result_store import RUNNING, ResultStore, checksum
from server.result_writer import Answer, ResultWriter
from server.settings import Durability


@dataclass
class Office:
    """A folder, its ledger and locks, and what a writer has told of them."""

    folder: Path
    ledger: Ledger
    store: ResultStore
    locks: ResultLocks = field(default_factory=ResultLocks)
    on_disk: dict[int, bytes | None] = field(default_factory=dict)  # when `on_ended` came
    on_record: dict[int, JobState] = field(default_factory=dict)  # when `on_recorded` came
    batches: list[int] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    recorder: EndRecorder = field(init=False)
    after_ended: dict[int, Callable[[], None]] = field(default_factory=dict)

    @contextmanager
    def writer(self, *, flush: bool = False) -> Iterator[ResultWriter]:
        """A writer that is at work, and behind it a recorder."""
        with (
            EndRecorder(
                self.store, self.ledger, flush=flush, on_recorded=self.on_recorded
            ) as recorder,
            ResultWriter(self.store, self.locks, self.on_ended) as writer,
        ):
            self.recorder = recorder
            yield writer

    def on_ended(self, ending: Ending) -> None:
        assert ending.id not in self.on_disk, "a job has ended twice"
        self.threads.append(threading.current_thread().name)
        self.on_disk[ending.id] = self.store.read(ending.id)
        if ending.id in self.after_ended:
            self.after_ended[ending.id]()
        self.recorder.put(ending)

    def on_recorded(self, endings: Sequence[Ending]) -> None:
        self.threads.append(threading.current_thread().name)
        self.batches.append(len(endings))
        for ending in endings:
            assert ending.id in self.on_disk, "recorded before it has ended"
            assert ending.id not in self.on_record, "recorded twice"
            record = self.ledger.record(ending.id)
            assert record is not None
            self.on_record[ending.id] = record.state

    def accept(self) -> int:
        job_id = self.ledger.accept("best5", "{}", "f", 0.0)
        self.locks.add(job_id)
        return job_id

    def place(self, job_id: int) -> Path:
        return self.store.path(job_id)

    def unfinished(self) -> list[int]:
        return [record.id for record in self.ledger.unfinished()]

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """The folder takes no writes for a while: a folder lies where new files are made."""
        obstacle = self.folder / ".ledger" / "result.tmp"
        obstacle.mkdir()
        beside = obstacle.with_name("set_aside")
        beside.write_text("so that it cannot be moved away")
        try:
            yield
        finally:
            obstacle.rmdir()
            beside.unlink()


def answer(job_id: int, content: bytes = b"", state: JobState = JobState.DONE) -> Answer:
    ending = Ending(id=job_id, state=state, fingerprint="f", started_at=1.0, ended_at=2.0)
    return Answer(ending, content or final(job_id))


def final(job_id: int) -> bytes:
    return b'{"status":"done","data":%d}' % job_id


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    private = tmp_path / ".ledger"
    private.mkdir()
    with (
        Ledger(private / "ledger.sqlite3", Durability.PROCESS) as ledger,
        ResultStore(tmp_path, private) as store,
    ):
        yield Office(tmp_path, ledger, store)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, so that more happens at once."""
    monkeypatch.setattr(result_writer, "RUNNING_AFTER", 0.002)
    monkeypatch.setattr(result_writer, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(end_recorder, "BATCH_SECONDS", 0.01)
    monkeypatch.setattr(end_recorder, "RETRY_SECONDS", 0.02)


# -- the order of things --------------------------------------------------------------


@pytest.mark.parametrize("flush", [False, True])
def test_the_file_is_in_place_before_the_job_has_ended(office: Office, flush: bool) -> None:
    job_ids = [office.accept() for _ in range(20)]
    with office.writer(flush=flush) as writer:
        for job_id in job_ids:
            writer.put(answer(job_id))
    assert office.on_disk == {job_id: final(job_id) for job_id in job_ids}


def test_a_job_is_forgotten_only_when_the_ledger_knows_how_it_ended(office: Office) -> None:
    states = {office.accept(): state for state in JobState if state.final}
    with office.writer() as writer:
        for job_id, state in states.items():
            writer.put(answer(job_id, state=state))
    assert office.on_record == states
    assert office.unfinished() == []


def test_a_job_ends_and_is_recorded_without_anyone_leaving(
    office: Office, eventually: Callable[..., None]
) -> None:
    with office.writer() as writer:
        for _ in range(3):
            job_id = office.accept()
            writer.put(answer(job_id))
            eventually(lambda job_id=job_id: job_id in office.on_record)
            assert len(office.locks) == 0


def test_each_thread_tells_its_own_news_and_ends(office: Office) -> None:
    with office.writer() as writer:
        writer.put(answer(office.accept()))
    assert office.threads == ["writer", "recorder"]
    assert not {"writer", "recorder"} & {thread.name for thread in threading.enumerate()}


def test_the_ledger_hears_of_many_ends_at_a_time(office: Office) -> None:
    job_ids = [office.accept() for _ in range(300)]
    with office.writer() as writer:
        for job_id in job_ids:
            writer.put(answer(job_id))
    assert sum(office.batches) == 300
    assert len(office.batches) < 30


def test_an_answer_does_not_wait_for_the_ledger_to_hear_of_others(
    office: Office, eventually: Callable[..., None]
) -> None:
    first, second = office.accept(), office.accept()
    with office.writer() as writer:
        writer.put(answer(first))
        eventually(lambda: first in office.on_disk)
        writer.put(answer(second))
        eventually(lambda: second in office.on_disk)
        assert office.store.read(second) == final(second)


def test_leaving_writes_and_records_all_that_is_queued(office: Office) -> None:
    job_ids = [office.accept() for _ in range(500)]
    with office.writer() as writer:
        for job_id in job_ids:
            writer.put(answer(job_id))
    assert {job_id: office.store.read(job_id) for job_id in job_ids} == {
        job_id: final(job_id) for job_id in job_ids
    }
    assert office.unfinished() == []
    assert sorted(office.on_record) == job_ids
    assert len(office.locks) == 0


def test_leaving_an_idle_writer_ends_its_thread(office: Office) -> None:
    with office.writer() as writer:
        writer.expect(office.accept())
    assert "writer" not in {thread.name for thread in threading.enumerate()}


def test_threads_that_put_at_once_lose_nothing(office: Office) -> None:
    job_ids = [office.accept() for _ in range(400)]
    with office.writer() as writer:

        def put(mine: list[int]) -> None:
            for job_id in mine:
                writer.expect(job_id)
                writer.put(answer(job_id))

        threads = [threading.Thread(target=put, args=(job_ids[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(office.on_record) == job_ids
    assert len(office.locks) == 0


# -- files that say running -----------------------------------------------------------


def test_a_job_that_takes_long_has_a_file_that_says_so(
    office: Office, eventually: Callable[..., None]
) -> None:
    with office.writer() as writer:
        job_id = office.accept()
        writer.expect(job_id)
        eventually(lambda: office.store.read(job_id) == RUNNING)
        assert office.on_disk == {}
        assert len(office.locks) == 1
        writer.put(answer(job_id))
        eventually(lambda: office.store.read(job_id) == final(job_id))
    assert len(office.locks) == 0


def test_a_writer_that_rests_hears_of_a_new_job(
    office: Office, eventually: Callable[..., None]
) -> None:
    with office.writer() as writer:
        for _ in range(3):
            job_id = office.accept()
            eventually(lambda: writer._resting)
            writer.expect(job_id)
            eventually(lambda job_id=job_id: office.store.read(job_id) == RUNNING)


def test_a_job_that_has_ended_is_not_said_to_run(
    office: Office, eventually: Callable[..., None]
) -> None:
    with office.writer() as writer:
        quick, slow = office.accept(), office.accept()
        writer.expect(quick)
        writer.put(answer(quick))
        writer.expect(slow)
        eventually(lambda: office.store.read(slow) == RUNNING)
        assert office.store.read(quick) == final(quick)
        writer.put(answer(slow))


@pytest.mark.usefixtures("hasty")
def test_running_is_never_written_over_a_final_answer(office: Office) -> None:
    written = threading.Event()
    ended: list[int] = []
    job_ids = [office.accept() for _ in range(300)]

    def read_all() -> None:
        while not written.is_set():
            for job_id in list(office.on_disk)[-20:]:
                if office.store.read(job_id) != final(job_id):
                    ended.append(job_id)

    reader = threading.Thread(target=read_all)
    reader.start()
    with office.writer() as writer:
        for late, job_id in zip([*job_ids[5:], *[0] * 5], job_ids, strict=True):
            writer.expect(late or job_id)
            writer.put(answer(job_id))
    written.set()
    reader.join()
    assert ended == []
    assert all(office.store.read(job_id) == final(job_id) for job_id in job_ids)


# -- a disk that refuses --------------------------------------------------------------


@pytest.mark.usefixtures("hasty")
def test_an_answer_that_cannot_be_written_is_kept_until_it_can(
    office: Office, eventually: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    job_ids = [office.accept() for _ in range(3)]
    with office.writer() as writer:
        with office.blocked():
            for job_id in job_ids:
                writer.put(answer(job_id))
            eventually(lambda: refusals(caplog) > len(job_ids))  # tried again, and in vain
            assert office.on_disk == {}
            assert len(office.locks) == 3
            assert office.unfinished() == job_ids
        eventually(lambda: sorted(office.on_record) == job_ids)
        assert office.on_disk == {job_id: final(job_id) for job_id in job_ids}
        assert len(office.locks) == 0


def refusals(caplog: pytest.LogCaptureFixture) -> int:
    return sum("cannot be written yet" in record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("hasty")
def test_what_lies_in_a_result_s_place_does_not_keep_its_job_from_ending(
    office: Office, eventually: Callable[..., None]
) -> None:
    stuck, free = office.accept(), office.accept()
    (office.place(stuck) / "somebody's").mkdir(parents=True)
    with office.writer() as writer:
        writer.put(answer(stuck))
        writer.put(answer(free))
        eventually(lambda: sorted(office.on_record) == [stuck, free])
    assert office.on_disk == {stuck: final(stuck), free: final(free)}


@pytest.mark.usefixtures("hasty")
def test_a_job_whose_answer_is_refused_for_long_fails_for_it_and_has_no_file(
    office: Office, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_writer, "GIVE_UP_SECONDS", 0.1)
    job_id, later = office.accept(), office.accept()
    with office.writer() as writer:
        with office.blocked():
            writer.put(answer(job_id))
            eventually(lambda: job_id in office.on_record)
            assert writer.refused == 0
        writer.put(answer(later))
        eventually(lambda: later in office.on_record)
    record = office.ledger.record(job_id)
    assert record is not None
    assert (record.state, record.checksum) == (JobState.FAILED, None)
    assert "storage: its result cannot be written" in (record.reason or "")
    assert office.store.read(job_id) is None
    assert office.on_record[later] is JobState.DONE
    assert len(office.locks) == 0


@pytest.mark.usefixtures("hasty")
def test_the_checksum_of_what_was_written_is_on_record(
    office: Office, eventually: Callable[..., None]
) -> None:
    job_id = office.accept()
    with office.writer() as writer:
        writer.put(answer(job_id))
        eventually(lambda: job_id in office.on_record)
    record = office.ledger.record(job_id)
    assert record is not None
    assert record.checksum == checksum(final(job_id))


@pytest.mark.usefixtures("hasty")
def test_a_slow_job_is_said_to_run_as_soon_as_the_disk_takes_it_or_has_its_answer(
    office: Office, eventually: Callable[..., None]
) -> None:
    with office.writer() as writer:
        with office.blocked():
            job_id = office.accept()
            writer.expect(job_id)
            eventually(lambda: not writer._expected)
        writer.put(answer(job_id))
        eventually(lambda: office.store.read(job_id) == final(job_id))


@pytest.mark.usefixtures("hasty")
def test_a_ledger_that_refuses_is_asked_again(
    office: Office, eventually: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    job_id = office.accept()
    ledger_file = office.folder / ".ledger" / "ledger.sqlite3"
    with closing(sqlite3.connect(ledger_file)) as other, office.writer() as writer:
        other.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        writer.put(answer(job_id))
        eventually(lambda: caplog.text.count("not recorded yet") > 1)
        assert office.on_disk == {job_id: final(job_id)}, "the answer waits for the ledger"
        assert office.on_record == {}
        other.execute("DROP TRIGGER refuse")
        eventually(lambda: office.on_record == {job_id: JobState.DONE})


@pytest.mark.usefixtures("hasty")
def test_leaving_while_the_ledger_refuses_keeps_the_job_for_the_next_start(
    office: Office, caplog: pytest.LogCaptureFixture, eventually: Callable[..., None]
) -> None:
    job_id = office.accept()
    ledger_file = office.folder / ".ledger" / "ledger.sqlite3"
    with closing(sqlite3.connect(ledger_file)) as other, office.writer() as writer:
        other.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        writer.put(answer(job_id))
        eventually(lambda: "not recorded yet" in caplog.text)
    assert office.unfinished() == [job_id]
    assert office.on_record == {}
    assert office.store.read(job_id) == final(job_id)


def test_leaving_while_the_disk_refuses_keeps_the_job_for_the_next_start(office: Office) -> None:
    job_id = office.accept()
    with office.blocked(), office.writer() as writer:
        writer.put(answer(job_id))
    assert office.on_disk == {}
    assert office.unfinished() == [job_id]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("instead", [None, "folder", "symbolic link", "named pipe"])
def test_what_somebody_does_to_the_files_does_not_keep_the_ledger_from_knowing(
    office: Office, eventually: Callable[..., None], instead: str | None
) -> None:
    touched, untouched = office.accept(), office.accept()
    path = office.place(touched)
    office.after_ended[touched] = lambda: replace(path, instead)
    with office.writer(flush=True) as writer, letting_go_of_waiters_at(path):
        writer.put(answer(touched))
        writer.put(answer(untouched))
        eventually(lambda: sorted(office.on_record) == [touched, untouched], 5.0)
    assert office.unfinished() == []


def replace(path: Path, instead: str | None) -> None:
    path.unlink()
    if instead == "folder":
        path.mkdir()
    elif instead == "symbolic link":
        path.symlink_to(path.parent)
    elif instead == "named pipe":
        os.mkfifo(path)


@contextmanager
def letting_go_of_waiters_at(path: Path) -> Iterator[None]:
    """In the end, free a thread that waits for the other end of a named pipe."""
    try:
        yield
    finally:
        if path.is_fifo():
            fd = os.open(path, os.O_RDWR)
            path.unlink()
            os.close(fd)
