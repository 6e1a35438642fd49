"""Old jobs go, the oldest first; damaged results are found; a vanished one is no damage."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from server import housekeeper
from server.housekeeper import Housekeeper
from server.job_state import JobState
from server.ledger import Ledger
from server.ledger_schema import Ending, JobRecord
from server.result_store import ResultStore, checksum
from server.settings import Durability, Settings


@dataclass
class House:
    """A folder of ended jobs."""

    ledger: Ledger
    store: ResultStore
    damaged: list[int] = field(default_factory=list)

    def keeper(self, **settings: str) -> Housekeeper:
        environment = {f"SPORTIV_{name.upper()}": value for name, value in settings.items()}
        return Housekeeper(self.store, self.ledger, Settings.read(environment), self._on_damaged)

    def _on_damaged(self, record: JobRecord) -> None:
        self.damaged.append(record.id)

    def accept(self) -> int:
        return self.ledger.accept("best5", "{}", "f", 0.0)

    def ended_job(self, ended_at: float, state: JobState = JobState.DONE) -> int:
        """A job whose file is as it was written."""
        job_id = self.accept()
        content = b'{"status":"done","data":%d}' % job_id
        self.store.write(job_id, content)
        ending = Ending(
            id=job_id,
            state=state,
            fingerprint="f",
            started_at=0.0,
            ended_at=ended_at,
            checksum=checksum(content),
        )
        self.ledger.end([ending])
        return job_id

    def place(self, job_id: int) -> Path:
        return self.store.path(job_id)

    def kept(self) -> list[int]:
        """The jobs that have a record; a file lies there exactly for those that have ended."""
        kept = [job_id for job_id, _ in self.ledger.states(0, 10_000)]
        ended = [record.id for record in self.ledger.ended(0, 10_000)]
        folder = self.place(1).parent
        assert {path.name for path in folder.glob("*.json")} == {
            self.place(job_id).name for job_id in ended
        }
        return kept


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    private = tmp_path / ".ledger"
    private.mkdir()
    with (
        Ledger(private / "ledger.sqlite3", Durability.PROCESS) as ledger,
        ResultStore(tmp_path, private) as store,
    ):
        yield House(ledger, store)


# -- old jobs -------------------------------------------------------------------------


def test_jobs_beyond_their_time_to_live_go_with_file_and_record(house: House) -> None:
    now = time.time()
    old = [house.ended_job(now - age) for age in (3600, 61, 10**6)]
    young = [house.ended_job(now - age) for age in (59, 0)]
    waiting = house.accept()
    house.keeper(result_ttl="60").sweep()
    assert house.kept() == [*young, waiting]
    assert old == [1, 2, 3]


def test_without_a_time_to_live_nothing_is_too_old(house: House) -> None:
    job_id = house.ended_job(0.0)
    house.keeper(result_ttl="0").sweep()
    assert house.kept() == [job_id]


def test_of_too_many_those_accepted_first_go_whatever_the_clock_said(house: House) -> None:
    now = time.time()
    ids = [house.ended_job(now - age) for age in (5, 50, 1, 40, 3, 30)]
    waiting = [house.accept() for _ in range(3)]
    house.keeper(max_results="3").sweep()
    assert house.kept() == [*ids[3:], *waiting]


def test_many_pages_of_old_jobs_go_in_one_sweep(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeper, "PAGE", 4)
    ids = [house.ended_job(time.time()) for _ in range(30)]
    house.keeper(max_results="11").sweep()
    assert house.kept() == ids[-11:]
    for job_id in ids[-11:]:
        house.ended_job(time.time() - 100 - job_id)
    house.keeper(result_ttl="60").sweep()
    assert house.kept() == ids[-11:]


def test_a_job_whose_file_is_gone_or_is_something_else_goes_all_the_same(house: House) -> None:
    ids = [house.ended_job(0.0) for _ in range(3)]
    house.place(ids[0]).unlink()
    house.place(ids[1]).unlink()
    house.place(ids[1]).mkdir()
    house.keeper(result_ttl="60").sweep()
    assert house.kept() == []


def test_the_thread_sweeps_by_itself_and_leaving_ends_it(
    house: House, eventually: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeper, "SWEEP_SECONDS", 0.01)
    with house.keeper(max_results="1"):
        house.ended_job(time.time() - 1)
        last = house.ended_job(time.time())
        eventually(lambda: [job_id for job_id, _ in house.ledger.states(0, 10_000)] == [last])
    assert house.kept() == [last]
    assert "housekeeper" not in {thread.name for thread in threading.enumerate()}


def test_a_ledger_that_refuses_is_swept_another_time(
    house: House,
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(housekeeper, "SWEEP_SECONDS", 0.01)
    house.ended_job(0.0)
    path = house.place(1).parent / ".ledger" / "ledger.sqlite3"
    with Ledger(path, Durability.PROCESS) as other, house.keeper():
        other._writer.execute(
            "CREATE TRIGGER refuse BEFORE DELETE ON jobs BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        house.ended_job(0.0)
        eventually(lambda: "cannot be looked after now" in caplog.text)
        other._writer.execute("DROP TRIGGER refuse")
        eventually(lambda: not house.ledger.ended(0, 10))


# -- damage ---------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["torn", "emptied", "foreign", "link", "folder"])
def test_a_damaged_result_is_found(house: House, damage: str) -> None:
    whole, broken, failed = (
        house.ended_job(0.0),
        house.ended_job(0.0),
        house.ended_job(0.0, JobState.FAILED),
    )
    for job_id in (broken, failed):
        place, content = house.place(job_id), house.place(job_id).read_bytes()
        place.unlink()
        if damage == "link":
            place.symlink_to(house.place(whole))
        elif damage == "folder":
            place.mkdir()
        else:
            contents = {"torn": content[:-3], "emptied": b"", "foreign": b"hello"}
            place.write_bytes(contents[damage])
    house.keeper().check_results()
    assert house.damaged == [broken], "a failure has nothing to compute again"


def test_a_result_that_is_gone_is_no_damage(house: House) -> None:
    house.place(house.ended_job(0.0)).unlink()
    house.accept()
    house.keeper().check_results()
    assert house.damaged == []


def test_all_pages_are_checked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeper, "PAGE", 3)
    ids = [house.ended_job(0.0) for _ in range(10)]
    for job_id in ids[::3]:
        house.place(job_id).write_bytes(b"")
    house.keeper().check_results()
    assert house.damaged == ids[::3]
