"""Starts, stops, restarts and refusals of the whole server, with real processes and signals."""

import gzip
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import WHERE_WORKERS_ARE_PROCESSES, Settings
from tests.support.servers import (
    FOR_TESTS,
    ROOT,
    RunningServer,
    running_server,
    wait_for,
)

OBESITY = "Percent of adults aged 18 years and older who have obesity"
RUNNING = {"status": "running"}


def file_of(server: RunningServer, job_id: int) -> Path:
    return server.results / f"job_id_{job_id}.json"


def gunicorn_worker(server: RunningServer) -> int:
    """The pid of the process that serves; it holds the results folder."""
    lock = server.results / ".ledger" / "lock"
    return int(wait_for(lock.read_text, "the holder of the folder is told"))


def open_gate(gate: Path) -> None:
    """Let jobs go on that wait for the file `gate`."""
    gate.touch()


def assert_refuses_to_start(server: RunningServer, *words: str) -> None:
    assert server.exit_code() != 0
    wait_for(lambda: not server.processes(), "no process is left")
    for word in words:
        assert word in server.errors.read_text()


# -- the life of a job ----------------------------------------------------------------


@pytest.fixture(scope="module")
def server(backend: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of each backend for jobs that come and go."""
    settings = {"SPORTIV_MAX_ATTEMPTS": "2", "SPORTIV_JOB_TIMEOUT": "600", **backend}
    folder = tmp_path_factory.mktemp("life")
    with running_server(folder, configuration=FOR_TESTS, **settings) as running:
        running.wait_until_whole()
        yield running


def test_the_file_says_running_until_the_answer_takes_its_place(
    server: RunningServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job_id = server.submit("wait_for_file", path=str(gate), value=[1, 2])
    path = file_of(server, job_id)
    wait_for(path.exists, "the file of a slow job")
    assert json.loads(path.read_text()) == RUNNING
    assert server.get(f"/api/get_results/{job_id}") == RUNNING
    assert server.get("/api/num_jobs")["num_jobs"] == 1
    assert server.get("/api/pool")["data"]["result_locks"] == 1
    open_gate(gate)
    assert server.result(job_id) == {"status": "done", "data": [1, 2]}
    assert json.loads(path.read_text()) == {"status": "done", "data": [1, 2]}
    assert server.get("/api/pool")["data"]["result_locks"] == 0


def test_a_variable_that_is_no_setting_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    with running_server(tmp_path, SPORTIV_WORKER="2", SPORTIV_WORKERS="1") as server:
        said = server.errors.read_text()
        assert said.count("SPORTIV_WORKER is no setting; is SPORTIV_WORKERS meant?") == 1


def test_ids_go_on_and_results_stay_after_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        first = server.submit("best5", question=OBESITY)
        before = server.result(first)
        assert server.stop() == 0
    with running_server(tmp_path) as server:
        assert server.get(f"/api/get_results/{first}") == before
        assert server.submit("best5", question=OBESITY) == first + 1


@WHERE_WORKERS_ARE_PROCESSES
def test_a_dead_worker_costs_nobody_a_job(server: RunningServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = server.submit("wait_for_file", path=str(gate), value="kept")
    begun = Path(f"{gate}.begun")
    wait_for(begun.exists, "the job has begun")
    dead = int(begun.read_text())
    os.kill(dead, signal.SIGKILL)
    open_gate(gate)
    assert server.result(job_id)["data"] == "kept"
    wait_for(lambda: len({*server.worker_pids()} - {dead}) == 2, "the worker is replaced")
    (attempt,) = server.get(f"/api/jobs/{job_id}")["data"]["attempts"]
    assert attempt["pid"] == dead


@WHERE_WORKERS_ARE_PROCESSES
def test_a_job_that_kills_its_workers_fails_and_says_why(server: RunningServer) -> None:
    answer = server.result(server.submit("leave", value=3))
    assert answer["status"] == "error"
    assert answer["reason"].startswith("its worker died in each of 2 attempts; in the last, ")
    assert len(server.data("best5", question=OBESITY)) == 5


def test_a_job_beyond_its_time_fails_and_says_so(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_JOB_TIMEOUT="0.5") as server:
        answer = server.result(server.submit("spin", seconds=600))
        assert answer == {"status": "error", "reason": "time limit of 0.5 s"}


def test_a_request_may_have_less_time_but_not_more(server: RunningServer) -> None:
    answer = server.result(server.submit("pause", seconds=2, timeout_s=0.3))
    assert answer == {"status": "error", "reason": "time limit of 0.3 s"}
    for timeout, word in ((601, "at most 600 s"), (0, "> 0"), (-1, "> 0"), ("1", "timeout_s")):
        refused = server.ask("POST", "/api/echo", {"timeout_s": timeout})
        assert refused.status == 400
        assert word in refused.json["reason"]


def test_a_job_that_raises_fails_in_its_own_words(server: RunningServer) -> None:
    job_id = server.submit("fail", value="well chosen words")
    reason = "ValueError: well chosen words"
    assert server.result(job_id) == {"status": "error", "reason": reason}
    wait_for(lambda: f"job {job_id}: {reason}" in server.log(), "the log tells of it")
    assert "Traceback" in server.log()
    assert server.data("echo", value=1) == 1


def test_a_job_of_many_parts_is_combined(server: RunningServer) -> None:
    data = server.data("sum_of_squares", value=100)
    assert data == {"partials": [n * n for n in range(100)], "sum": 328350}
    assert server.data("sum_of_squares", value=0) == {"partials": [], "sum": 0}


def test_a_full_queue_refuses_and_uses_no_id(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_MAX_QUEUED="2") as server:
        ids = [server.submit("wait_for_file", path=str(gate), value=n) for n in range(2)]
        answer = server.ask("POST", "/api/echo", {})
        assert answer.status == 503
        assert answer.headers["retry-after"]
        open_gate(gate)
        assert [server.result(job_id)["data"] for job_id in ids] == [0, 1]
        wait_for(lambda: server.get("/api/num_jobs")["data"] == 0, "room again")
        assert server.submit("echo") == ids[-1] + 1


def test_emptying_the_results_folder_harms_only_what_was_in_it(server: RunningServer) -> None:
    gone = server.submit("best5", question=OBESITY)
    server.result(gone)
    file_of(server, gone).unlink()
    assert server.ask("GET", f"/api/get_results/{gone}").status == 404
    assert len(server.data("best5", question=OBESITY)) == 5


# -- stopping -------------------------------------------------------------------------


def test_graceful_shutdown_ends_what_was_accepted_and_still_answers(
    tmp_path: Path, backend: Settings
) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:
        job_id = server.submit("wait_for_file", path=str(gate), value=1)
        assert server.ask("HEAD", "/api/graceful_shutdown").status == 200
        assert server.ask("GET", "/readyz").status == 200, "HEAD begins nothing"
        for method in ("GET", "POST"):
            assert server.ask(method, "/api/graceful_shutdown").json == RUNNING
            assert server.ask(method, "//api/graceful_shutdown").json == RUNNING
        refused = server.ask("POST", "/api/best5", {"question": OBESITY})
        assert refused.status == 503
        assert refused.json == {"job_id": -1, "status": "error", "reason": "shutting down"}
        assert refused.headers["retry-after"]
        open_gate(gate)
        assert server.result(job_id)["data"] == 1
        for method in ("GET", "POST"):
            wait_for(
                lambda method=method: (
                    server.ask(method, "/api/graceful_shutdown").json == {"status": "done"}
                ),
                "the server is drained",
            )
        wait_for(lambda: not server.worker_pids(), "the workers have stopped")
        assert server.get(f"/api/get_results/{job_id}")["data"] == 1
        wait_for(lambda: "workers stopped" in server.log(), "the end of the workers is logged")
        assert "ERROR refused after the shutdown began: POST /api/best5" in server.log()
        assert server.stop() == 0


def test_sigterm_lets_accepted_jobs_end_and_leaves_nothing(
    tmp_path: Path, backend: Settings
) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:
        ids = [server.submit("wait_for_file", path=str(gate), value=n) for n in range(4)]
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "shutting down" in server.log(), "the drain has begun")
        open_gate(gate)
        assert server.exit_code() == 0
        wait_for(lambda: not server.processes(), "no process is left")
        contents = [json.loads(file_of(server, job_id).read_text()) for job_id in ids]
        assert contents == [{"status": "done", "data": n} for n in range(4)]


def test_what_does_not_end_in_time_runs_at_the_next_start(
    tmp_path: Path, backend: Settings
) -> None:
    gate = tmp_path / "gate"
    settings = backend | {"SPORTIV_DRAIN_TIMEOUT": "0.2"}
    with running_server(tmp_path, configuration=FOR_TESTS, **settings) as server:
        job_id = server.submit("wait_for_file", path=str(gate), value=7)
        assert server.stop() == 0
        wait_for(lambda: not server.processes(), "no process is left")
    open_gate(gate)
    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:
        assert server.result(job_id)["data"] == 7


def test_sigint_stops_at_once_and_loses_nothing(tmp_path: Path, backend: Settings) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:
        job_id = server.submit("wait_for_file", path=str(gate), value=8)
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.exit_code() == 0
        wait_for(lambda: not server.processes(), "no process is left")
    open_gate(gate)
    with running_server(tmp_path, configuration=FOR_TESTS, **backend) as server:
        assert server.result(job_id)["data"] == 8


# -- refusals -------------------------------------------------------------------------


def test_a_second_server_on_the_same_folder_names_the_first(tmp_path: Path) -> None:
    with running_server(tmp_path) as first:
        holder = gunicorn_worker(first)
        environment = {"SPORTIV_RESULTS_DIR": str(first.results)}
        with running_server(tmp_path / "second", wait=False, **environment) as second:
            assert_refuses_to_start(second, "held by another server", str(holder))
        assert first.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SPORTIV_WORKERS", "none"),
        ("TP_NUM_OF_THREADS", "0"),
        ("SPORTIV_BACKEND", "gpu"),
        ("SPORTIV_BIND", "nowhere"),
    ],
)
def test_a_wrong_setting_stops_the_start(tmp_path: Path, variable: str, value: str) -> None:
    settings = {variable: value} | ({"SPORTIV_WORKERS": ""} if variable[0] == "T" else {})
    with running_server(tmp_path, wait=False, **settings) as server:
        assert_refuses_to_start(server, f"{variable}={value!r} is not allowed")


@pytest.mark.parametrize("arguments", [["--workers", "2"], ["--preload"]])
def test_more_gunicorn_workers_and_preloading_are_refused(
    tmp_path: Path, arguments: list[str]
) -> None:
    with running_server(tmp_path, *arguments, wait=False) as server:
        assert_refuses_to_start(server, "sportiv:", "not possible")


def test_web_concurrency_does_not_make_a_second_worker(tmp_path: Path) -> None:
    with running_server(tmp_path, WEB_CONCURRENCY="2") as server:
        assert len(server.data("best5", question=OBESITY)) == 5
        assert server.errors.read_text().count("Booting worker") == 1


@pytest.mark.parametrize("name", ["SIGTTIN", "SIGHUP", "SIGUSR2"])
def test_signals_that_ask_for_more_are_refused_and_the_server_goes_on(
    tmp_path: Path, name: str
) -> None:
    with running_server(tmp_path) as server:
        serving = gunicorn_worker(server)
        server.process.send_signal(getattr(signal, name))
        wait_for(
            lambda: any(word in server.errors.read_text() for word in ("refused", "not possible")),
            "the refusal is told",
        )
        assert len(server.data("best5", question=OBESITY)) == 5
        assert gunicorn_worker(server) == serving


def test_a_bad_data_file_stops_the_start_with_its_place(tmp_path: Path) -> None:
    lines = gzip.decompress((ROOT / "data" / "sample.csv.gz").read_bytes()).decode().splitlines()
    bad = tmp_path / "bad.csv"
    fields = next(line for line in lines[1:] if ",Value," in line)
    lines[5] = fields.replace(",Value,", ",Value,oops", 1)
    bad.write_text("\n".join(lines) + "\n")
    with running_server(tmp_path, wait=False, SPORTIV_DATA=str(bad)) as server:
        assert_refuses_to_start(server, str(bad), "line 6", "'Data_Value'", "oops")


def test_the_log_begins_anew_at_each_start_unless_it_is_kept(tmp_path: Path) -> None:
    for keep, starts in (("0", 1), ("0", 1), ("1", 2)):
        with running_server(tmp_path, SPORTIV_LOG_KEEP=keep) as server:
            assert server.stop() == 0
            assert server.log().count("started with") == starts


# -- another table --------------------------------------------------------------------


def test_another_table_needs_a_description_and_no_code(tmp_path: Path) -> None:
    table = tmp_path / "noise.csv"
    table.write_text(
        "city,what,db,when\n"
        'Łódź,"street noise, by day",61.5,2020\n'
        'Łódź,"street noise, by day",62.5,2021\n'
        'Graz,"street noise, by day","1,000.25",2020\n'
        "Graz,birdsong,,2020\n"
    )
    description = tmp_path / "noise.toml"
    description.write_text(
        'title = "Noise"\n[columns]\nlocation = ["town", "city"]\nquestion = "what"\n'
        'value = "db"\nyear = "when"\n'
        '[questions]\nbetter_low = ["street noise, by day"]\n'
    )
    settings = {"SPORTIV_DATA": str(table), "SPORTIV_DATASET": str(description)}
    with running_server(tmp_path, **settings) as server:
        question = "street noise, by day"
        assert list(server.data("best5", question=question).items()) == [
            ("Łódź", 62.0),
            ("Graz", 1000.25),
        ]
        assert server.data("mean_by_category", question=question) == {}
        assert server.data("state_mean", question="birdsong", state="Graz") == {"Graz": None}
        assert server.data("global_mean", question="birdsong") == {"global_mean": None}
