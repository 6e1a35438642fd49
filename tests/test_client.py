"""The Python client against live servers: also such as die, are restarted, or are none."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.client import (
    LONGEST_BATCH,
    MOST_IN_BATCH,
    Answer,
    Client,
    JobCancelled,
    JobFailed,
    Refused,
    TimedOut,
    UnknownJob,
    Unreachable,
)
from server.client.transport import Transport
from tests.support.proxies import ask_of, listening, passed_on, said
from tests.support.servers import FOR_TESTS, RunningServer, free_port, running_server, wait_for

OBESITY = "Percent of adults aged 18 years and older who have obesity"
TOKEN = "a secret of this test".replace(" ", "-")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that several tests ask; it also knows the statistics that misbehave on demand."""
    with running_server(tmp_path_factory.mktemp("server"), configuration=FOR_TESTS) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(address(server)) as made:
        yield made


def address(server: RunningServer) -> str:
    return f"http://127.0.0.1:{server.port}"


@contextmanager
def server_at(folder: Path, port: int, **environment: str) -> Iterator[RunningServer]:
    """A server at this port, which an earlier one may have had."""
    bind = f"127.0.0.1:{port}"
    with running_server(
        folder, wait=False, configuration=FOR_TESTS, SPORTIV_BIND=bind, **environment
    ) as running:
        running.port = port
        running.wait_until_serving()
        yield running


# -- asking ---------------------------------------------------------------------------


def test_an_answer_is_what_the_server_gives(server: RunningServer, client: Client) -> None:
    answer = client.ask("best5", question=OBESITY)
    assert answer.data == server.data("best5", question=OBESITY)
    assert list(answer.data) == ["Ohio", "Michigan", "Georgia", "Oregon", "Mississippi"]


def test_what_is_refused_is_told_in_the_servers_words(client: Client) -> None:
    with pytest.raises(Refused, match=r"no question 'obesty'; nearest: .*have obesity") as caught:
        client.submit("best5", question="obesty")
    assert caught.value.status == 400
    with pytest.raises(Refused, match="there is nothing at /api/best6") as caught:
        client.submit("best6", question=OBESITY)
    assert caught.value.status == 404


def test_the_lists_are_the_servers(server: RunningServer, client: Client) -> None:
    assert client.states() == server.get("/api/states")["data"]
    assert client.questions() == server.get("/api/questions")["data"]
    assert client.categories() == server.get("/api/categories")["data"]
    assert client.statistics() == server.get("/api/statistics")["data"]
    assert {each["pid"] for each in client.pool()["workers"]} == set(server.worker_pids())
    assert client.server() == server.get("/api/server")["data"]
    assert client.health() == {"status": "ok"}


def test_jobs_are_listed_over_all_pages(client: Client) -> None:
    batch = client.batch([{"statistic": "echo", "value": n} for n in range(5)])
    ids = [job.id for job in batch.jobs]
    batch.wait()
    assert client.jobs(after=ids[0] - 1) == dict.fromkeys(ids, "done")
    pages = client._pages(f"/api/jobs?after={ids[0] - 1}&limit=2")
    assert [name for entry in pages for name in entry] == [f"job_id_{n}" for n in ids]
    assert list(client.jobs(after=ids[0], limit=3)) == ids[1:4]
    assert client.jobs(after=ids[0] - 1, statistic="best5") == {}


def test_the_history_is_told_newest_first_and_over_all_pages(client: Client) -> None:
    batch = client.batch([{"statistic": "echo", "value": n} for n in range(5)])
    ids = [job.id for job in batch.jobs]
    batch.wait()
    assert [record["job_id"] for record in client.history(limit=4)] == ids[:0:-1]
    pages = client._pages(f"/api/history?limit=2&before={ids[-1] + 1}")
    assert [next(pages)["job_id"] for _ in ids] == ids[::-1]
    assert client.history(before=ids[1], limit=1)[0]["request"]["value"] == 0
    assert client.history(before=ids[1], limit=1) == [client.job(ids[0]).record()]


def test_a_failed_job_says_why(client: Client) -> None:
    job = client.submit("fail", value="on purpose")
    with pytest.raises(JobFailed, match=f"job {job.id} has failed: .*on purpose") as caught:
        job.wait()
    assert caught.value.reason == job.record()["reason"]
    assert job.progress() == 1.0


