"""What the ledger has accepted stays; ids are 1, 2, 3, ... and never used twice."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

import server.ledger
from server.errors import StorageError
from server.job_state import JobState
from server.ledger import Ledger
from server.ledger_schema import Ending, JobRecord, NewJob
from server.settings import Durability

DEADLINE = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def ledger(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """One that waits for whoever holds its file as long as any test may take."""
    monkeypatch.setattr(server.ledger, "LOCKED_SECONDS", DEADLINE)
    with Ledger(path, Durability.PROCESS) as ledger:
        yield ledger


def accept(ledger: Ledger, number: int = 0) -> int:
    return ledger.accept("best5", f'{{"question":"Q{number}"}}', "f", float(number))


def ending(job_id: int, state: JobState = JobState.DONE) -> Ending:
    return Ending(id=job_id, state=state, fingerprint="g", started_at=2.0, ended_at=3.0)


def ids(records: list[JobRecord]) -> list[int]:
    return [record.id for record in records]


@contextmanager
def by_hand(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as another program opens it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def writes(statements: list[str]) -> list[str]:
    """The statements that are, or end, a transaction."""
    ends = [each for each in statements if each.startswith(("COMMIT", "END"))]
    return ends or [each for each in statements if each.lstrip().startswith(("INSERT", "UPDATE"))]


# -- accepting ------------------------------------------------------------------------


def test_ids_count_from_one(ledger: Ledger) -> None:
    assert [accept(ledger) for _ in range(5)] == [1, 2, 3, 4, 5]


def test_an_accepted_job_is_on_record_as_it_was_asked(ledger: Ledger) -> None:
    job_id = ledger.accept("best5", '{"question":"naïve \\u2028"}', "f00d", 1.25)
    assert ledger.record(job_id) == JobRecord(
        id=1,
        statistic="best5",
        request='{"question":"naïve \\u2028"}',
        fingerprint="f00d",
        state=JobState.QUEUED,
        accepted_at=1.25,
        started_at=None,
        ended_at=None,
        reason=None,
        attempts="[]",
        checksum=None,
    )


@pytest.mark.parametrize("job_id", [0, 2, -1, 10**17])
def test_a_job_that_was_not_accepted_has_no_record(ledger: Ledger, job_id: int) -> None:
    accept(ledger)
    assert ledger.record(job_id) is None


def test_ids_go_on_after_a_restart(path: Path) -> None:
    for turn in range(3):
        with Ledger(path, Durability.PROCESS) as ledger:
            assert [accept(ledger), accept(ledger)] == [2 * turn + 1, 2 * turn + 2]


def test_ids_go_on_after_rows_were_deleted_by_hand(path: Path) -> None:
    with Ledger(path, Durability.PROCESS) as ledger:
        assert [accept(ledger) for _ in range(3)] == [1, 2, 3]
        with by_hand(path) as other:
            other.execute("DELETE FROM jobs WHERE id > 1")
        assert accept(ledger) == 4
    with by_hand(path) as other:
        other.execute("DELETE FROM jobs")
    with Ledger(path, Durability.PROCESS) as ledger:
        assert accept(ledger) == 5
        assert ids(ledger.unfinished()) == [5]


@pytest.mark.parametrize("durability", Durability)
def test_threads_that_accept_at_once_get_ids_of_their_own(
    path: Path, durability: Durability
) -> None:
    count, each = 8, 25
    barrier = threading.Barrier(count)

    def work(ledger: Ledger, worker: int) -> list[tuple[int, int]]:
        barrier.wait(DEADLINE)
        numbers = range(worker * each, (worker + 1) * each)
        return [(accept(ledger, number), number) for number in numbers]

    with Ledger(path, durability) as ledger:
        with ThreadPoolExecutor(count) as threads:
            working = [threads.submit(work, ledger, worker) for worker in range(count)]
            accepted = [done.result(DEADLINE) for done in working]
        for own in accepted:
            assert own == sorted(own), "a thread's later job has an earlier id"
        given = dict(pair for own in accepted for pair in own)
        assert sorted(given) == list(range(1, count * each + 1))
        recorded = {record.id: record.accepted_at for record in ledger.unfinished()}
        assert recorded == given


def test_acceptances_that_wait_share_one_commit(
    ledger: Ledger, path: Path, eventually: Callable[..., None]
) -> None:
    statements: list[str] = []
    ledger._writer.set_trace_callback(statements.append)
    with by_hand(path) as other, ThreadPoolExecutor(10) as threads:
        other.execute("BEGIN IMMEDIATE")
        first = threads.submit(accept, ledger)
        eventually(lambda: statements)  # it waits for the file
        rest = [threads.submit(accept, ledger) for _ in range(9)]
        eventually(lambda: len(ledger._accepting) == 9)
        other.execute("COMMIT")
        assert first.result(DEADLINE) == 1
        assert sorted(each.result(DEADLINE) for each in rest) == list(range(2, 11))
    assert len(writes(statements)) == 2


# -- ending ---------------------------------------------------------------------------


def test_an_end_is_on_record(ledger: Ledger) -> None:
    accept(ledger)
    ledger.end(
        [
            Ending(
                id=1,
                state=JobState.FAILED,
                fingerprint="g",
                started_at=None,
                ended_at=3.5,
                reason="its worker died",
                attempts='[{"pid":7}]',
            )
        ]
    )
    record = ledger.record(1)
    assert record is not None
    assert (record.state, record.reason, record.attempts) == (
        JobState.FAILED,
        "its worker died",
        '[{"pid":7}]',
    )
    assert (record.started_at, record.ended_at, record.fingerprint) == (None, 3.5, "g")
    assert (record.statistic, record.accepted_at) == ("best5", 0.0)


@pytest.mark.parametrize("state", [state for state in JobState if state.final])
def test_what_has_ended_is_not_unfinished(ledger: Ledger, state: JobState) -> None:
    for _ in range(5):
        accept(ledger)
    ledger.end([ending(4, state), ending(2, state)])
    assert ids(ledger.unfinished()) == [1, 3, 5]
    assert ledger.states(0, 10) == [
        (1, JobState.QUEUED),
        (2, state),
        (3, JobState.QUEUED),
        (4, state),
        (5, JobState.QUEUED),
    ]


def test_ends_are_recorded_in_one_commit(ledger: Ledger) -> None:
    for _ in range(20):
        accept(ledger)
    statements: list[str] = []
    ledger._writer.set_trace_callback(statements.append)
    ledger.end([ending(job_id) for job_id in range(1, 21)])
    assert len(writes(statements)) == 1
    assert ledger.unfinished() == []


def test_the_end_of_a_job_whose_row_has_gone_is_no_error(ledger: Ledger) -> None:
    ledger.end([ending(9)])
    ledger.end([])
    assert ledger.record(9) is None


def test_jobs_are_listed_page_by_page(ledger: Ledger) -> None:
    for _ in range(5):
        accept(ledger)
    assert [job_id for job_id, _ in ledger.states(0, 2)] == [1, 2]
    assert [job_id for job_id, _ in ledger.states(2, 2)] == [3, 4]
    assert [job_id for job_id, _ in ledger.states(4, 2)] == [5]
    assert ledger.states(5, 2) == []


def test_unfinished_jobs_are_found_after_a_restart(path: Path) -> None:
    with Ledger(path, Durability.PROCESS) as ledger:
        for number in range(4):
            accept(ledger, number)
        ledger.end([ending(2)])
    with Ledger(path, Durability.PROCESS) as ledger:
        assert [(each.id, each.request) for each in ledger.unfinished()] == [
            (1, '{"question":"Q0"}'),
            (3, '{"question":"Q2"}'),
            (4, '{"question":"Q3"}'),
        ]


def test_a_job_is_read_while_others_are_accepted_and_ended(ledger: Ledger) -> None:
    stop = threading.Event()

    def read() -> int:
        turns = 0
        while not stop.is_set() or not turns:
            unfinished = ids(ledger.unfinished())
            assert unfinished == sorted(unfinished)
            turns += 1
        return turns

    with ThreadPoolExecutor() as threads:
        reading = threads.submit(read)
        for number in range(1, 101):
            assert accept(ledger) == number
            ledger.end([ending(number)])
        stop.set()
        assert reading.result(DEADLINE)
    assert ledger.unfinished() == []


# -- a disk that refuses --------------------------------------------------------------

REFUSE = "CREATE TRIGGER refuse BEFORE {} ON jobs BEGIN SELECT RAISE(ABORT, 'no room'); END"


def test_a_refused_acceptance_is_a_storage_error_and_uses_no_id(ledger: Ledger, path: Path) -> None:
    assert accept(ledger) == 1
    with by_hand(path) as other:
        other.execute(REFUSE.format("INSERT"))
        for _ in range(3):
            with pytest.raises(StorageError, match="the job cannot be recorded: no room"):
                accept(ledger)
        other.execute("DROP TRIGGER refuse")
    assert accept(ledger) == 2
    assert ids(ledger.unfinished()) == [1, 2]


def test_everyone_who_shares_a_refused_commit_is_told(
    ledger: Ledger, path: Path, eventually: Callable[..., None]
) -> None:
    statements: list[str] = []
    ledger._writer.set_trace_callback(statements.append)
    with by_hand(path) as other, ThreadPoolExecutor(6) as threads:
        other.execute("BEGIN IMMEDIATE")
        other.execute(REFUSE.format("INSERT"))
        first = threads.submit(accept, ledger)
        eventually(lambda: statements)
        rest = [threads.submit(accept, ledger) for _ in range(5)]
        eventually(lambda: len(ledger._accepting) == 5)
        other.execute("COMMIT")
        for each in (first, *rest):
            assert isinstance(each.exception(DEADLINE), StorageError)
        other.execute("DROP TRIGGER refuse")
    assert accept(ledger) == 1


def test_a_refused_end_is_a_storage_error_and_can_be_tried_again(
    ledger: Ledger, path: Path
) -> None:
    accept(ledger)
    accept(ledger)
    with by_hand(path) as other:
        other.execute(REFUSE.format("UPDATE"))
        with pytest.raises(StorageError, match="the end of a job cannot be recorded: no room"):
            ledger.end([ending(1), ending(2)])
        assert ids(ledger.unfinished()) == [1, 2]
        assert accept(ledger) == 3
        other.execute("DROP TRIGGER refuse")
    ledger.end([ending(1), ending(2)])
    assert ids(ledger.unfinished()) == [3]


def test_a_full_disk_refuses_and_later_takes_again(
    path: Path, run_python: Callable[..., str]
) -> None:
    printed = run_python(
        "import json, os, pathlib, sys\n"
        "from resource import RLIM_INFINITY, RLIMIT_FSIZE, setrlimit\n"
        "from server.errors import StorageError\n"
        "from server.ledger import Ledger\n"
        "from server.settings import Durability\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "told = []\n"
        "with Ledger(path, Durability.FULL) as ledger:\n"
        "    accept = lambda: ledger.accept('best5', '\"' + 50_000 * 'x' + '\"', 'f', 0.0)\n"
        "    told.append(accept())\n"
        "    setrlimit(RLIMIT_FSIZE, (os.path.getsize(f'{path}-wal') + 9000, RLIM_INFINITY))\n"
        "    for _ in range(2):\n"
        "        try:\n"
        "            told.append(accept())\n"
        "        except StorageError as error:\n"
        "            told.append(str(error))\n"
        "    setrlimit(RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))\n"
        "    told.append(accept())\n"
        "print(json.dumps(told))\n",
        path,
    )
    first, refused, again, last = json.loads(printed)
    assert (first, last) == (1, 2)
    assert re.match("the job cannot be recorded: ", refused)
    assert re.match("the job cannot be recorded: ", again)
    with Ledger(path, Durability.FULL) as ledger:
        assert ids(ledger.unfinished()) == [1, 2]


def test_a_lost_table_is_a_storage_error_for_readers(ledger: Ledger, path: Path) -> None:
    with by_hand(path) as other:
        other.execute("DROP TABLE jobs")
    for read in (lambda: ledger.record(1), ledger.unfinished, lambda: ledger.states(0, 1)):
        with pytest.raises(StorageError, match="the ledger cannot be read: no such table"):
            read()


@pytest.mark.parametrize("obstacle", ["folder", "not a database", "no parent"])
def test_a_file_that_cannot_be_opened_is_a_storage_error(tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "ledger.sqlite3"
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "not a database":
        path.write_text("these are not the bytes of a database\n" * 100)
    else:
        path = tmp_path / "missing" / "ledger.sqlite3"
    with (
        pytest.raises(StorageError, match="cannot open the ledger"),
        Ledger(path, Durability.FULL),
    ):
        pass
    assert not descriptors_of(path)


# -- durability -----------------------------------------------------------------------


def descriptors_of(path: Path) -> list[str]:
    """What this process has open of the ledger."""
    places = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    return [str(place) for place in places if str(place).startswith(str(path))]


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("process", 1)])
def test_a_commit_is_flushed_exactly_where_power_may_fail(
    path: Path, durability: str, synchronous: int
) -> None:
    with Ledger(path, Durability(durability)) as ledger:
        assert ledger._writer.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert ledger._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("durability", Durability)
def test_a_job_accepted_just_before_the_server_is_killed_is_kept(
    path: Path, start_python: "Callable[..., subprocess.Popen[str]]", durability: Durability
) -> None:
    killed = start_python(
        "import os, pathlib, signal, sys\n"
        "from server.ledger import Ledger\n"
        "from server.settings import Durability\n"
        "with Ledger(pathlib.Path(sys.argv[1]), Durability(sys.argv[2])) as ledger:\n"
        "    for number in range(3):\n"
        "        job_id = ledger.accept('best5', f'[{number}]', 'f', 0.0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
        path,
        str(durability),
    )
    assert killed.wait(DEADLINE) == -signal.SIGKILL
    with Ledger(path, durability) as ledger:
        found = [(each.id, each.request) for each in ledger.unfinished()]
        assert found == [(1, "[0]"), (2, "[1]"), (3, "[2]")]
        assert accept(ledger) == 4


def test_whatever_moment_a_server_is_killed_at_what_it_has_promised_is_kept(
    path: Path, start_python: "Callable[..., subprocess.Popen[str]]"
) -> None:
    for _ in range(3):
        server = start_python(
            "import pathlib, sys\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "from server.ledger import Ledger\n"
            "from server.settings import Durability\n"
            "def accept_for_ever(ledger):\n"
            "    while True:\n"
            "        job_id = ledger.accept('best5', '{}', 'f', 0.0)\n"
            "        sys.stdout.write(f'{job_id}\\n')\n"
            "        sys.stdout.flush()\n"
            "with Ledger(pathlib.Path(sys.argv[1]), Durability.PROCESS) as ledger:\n"
            "    with ThreadPoolExecutor(4) as threads:\n"
            "        list(threads.map(accept_for_ever, [ledger] * 4))\n",
            path,
        )
        assert server.stdout is not None
        promised = [int(server.stdout.readline()) for _ in range(50)]
        os.kill(server.pid, signal.SIGKILL)
        rest = server.stdout.read().split("\n")[:-1]  # the last line may be cut
        promised += [int(line) for line in rest if line]
        with Ledger(path, Durability.PROCESS) as ledger:
            assert set(promised) <= set(ids(ledger.unfinished()))


def test_leaving_closes_the_file(path: Path) -> None:
    with Ledger(path, Durability.PROCESS) as ledger:
        accept(ledger)
        assert descriptors_of(path)
    assert not descriptors_of(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_another_program_that_holds_the_file_is_waited_for_and_readers_do_not_wait(
    ledger: Ledger, path: Path, eventually: Callable[..., None]
) -> None:
    statements: list[str] = []
    ledger._writer.set_trace_callback(statements.append)
    with by_hand(path) as other, ThreadPoolExecutor() as threads:
        other.execute("BEGIN IMMEDIATE")
        accepting = threads.submit(accept, ledger)
        eventually(lambda: statements)
        assert ledger.unfinished() == []
        assert not accepting.done()
        other.execute("COMMIT")
        assert accepting.result(DEADLINE) == 1


def test_a_file_that_another_program_holds_for_long_refuses_and_later_takes_again(
    path: Path,
) -> None:
    with Ledger(path, Durability.PROCESS) as ledger, by_hand(path) as other:
        ledger.check_writable()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"the job cannot be recorded: .* locked"):
            accept(ledger)
        with pytest.raises(StorageError, match=r"the ledger cannot be written to: .* locked"):
            ledger.check_writable()
        other.execute("COMMIT")
        ledger.check_writable()
        assert accept(ledger) == 1


def test_who_asks_whether_it_takes_writes_does_not_wait_for_one_that_hangs(path: Path) -> None:
    with Ledger(path, Durability.PROCESS) as ledger, ThreadPoolExecutor() as threads:
        with ledger._commit_lock:
            threads.submit(ledger.check_writable).result(DEADLINE)
        assert accept(ledger) == 1


# -- old jobs, and those that begin again -----------------------------------------------


def test_a_job_that_is_opened_again_has_not_ended(ledger: Ledger) -> None:
    job_id = accept(ledger)
    before = ledger.record(job_id)
    ledger.end([ending(job_id)])
    assert ledger.reopen(job_id)
    assert before is not None
    assert ledger.record(job_id) == structs.replace(before, fingerprint="g")
    assert ids(ledger.unfinished()) == [job_id]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED, None])
def test_only_a_job_that_is_done_can_be_opened_again(
    ledger: Ledger, state: JobState | None
) -> None:
    job_id = accept(ledger)
    if state is not None:
        ledger.end([structs.replace(ending(job_id), state=state)])
    before = ledger.record(job_id)
    assert not ledger.reopen(job_id)
    assert not ledger.reopen(job_id + 1)
    assert ledger.record(job_id) == before


def test_removed_jobs_are_forgotten_and_their_ids_are_not_given_again(path: Path) -> None:
    with Ledger(path, Durability.PROCESS) as ledger:
        for _ in range(3):
            accept(ledger)
        ledger.end([ending(1), ending(3)])
        ledger.remove([1, 2, 3, 4])
        assert ledger.record(1) is ledger.record(3) is None
        assert ids(ledger.unfinished()) == [2], "what has not ended stays"
    with Ledger(path, Durability.PROCESS) as ledger:
        assert accept(ledger) == 4


def test_ended_jobs_are_found_oldest_end_first_and_counted(ledger: Ledger) -> None:
    for _ in range(5):
        accept(ledger)
    for job_id, moment in ((1, 30.0), (2, 10.0), (4, 20.0)):
        ledger.end([structs.replace(ending(job_id), ended_at=moment)])
    assert ledger.ended_before(100.0, 10) == [2, 4, 1]
    assert ledger.ended_before(30.0, 10) == [2, 4]
    assert ledger.ended_before(100.0, 1) == [2]
    assert ledger.count_ended() == 3
    assert ids(ledger.ended(0, 2)) == [1, 2]
    assert ids(ledger.ended(2, 2)) == [4]


def test_a_ledger_whose_file_was_removed_accepts_nothing_more(ledger: Ledger, path: Path) -> None:
    accept(ledger)
    path.unlink()
    for _ in range(2):
        with pytest.raises(StorageError, match="has been removed"):
            accept(ledger)
    with pytest.raises(StorageError, match="has been removed"):
        ledger.end([ending(1)])
    path.write_bytes(b"another file in its place")
    with pytest.raises(StorageError, match="has been removed"):
        accept(ledger)


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_earlier_version_is_brought_up_to_date_and_keeps_its_jobs(
    path: Path, version: int
) -> None:
    with Ledger(path, Durability.PROCESS) as ledger:
        accept(ledger)
        accept(ledger)
        ledger.end([ending(1)])
        whole = ledger.record(1)
    with by_hand(path) as earlier:
        for index in ("by_key", "by_batch"):
            earlier.execute(f"DROP INDEX {index}")
        for column in ("idempotency_key", "request_digest", "batch", "cached_from", "request_id"):
            earlier.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        if version == 1:
            earlier.execute("ALTER TABLE jobs DROP COLUMN checksum")
            earlier.execute("DROP INDEX by_end")
        earlier.execute(f"PRAGMA user_version = {version}")
    with Ledger(path, Durability.PROCESS) as ledger:
        assert ids(ledger.unfinished()) == [2]
        (ended,) = ledger.ended(0, 10)
        assert ended == whole
        assert (ended.checksum, ended.request_id) == (None, None)
        assert accept(ledger) == 3
    with by_hand(path) as now:
        assert now.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_job_keeps_the_id_of_the_request_that_it_came_with(path: Path) -> None:
    with Ledger(path, Durability.PROCESS) as ledger:
        job_id = ledger.accept("best5", "{}", "f", 0.0, request_id="the-client.s_1")
    with Ledger(path, Durability.PROCESS) as ledger:
        (resumed,) = ledger.unfinished()
        assert (resumed.id, resumed.request_id) == (job_id, "the-client.s_1")


def test_a_file_of_a_newer_version_is_not_touched(path: Path) -> None:
    with Ledger(path, Durability.PROCESS) as ledger:
        accept(ledger)
    with by_hand(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    with (
        pytest.raises(StorageError, match=r"newer server \(version 99\)"),
        Ledger(path, Durability.PROCESS),
    ):
        pass


# -- batches and keys -----------------------------------------------------------------


def new_job(**marks: Any) -> NewJob:
    fields = {"statistic": "mean", "request": "{}", "fingerprint": "f", "accepted_at": 1.0}
    return NewJob(**fields | marks)


def test_jobs_of_a_batch_follow_each_other_and_know_the_first(ledger: Ledger) -> None:
    accept(ledger)
    assert list(ledger.accept_all([new_job()] * 3, is_batch=True)) == [2, 3, 4]
    assert accept(ledger) == 5
    assert ledger.of_batch(2) == [(job_id, JobState.QUEUED) for job_id in (2, 3, 4)]
    assert ledger.of_batch(3) == []
    records = [ledger.record(job_id) for job_id in range(1, 6)]
    assert [record and record.batch for record in records] == [None, 2, 2, 2, None]


def test_a_batch_that_the_disk_refuses_leaves_nothing(ledger: Ledger, path: Path) -> None:
    accept(ledger)
    kept = path.rename(path.with_name("kept"))
    with pytest.raises(StorageError):
        ledger.accept_all([new_job()] * 100, is_batch=True)
    kept.rename(path)
    assert list(ledger.accept_all([new_job()] * 2, is_batch=True)) == [2, 3]


def test_batches_from_many_threads_are_each_whole(ledger: Ledger) -> None:
    with ThreadPoolExecutor(8) as clients:
        sizes = [1 + number * 37 % 900 for number in range(60)]
        found = list(
            clients.map(lambda n: ledger.accept_all([new_job()] * n, is_batch=True), sizes)
        )
    assert [len(ids) for ids in found] == sizes
    everything = sorted(job_id for ids in found for job_id in ids)
    assert everything == list(range(1, sum(sizes) + 1))
    for ids in found:
        assert [job_id for job_id, _ in ledger.of_batch(ids[0])] == list(ids)


def test_a_key_finds_its_first_job_as_long_as_that_is_kept(ledger: Ledger) -> None:
    accept(ledger)
    ledger.accept_all([new_job(idempotency_key="k", request_digest="d", cached_from=1)] * 2)
    found = ledger.with_key("k")
    assert found is not None
    assert (found.id, found.request_digest, found.cached_from) == (2, "d", 1)
    assert ledger.with_key("other") is None
    ledger.end([ending(2), ending(3)])
    ledger.remove([2, 3])
    assert ledger.with_key("k") is None


def test_a_list_can_be_cut_by_state_and_statistic(ledger: Ledger) -> None:
    ledger.accept_all([new_job(statistic=name) for name in ("a", "b", "a", "b")])
    ledger.end([ending(1), ending(2)])
    done = {JobState.DONE}
    assert [job_id for job_id, _ in ledger.states(0, 10, states=done)] == [1, 2]
    assert [job_id for job_id, _ in ledger.states(0, 10, statistic="b")] == [2, 4]
    assert ledger.states(0, 10, states=done, statistic="a") == [(1, JobState.DONE)]
    assert ledger.states(0, 10, states=()) == []


def test_the_newest_jobs_come_first_and_can_be_told_beside_their_states(ledger: Ledger) -> None:
    ledger.accept_all([new_job(statistic=name) for name in ("a", "b", "a", "b")])
    ledger.end([ending(1), ending(2)])
    done = {JobState.DONE}
    assert ids(ledger.newest(5, 10)) == [4, 3, 2, 1]
    assert ids(ledger.newest(4, 2)) == [3, 2]
    assert ledger.newest(3, 1) == [ledger.record(2)]
    assert ids(ledger.newest(5, 10, states=done)) == [2, 1]
    assert ids(ledger.newest(5, 10, states=done, also=[3])) == [3, 2, 1]
    assert ids(ledger.newest(5, 10, also=[3], never=[3, 1])) == [4, 2]
    assert ids(ledger.newest(5, 10, states=done, also=[3, 4], statistic="b")) == [4, 2]
    assert ledger.newest(1, 10) == []
