"""A cancelled job: gone at once where it waits, stopped where it runs, and nobody else harmed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server import scheduler
from tests.support import pools
from tests.support.backends import BACKENDS, Settings
from tests.support.pools import DEADLINE, Bench, decoded, opened_pool, wait_until
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

shared_cluster = pools.shared_cluster

ERROR = {"status": "error", "reason": "cancelled"}


@pytest.fixture(params=BACKENDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A pool of two workers, of any backend."""
    with opened_pool(tmp_path, request.param) as bench:
        yield bench


def test_a_waiting_task_of_a_cancelled_job_never_begins(bench: Bench) -> None:
    gates = bench.hold_all()
    waiting = [bench.submit("echo", "cancelled") for _ in range(20)]
    spared = bench.submit("echo", "spared")
    for job in waiting:
        bench.pool.cancel(job)
        bench.submitted.discard((job, 0))
    wait_until(lambda: bench.pool.waiting() <= 1)
    for gate in gates:
        gate.open()
    assert decoded(bench.heard.wait_for(spared)) == "spared"
    in_hands = waiting[: len(gates)]  # a worker may begin these before it reads that it must not
    assert not {task.job for task in bench.heard.started} & set(waiting) - set(in_hands)


def test_a_worker_that_computes_a_cancelled_job_is_free_again(bench: Bench) -> None:
    for _ in range(3):
        gate = bench.gate()
        job = bench.submit("wait_for_file", path=gate.path)
        gate.begun()
        bench.pool.cancel(job)
        bench.submitted.discard((job, 0))
    assert [bench.answer("echo", number) for number in range(10)] == list(range(10))
    bench.wait_until_whole()
    for path in bench.folder.glob("gate *.begun"):
        path.with_suffix("").touch()  # threads cannot be killed: let them leave


def test_what_a_worker_has_begun_unnoticed_is_stopped_when_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor has not heard of the answer before it, and takes it for unbegun."""
    monkeypatch.setattr(scheduler, "STALE_SECONDS", 10 * DEADLINE)
    with opened_pool(tmp_path) as bench:
        gates = [bench.gate() for _ in range(3)]
        jobs = [bench.submit("wait_for_file", path=gate.path) for gate in gates]
        before, elsewhere, cancelled = jobs  # the first worker holds the first and the last one
        gates[0].begun()
        gates[1].begun()
        with bench.heard.holding(elsewhere) as wait_until_held:
            gates[1].open()
            wait_until_held()
            gates[0].open()
            gates[2].begun()
            bench.pool.cancel(cancelled)
            bench.submitted.discard((cancelled, 0))
        assert bench.heard.wait_for(before).reason is None
        bench.hold_all()[0].open()  # both workers are free again
        bench.close()


def test_what_lay_behind_a_cancelled_task_costs_no_attempt(bench: Bench) -> None:
    gates = bench.hold_all()
    held = [task.job for task in bench.heard.started]
    behind = [bench.submit("echo", number) for number in range(8)]
    for job in held:
        bench.pool.cancel(job)
        bench.submitted.discard((job, 0))
    for number, job in enumerate(behind):
        outcome = bench.heard.wait_for(job)
        assert (decoded(outcome), outcome.attempts) == (number, ())
    for gate in gates:
        gate.open()


@pytest.fixture(scope="module")
def running(backend: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of each backend."""
    folder = tmp_path_factory.mktemp("cancelled")
    with running_server(folder, configuration=FOR_TESTS, **backend) as running:
        yield running


@pytest.fixture
def server(running: RunningServer) -> RunningServer:
    """It, when both its workers are ready."""
    running.wait_until_whole()
    return running


def test_a_cancelled_job_ends_at_once_and_others_keep_their_results(
    server: RunningServer, tmp_path: Path
) -> None:
    gates = [tmp_path / f"gate {number}" for number in range(2)]
    running, going_on = (server.submit("wait_for_file", path=str(gate)) for gate in gates)
    for gate in gates:
        wait_for(Path(f"{gate}.begun").exists, "both workers are at work")
    queued = server.submit("echo", value=2)
    kept = server.submit("echo", value=3)
    for job in (queued, running):
        answer = server.ask("DELETE", f"/api/jobs/{job}")
        assert (answer.status, answer.json) == (200, {"job_id": job, "status": "cancelled"})
        assert server.get(f"/api/get_results/{job}") == ERROR
    assert server.result(kept)["data"] == 3
    gates[1].touch()
    assert server.result(going_on)["status"] == "done"
    assert server.get("/api/jobs")["data"][-4:] == [
        {f"job_id_{running}": "error"},
        {f"job_id_{going_on}": "done"},
        {f"job_id_{queued}": "error"},
        {f"job_id_{kept}": "done"},
    ]
    assert server.get("/api/pool")["data"]["result_locks"] == 0


def test_a_cancelled_job_stays_cancelled_over_a_restart(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        job = server.submit("wait_for_file", path=str(gate))
        assert server.ask("DELETE", f"/api/jobs/job_id_{job}").status == 200
        assert server.stop() == 0
    with running_server(tmp_path, configuration=FOR_TESTS) as server:
        assert server.get("/api/num_jobs")["data"] == 0
        assert server.get(f"/api/get_results/{job}") == ERROR


@pytest.mark.parametrize("how", ["cancelled", "time limit of 0.2 s"])
def test_an_end_that_a_client_has_read_is_the_same_after_a_kill(
    tmp_path: Path, backend: Settings, how: str
) -> None:
    """Run again, the job would end well: so its end must have been on record when it was read."""
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:
        limit = {} if how == "cancelled" else {"timeout_s": 0.2}
        job = server.submit("wait_for_file", path=str(gate), value="ran", **limit)
        wait_for(Path(f"{gate}.begun").exists, "the job has begun")
        if how == "cancelled":
            assert server.ask("DELETE", f"/api/jobs/{job}").status == 200
        assert server.result(job) == {"status": "error", "reason": how}
        server.kill()
    gate.touch()
    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:
        assert server.get(f"/api/get_results/{job}") == {"status": "error", "reason": how}
        assert server.get(f"/api/jobs/{job}")["data"]["reason"] == how


def test_only_a_job_that_has_not_ended_can_be_cancelled(server: RunningServer) -> None:
    job = server.submit("echo", value=1)
    server.result(job)
    refused = server.ask("DELETE", f"/api/jobs/{job}")
    assert refused.status == 409
    assert refused.json == {"status": "error", "reason": f"job {job} has ended already"}
    assert server.result(job)["data"] == 1
    for unknown in (job + 1, 0, "x", "%2e%2e"):
        answer = server.ask("DELETE", f"/api/jobs/{unknown}")
        assert (answer.status, answer.json["reason"]) == (404, "Invalid job_id")


def test_cancelling_one_of_many_parts_stops_them_all(server: RunningServer) -> None:
    job = server.submit("endless_parts", value=50)
    wait_for(
        lambda: any(each["job"] == job for each in server.get("/api/pool")["data"]["workers"]),
        "the job is at work",
    )
    assert server.ask("DELETE", f"/api/jobs/{job}").status == 200
    assert server.data("echo", value="free again") == "free again"
    assert server.get("/api/pool")["data"]["waiting_tasks"] == 0


def test_a_job_one_of_whose_parts_fails_leaves_no_part_behind(server: RunningServer) -> None:
    answer = server.result(server.submit("endless_but_one", value=50))
    assert answer == {"status": "error", "reason": "ValueError: part 1"}
    assert server.data("echo", value="free again") == "free again"
    assert server.get("/api/pool")["data"]["waiting_tasks"] == 0