def test_a_job_that_there_is_not_is_unknown(client: Client) -> None:
    job = client.job(10**9)
    for call in (job.wait, job.answer, job.progress, job.record, job.cancel):
        with pytest.raises(UnknownJob, match="there is no job 1000000000"):
            call()


def test_an_address_that_is_none_is_refused() -> None:
    for wrong in ("ftp://127.0.0.1", "http://", "http://[::1"):
        with pytest.raises(ValueError, match="is no address"):
            Client(wrong)
    assert Client("127.0.0.1:5000").url == "http://127.0.0.1:5000"


# -- answers --------------------------------------------------------------------------


def test_an_answer_is_a_table_too(server: RunningServer, client: Client) -> None:
    answer = client.ask("best5", question=OBESITY)
    assert answer.columns == ["state", "mean"]
    assert answer.rows == [[state, mean] for state, mean in answer.data.items()]
    assert answer.records()[0] == {"state": "Ohio", "mean": answer.data["Ohio"]}
    csv = server.ask("GET", f"/api/jobs/{answer.job_id}/table?format=csv")
    assert answer.csv().encode() == csv.content


def test_an_answer_has_its_picture(client: Client) -> None:
    chart = client.ask("best5", question=OBESITY).chart()
    assert chart is not None
    assert "vega-lite" in chart["$schema"]


def test_an_answer_is_a_frame_of_pandas(client: Client) -> None:
    pandas = pytest.importorskip("pandas")
    answer = client.ask("describe", question=OBESITY, by="state")
    frame = answer.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == answer.columns
    assert frame.shape == (len(answer.rows), len(answer.columns))
    assert frame["mean"].tolist() == [record["mean"] for record in answer.records()]


def test_an_answer_is_a_frame_of_polars(client: Client) -> None:
    polars = pytest.importorskip("polars")
    answer = client.ask("describe", question=OBESITY, by="state")
    frame = answer.to_polars()
    assert isinstance(frame, polars.DataFrame)
    assert frame.to_dicts() == answer.records()
    assert frame.schema["mean"] == polars.Float64


def test_what_a_job_without_an_answer_has_not_is_told(client: Client) -> None:
    job = client.submit("fail", value="without an answer")
    with pytest.raises(JobFailed):
        job.wait()
    lost = Answer(client._transport, job.id, None)
    for read in (lost.csv, lost.chart, lost.records):
        with pytest.raises(Refused) as caught:
            read()
        assert caught.value.status == 409
    gone = Answer(client._transport, 10**9, None)
    for read in (gone.csv, gone.chart, gone.records):
        with pytest.raises(UnknownJob):
            read()


# -- waiting --------------------------------------------------------------------------


def test_a_wait_ends_at_its_bound_and_the_job_goes_on(client: Client, tmp_path: Path) -> None:
    job = client.submit("wait_for_file", path=str(tmp_path / "gate"), value="at last")
    with pytest.raises(TimedOut, match=f"job {job.id} has not ended within 0.2 s"):
        job.wait(timeout=0.2)
    with pytest.raises(TimedOut):
        job.answer()
    (tmp_path / "gate").touch()
    assert job.wait().data == "at last"
    assert job.answer().data == "at last"


def test_a_long_wait_is_several_requests(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.client.jobs.LONG_POLL", 0.05)
    asked = []

    def pass_on(connection: socket.socket) -> None:
        request = ask_of(connection)
        asked.append(request.partition(b" HTTP")[0])
        if asked[1:].count(asked[-1]) == 3:
            (tmp_path / "gate").touch()
        connection.sendall(passed_on(request, server.port))

    with listening(pass_on) as port, Client(f"http://127.0.0.1:{port}") as client:
        job = client.submit("wait_for_file", path=str(tmp_path / "gate"), value=3)
        assert job.wait().data == 3
        waits = asked[1:]
        assert len(waits) >= 3
        assert set(waits) == {f"GET /api/get_results/{job.id}?wait=0.050".encode()}


def test_progress_is_told_and_never_goes_back(client: Client) -> None:
    told: list[float] = []
    answer = client.ask("sum_of_squares", value=20, on_progress=told.append)
    assert answer.data["sum"] == sum(n * n for n in range(20))
    assert told == sorted(told)
    batch = client.batch([{"statistic": "sum_of_squares", "value": n} for n in range(4)])
    told.clear()
    batch.wait(on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert batch.progress() == 1.0


def test_another_thread_may_cancel_what_one_waits_for(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = client.submit("wait_for_file", path=str(gate))
    wait_for(Path(f"{gate}.begun").exists, "the job has begun")
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            job.wait()
        except JobCancelled as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert job.cancel()
    waiting.join(30)
    assert [str(error) for error in caught] == [f"job {job.id} was cancelled"]
    assert job.record()["state"] == "cancelled"


def test_cancelling_again_says_the_same_and_cannot_undo_an_end(
    client: Client, tmp_path: Path
) -> None:
    job = client.submit("wait_for_file", path=str(tmp_path / "gate"))
    assert [job.cancel(), job.cancel()] == [True, True]
    done = client.submit("echo", value=1)
    done.wait()
    assert done.cancel() is False
    assert done.wait().data == 1


def test_one_client_serves_many_threads(client: Client) -> None:
    found: dict[int, Any] = {}

    def ask(n: int) -> None:
        found[n] = client.ask("echo", value=n).data

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {n: n for n in range(24)}


# -- batches --------------------------------------------------------------------------


def test_a_batch_has_an_outcome_for_each_job(client: Client) -> None:
    batch = client.batch(
        [
            {"statistic": "echo", "value": 1},
            {"statistic": "fail", "value": "so it is"},
            {"statistic": "echo", "value": 2},
        ]
    )
    first, failed, last = batch.outcomes()
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert (first.data, last.data) == (1, 2)
    assert isinstance(failed, JobFailed)
    with pytest.raises(JobFailed, match="so it is"):
        batch.wait()


def test_a_request_holds_as_much_as_the_server_takes(client: Client) -> None:
    limits = client.server()["limits"]
    assert limits["max_batch"] == MOST_IN_BATCH
    assert limits["max_body"] > LONGEST_BATCH


def test_more_jobs_than_a_request_may_hold_go_in_several(client: Client) -> None:
    batch = client.batch({"statistic": "echo", "value": n} for n in range(250))
    assert len(batch.ids) == 3
    assert [answer.data for answer in batch.wait()] == list(range(250))
    long = client.batch([{"statistic": "echo", "value": "x" * 20_000} for _ in range(4)])
    assert len(long.ids) == 2
    assert len(long.wait()) == 4


def test_a_bad_request_in_a_batch_is_named_and_nothing_is_accepted(client: Client) -> None:
    before = client.jobs()
    with pytest.raises(Refused, match=r"jobs\[1\]: no statistic 'ecko'"):
        client.batch([{"statistic": "echo"}, {"statistic": "ecko"}])
    assert client.jobs() == before


def test_a_bad_request_far_down_has_what_came_before_it_cancelled(
    client: Client, tmp_path: Path
) -> None:
    last = max([0, *client.jobs()])
    slow = {"statistic": "wait_for_file", "path": str(tmp_path / "gate")}
    with pytest.raises(Refused, match=r"jobs\[103\]: no statistic 'ecko'"):
        client.batch([*[slow] * 103, {"statistic": "ecko"}])
    accepted = client.jobs(after=last)
    assert list(accepted.values()) == ["error"] * 100
    assert client.job(max(accepted)).record()["state"] == "cancelled"


def test_a_batch_that_has_not_ended_in_time_says_which_jobs(client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow = {"statistic": "wait_for_file", "path": str(gate)}
    batch = client.batch([{"statistic": "echo", "value": 1}, slow])
    batch.jobs[0].wait()
    first, last = batch.outcomes(timeout=0.1)
    assert isinstance(first, Answer)
    assert isinstance(last, TimedOut)
    gate.touch()
    batch.wait()


# -- one job, whatever happens --------------------------------------------------------


def test_the_same_key_is_the_same_job(client: Client) -> None:
    first = client.submit("echo", key="of-this-test", value=1)
    assert client.submit("echo", key="of-this-test", value=1).id == first.id
    with pytest.raises(Refused) as caught:
        client.submit("echo", key="of-this-test", value=2)
    assert caught.value.status == 422


def test_an_answer_that_is_lost_makes_no_second_job(server: RunningServer) -> None:
    lost = []

    def lose_the_first(connection: socket.socket) -> None:
        request = ask_of(connection)
        content = passed_on(request, server.port)
        if not lost:
            lost.append(content)
            connection.sendall(content[:20])
        else:
            connection.sendall(content)

    with listening(lose_the_first) as port, Client(f"http://127.0.0.1:{port}") as client:
        job = client.submit("echo", value="once")
        assert f'"job_id":{job.id}'.encode() in lost[0]
        assert job.wait().data == "once"
        assert list(client.jobs(after=job.id - 1)) == [job.id]


def test_a_server_killed_after_it_accepted_has_one_job_after_its_restart(tmp_path: Path) -> None:
    port = free_port()
    first = server_at(tmp_path, port)
    lost = []

    with first as server:

        def kill_before_the_answer(connection: socket.socket) -> None:
            request = ask_of(connection)
            try:
                content = passed_on(request, port)
            except OSError:
                return
            if not lost:
                lost.append(content)
                server.kill()
                return
            connection.sendall(content)

        with listening(kill_before_the_answer) as proxy, Client(f"http://127.0.0.1:{proxy}") as c:
            jobs = []
            asking = threading.Thread(target=lambda: jobs.append(c.submit("echo", value="kept")))
            asking.start()
            wait_for(lambda: lost and server.process.poll() is not None, "the server is killed")
            with server_at(tmp_path, port):
                asking.join(60)
                (job,) = jobs
                assert f'"job_id":{job.id}'.encode() in lost[0]
                assert job.wait().data == "kept"
                assert list(c.jobs()) == [job.id]


def test_a_restart_while_somebody_waits_costs_nothing_but_time(tmp_path: Path) -> None:
    port, gate = free_port(), tmp_path / "gate"
    answers = []
    with Client(f"http://127.0.0.1:{port}") as client:
        with server_at(tmp_path / "server", port) as server:
            job = client.submit("wait_for_file", path=str(gate), value="over two servers")
            wait_for(Path(f"{gate}.begun").exists, "the job has begun")
            waiting = threading.Thread(target=lambda: answers.append(job.wait()))
            waiting.start()
            server.kill()
        gate.touch()
        with server_at(tmp_path / "server", port):
            waiting.join(60)
            assert [answer.data for answer in answers] == ["over two servers"]
            assert list(client.jobs()) == [job.id]


def test_a_draining_server_is_waited_for_until_another_takes_its_place(tmp_path: Path) -> None:
    port = free_port()
    jobs = []
    with Client(f"http://127.0.0.1:{port}") as client:
        with server_at(tmp_path, port) as server:
            assert client.shutdown()
            with (
                Client(address(server), patience=0) as hasty,
                pytest.raises(Refused, match="shutting down") as caught,
            ):
                hasty.submit("echo")
            assert caught.value.status == 503
            waiting = threading.Thread(target=lambda: jobs.append(client.submit("echo", value=7)))
            waiting.start()
            wait_for(lambda: server.log().count("refused after") > 1, "the second was refused too")
            assert server.stop() == 0
        with server_at(tmp_path, port):
            waiting.join(60)
            assert [job.wait().data for job in jobs] == [7]


def test_a_full_queue_is_tried_again_until_there_is_room(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with (
        running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_MAX_QUEUED="1") as server,
        Client(address(server)) as client,
        Client(address(server), patience=0) as hasty,
    ):
        first = client.submit("wait_for_file", path=str(gate))
        with pytest.raises(Refused, match="1 jobs wait already"):
            hasty.submit("echo")
        jobs: list[Any] = []
        waiting = threading.Thread(target=lambda: jobs.append(client.submit("echo", value=1)))
        waiting.start()
        gate.touch()
        first.wait()
        waiting.join(60)
        assert [job.wait().data for job in jobs] == [1]


def test_a_connection_that_the_server_has_closed_is_no_trouble() -> None:
    served = []

    def once(connection: socket.socket) -> None:
        served.append(ask_of(connection))
        kept = said("200 OK", '{"status": "ok"}').replace(b"Connection: close\r\n", b"")
        connection.sendall(kept)

    with listening(once) as port, Client(f"http://127.0.0.1:{port}", patience=0) as client:
        for _ in range(5):
            assert client.health() == {"status": "ok"}
    assert len(served) == 5


# -- who may call, and who answers ----------------------------------------------------


def test_a_token_is_sent_and_its_absence_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_server(tmp_path, SPORTIV_TOKEN=TOKEN) as server:
        monkeypatch.delenv("SPORTIV_TOKEN", raising=False)
        with Client(address(server)) as nobody, pytest.raises(Refused, match="token") as caught:
            nobody.states()
        assert caught.value.status == 401
        with Client(address(server), token=TOKEN) as known:
            assert "Ohio" in known.states()
        monkeypatch.setenv("SPORTIV_TOKEN", TOKEN)
        with Client(address(server)) as known:
            assert "Ohio" in known.states()


def test_nobody_at_the_port_is_told_at_the_end_of_the_patience() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", patience=0.1) as client:
        with pytest.raises(Unreachable, match="Connection refused"):
            client.states()
        with pytest.raises(Unreachable):
            client.health()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (said("200 OK", "<html>", "Content-Type: text/html"), "something else.*text/html"),
        (said("404 Not Found", "<html>", "Content-Type: text/html"), "something else.*404"),
        (said("200 OK", '["a list"]'), "something else"),
        (said("200 OK", '{"detail": "of another service"}'), "something else"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "does not speak HTTP"),
    ],
)
def test_something_else_at_the_port_is_told_at_once(content: bytes, words: str) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(content)
        connection.recv(65536)

    with (
        listening(answer) as port,
        Client(f"http://127.0.0.1:{port}", patience=600) as client,
        pytest.raises(Unreachable, match=words),
    ):
        client.states()


def test_a_proxy_that_cannot_reach_the_server_is_asked_again() -> None:
    replies = [
        said("502 Bad Gateway", "<html>"),
        said("503 Service Unavailable", "<html>", "Retry-After: 0"),
        said("200 OK", '{"status": "done", "data": ["Ohio"]}'),
    ]

    def answer(connection: socket.socket) -> None:
        ask_of(connection)
        connection.sendall(replies.pop(0))

    with listening(answer) as port, Client(f"http://127.0.0.1:{port}") as client:
        assert client.states() == ["Ohio"]
    assert replies == []


def test_an_answer_that_never_comes_counts_as_lost() -> None:
    with (
        listening(lambda connection: connection.recv(65536) and connection.recv(1)) as port,
        Client(f"http://127.0.0.1:{port}", patience=0, answer_seconds=0.1) as client,
        pytest.raises(Unreachable, match="nothing comes in time"),
    ):
        client.states()


def test_a_stopped_server_is_waited_for(server: RunningServer, client: Client) -> None:
    with Client(address(server), answer_seconds=0.2) as hasty:
        os.killpg(server.process.pid, signal.SIGSTOP)
        try:
            states: list[Any] = []
            waiting = threading.Thread(target=lambda: states.append(hasty.states()))
            waiting.start()
        finally:
            os.killpg(server.process.pid, signal.SIGCONT)
        waiting.join(60)
        assert states == [client.states()]


def test_an_address_below_another_is_kept() -> None:
    asked = []

    def answer(connection: socket.socket) -> None:
        asked.append(ask_of(connection).split()[1])
        connection.sendall(said("200 OK", '{"status": "done", "data": []}'))

    with listening(answer) as port, Client(f"http://127.0.0.1:{port}/stats/") as client:
        client.states()
    assert asked == [b"/stats/api/states"]


def test_a_transport_tries_no_longer_than_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []
    clock = [0.0]

    def sleep(seconds: float) -> None:
        paused.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("server.client.transport.time.sleep", sleep)
    monkeypatch.setattr("server.client.transport.time.monotonic", lambda: clock[0])
    transport = Transport(f"http://127.0.0.1:{free_port()}", None, 10.0, 5.0)
    with pytest.raises(Unreachable):
        transport.get("/api/states")
    assert sum(paused) == pytest.approx(10.0)
    assert max(paused) <= 2.0
