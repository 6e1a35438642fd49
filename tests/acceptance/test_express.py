"""The short way and the long way answer the same, byte for byte, in whatever state the server is.

A plain request goes the short way; one header that means nothing makes its twin go the long way.
"""

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.express import LONGEST_ANSWER
from tests.support.disks import small_disk
from tests.support.raw_http import connect, exchange, read_all, send_and_vanish, statuses
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

TOKEN = "correct-horse-battery-staple"
LONG_WAY = "X-Long-Way: 1"
ECHO = {"value": 1}
numbers = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("express")
    with running_server(folder, configuration=FOR_TESTS) as running:
        yield running


def request_of(path: str, body: Any = None, *headers: str, host: str = "localhost") -> bytes:
    """A plain request, but for these headers: a POST where there is a body, else a GET."""
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {host}", *headers]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if body is None:
        content = b""
    else:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def get_result(job_id: int, *headers: str) -> bytes:
    return request_of(f"/api/get_results/{job_id}", None, *headers)


def without_marks(answer: bytes) -> bytes:
    """An answer without what differs from one to the next: date, id of the request, job."""
    answer = re.sub(rb"\r\nDate: [^\r]+ GMT\r\n", b"\r\nDate: D\r\n", answer)
    answer = re.sub(rb"\r\nX-Request-Id: [\w.-]+\r\n", b"\r\nX-Request-Id: I\r\n", answer)
    answer = re.sub(rb"/api/get_results/\d+", b"/api/get_results/N", answer)
    length = re.search(rb'"job_id":(\d+)', answer)
    if length:
        answer = re.sub(rb"Content-Length: \d+", b"Content-Length: L", answer)
    return re.sub(rb'"job_id":\d+', b'"job_id":N', answer)


def told(server: RunningServer, name: str) -> list[str]:
    """What the log says of a request, without what differs from one to the next."""
    lines = [line for line in server.log().splitlines() if name in line]
    unmarked = [re.sub(r"^\S+ \S+", "", line).replace(name, "ID") for line in lines]
    return sorted(re.sub(r"job \d+", "job N", line) for line in unmarked)


def requests_counted(server: RunningServer) -> Counter[tuple[str, ...]]:
    """How often each method, route and status has been answered."""
    text = server.ask("GET", "/metrics").content.decode()
    return Counter(
        {
            (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "sportiv_http_requests_total" and sample.labels["route"] != "/metrics"
        }
    )


def both(
    server: RunningServer, path: str, body: Any = None, *headers: str, host: str = "localhost"
) -> bytes:
    """The answer that both ways give, but for its marks; they are held against each other."""
    answers, logs, counted = [], [], [requests_counted(server)]
    for way in ((), (LONG_WAY,)):
        name = f"twin-{next(numbers)}-"
        named = request_of(path, body, *headers, f"X-Request-Id: {name}", *way, host=host)
        answer = exchange(server, named)
        assert f"X-Request-Id: {name}\r\n".encode() in answer
        answers.append(without_marks(answer))
        if body is not None and answer.startswith(b"HTTP/1.1 202"):
            server.result(json.loads(answer.partition(b"\r\n\r\n")[2])["job_id"])
        has_job = body is not None and answer.startswith(b"HTTP/1.1 20")
        wait_for(
            lambda name=name, lines=1 + has_job: len(told(server, name)) >= lines,
            "the log tells of it, and of its job",
        )
        logs.append(told(server, name))
        counted.append(requests_counted(server))
    short, long = (after - before for before, after in pairwise(counted))
    polls = ("GET", "/api/get_results/<job_id>", "200")
    if body is not None:
        del short[polls], long[polls]
    assert answers[0] == answers[1]
    assert logs[0] == logs[1]
    assert sum(short.values()) == 1
    assert short == long
    return answers[0]


# -- the same answers -----------------------------------------------------------------


def test_a_job_is_accepted_alike(server: RunningServer) -> None:
    answer = both(server, "/api/echo", ECHO)
    assert answer.startswith(b"HTTP/1.1 202 ACCEPTED\r\nServer: sportiv\r\n")
    assert b"\r\nConnection: keep-alive\r\nLocation: /api/get_results/N\r\n" in answer


@pytest.mark.parametrize("name", ["{}", "job_id_{}"])
def test_a_result_is_read_alike(server: RunningServer, name: str) -> None:
    job_id = server.submit("echo", value=[1, "ä"])
    server.result(job_id)
    answer = both(server, f"/api/get_results/{name.format(job_id)}")
    assert answer.endswith('{"status":"done","data":[1,"ä"]}'.encode())


def test_a_job_that_runs_or_has_failed_is_read_alike(server: RunningServer, tmp_path: Path) -> None:
    running = server.submit("wait_for_file", path=str(tmp_path / "gate"))
    assert both(server, f"/api/get_results/{running}").endswith(b'\r\n\r\n{"status":"running"}')
    (tmp_path / "gate").touch()
    failed = server.submit("fail", value="of no use")
    assert server.result(failed)["status"] == "error"
    assert b"of no use" in both(server, f"/api/get_results/{failed}")


@pytest.mark.parametrize("value", [LONGEST_ANSWER - 100, LONGEST_ANSWER, 8 * 2**20])
def test_long_results_are_read_alike(server: RunningServer, value: int) -> None:
    job_id = server.submit("huge", value=value)
    server.result(job_id)
    assert both(server, f"/api/get_results/{job_id}").count(b"x" * value) == 1


@pytest.mark.parametrize("value", [LONGEST_ANSWER - 100, LONGEST_ANSWER, 8 * 2**20])
def test_long_results_are_waited_for_alike(server: RunningServer, value: int) -> None:
    answer = both(server, "/api/huge", {"value": value}, "Prefer: wait=30")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nPreference-Applied: wait=30\r\n" in answer
    assert answer.count(b"x" * value) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/best5", {"question": "obesty"}, 400),
        ("/api/best5", {"question": None}, 400),
        ("/api/echo", b"{", 400),
        ("/api/echo", b"\xff", 400),
        ("/api/echo", {"timeout_s": 10**6}, 400),
        ("/api/echo", b"[" * 30_000 + b"]" * 30_000, 400),
        ("/api/touchy", {}, 500),
        ("/api/no_such_statistic", {}, 404),
        ("/api/jobs", {}, 405),
        ("/api/get_results/999999", None, 404),
        ("/api/get_results/999999999999999999", None, 404),
    ],
)
def test_what_is_wrong_is_told_alike(
    server: RunningServer, path: str, body: Any, status: int
) -> None:
    before = len(server.get("/api/jobs")["data"])
    assert statuses(both(server, path, body)) == [status]
    assert len(server.get("/api/jobs")["data"]) == before
    assert server.data("echo", value=1) == 1


@pytest.mark.parametrize("way", [(), (LONG_WAY,)])
def test_a_result_that_is_damaged_or_gone_is_answered_alike(
    server: RunningServer, way: tuple[str, ...]
) -> None:
    job_id = server.submit("echo", value=5)
    server.result(job_id)
    file = server.results / f"job_id_{job_id}.json"
    file.write_bytes(b'{"status":"done"')

    def ask() -> bytes:
        return exchange(server, get_result(job_id, *way))

    right = (b'{"status":"running"}', b'{"status":"done","data":5}')
    wait_for(lambda: ask().endswith(right), "the job runs again")
    assert server.result(job_id) == {"status": "done", "data": 5}
    file.unlink()
    assert statuses(ask()) == [404]


# -- who may call ---------------------------------------------------------------------


def test_the_token_counts_alike(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_TOKEN=TOKEN) as guarded:
        right = f"Authorization: Bearer {TOKEN}"
        answers = {}
        for name, header in {"right": [right], "none": [], "wrong": [f"{right}x"]}.items():
            for path, body in (("/api/echo", ECHO), ("/api/get_results/1", None)):
                pair = {
                    without_marks(exchange(guarded, request_of(path, body, *header, *way)))
                    for way in ((), (LONG_WAY,))
                }
                assert len(pair) == 1 or (name, body) == ("right", None)  # running, then done
                answers[name, path] = statuses(pair.pop())
        assert answers["right", "/api/echo"] == [202]
        assert answers["right", "/api/get_results/1"] == [200]
        for name in ("none", "wrong"):
            assert answers[name, "/api/echo"] == answers[name, "/api/get_results/1"] == [401]


@pytest.mark.parametrize("body", [ECHO, None])
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost, x"])
def test_a_foreign_host_is_refused_alike(server: RunningServer, host: str, body: Any) -> None:
    path = "/api/get_results/1" if body is None else "/api/echo"
    assert statuses(both(server, path, body, host=host)) == [403]


# -- states of the server -------------------------------------------------------------


def test_a_full_queue_and_a_drain_are_told_alike(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_MAX_QUEUED="2") as server:
        held = [server.submit("wait_for_file", path=str(gate)) for _ in range(2)]
        answer = both(server, "/api/echo", ECHO)
        assert statuses(answer) == [503]
        assert b"wait already" in answer
        server.get("/api/graceful_shutdown")
        answer = both(server, "/api/echo", ECHO)
        assert statuses(answer) == [503]
        assert b'"job_id":N,' not in answer
        assert b'"job_id":-1' in answer
        assert both(server, f"/api/get_results/{held[0]}").endswith(b'{"status":"running"}')
        gate.touch()
        assert [server.result(each)["status"] for each in held] == ["done"] * 2


def test_a_question_asked_again_has_the_same_answer_at_once(tmp_path: Path) -> None:
    with running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_CACHE="1") as server:
        first = server.data("pid")
        assert both(server, "/api/pid", {}).startswith(b"HTTP/1.1 202 ")
        assert [server.result(job_id)["data"] for job_id in (2, 3)] == [first] * 2
        known = [server.get(f"/api/jobs/{job_id}")["data"]["cached_from"] for job_id in (1, 2, 3)]
        assert known == [None, 1, 2]


def test_a_disk_that_refuses_is_told_alike_and_uses_no_id(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        results = str(disk.path / "results")
        with running_server(
            tmp_path, configuration=FOR_TESTS, SPORTIV_RESULTS_DIR=results
        ) as server:
            before = server.submit("echo", value="before")
            kept = server.result(before)
            disk.fill()
            large = {"value": "x" * 60_000}
            assert statuses(both(server, "/api/echo", large)) == [507]
            assert server.get(f"/api/get_results/{before}") == kept
            disk.free()
            assert server.submit("echo", value=2) == before + 1
            assert server.result(before + 1) == {"status": "done", "data": 2}


def test_the_short_way_is_open_while_every_thread_is_busy(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with (
        running_server(tmp_path, configuration=FOR_TESTS, SPORTIV_THREADS="1") as server,
        connect(server) as waiting,
        connect(server) as behind,
    ):
        body = {"path": str(gate), "value": "waited"}
        waiting.sendall(request_of("/api/wait_for_file", body, "Prefer: wait=59.5"))
        wait_for(Path(f"{gate}.begun").exists, "the only thread waits for the job")
        behind.sendall(request_of("/api/echo", ECHO, LONG_WAY))
        answer = exchange(server, request_of("/api/echo", ECHO))
        assert answer.endswith(b'{"job_id":2,"status":"running"}')
        wait_for(lambda: exchange(server, get_result(2)).endswith(b'"data":1}'), "it is done")
        gate.touch()
        assert receive_answer(waiting).endswith(b'{"status":"done","data":"waited"}')
        assert receive_answer(behind).endswith(b'{"job_id":3,"status":"running"}')


# -- connections ----------------------------------------------------------------------


def receive_answer(client: socket.socket) -> bytes:
    """The next answer on a connection, and nothing behind it."""
    content = b""
    while b"\r\n\r\n" not in content:
        content += client.recv(1)
    length = int(re.search(rb"Content-Length: (\d+)", content)[1])
    while len(content) < content.index(b"\r\n\r\n") + 4 + length:
        content += client.recv(length)
    return content


def test_one_connection_takes_both_ways_in_turn(server: RunningServer) -> None:
    with connect(server) as client:
        ids = []
        for number in range(20):
            way = [LONG_WAY] if number % 3 == 0 else []
            client.sendall(request_of("/api/echo", {"value": number}, *way))
            ids.append(json.loads(receive_answer(client).partition(b"\r\n\r\n")[2])["job_id"])
            client.sendall(get_result(ids[-1], *([LONG_WAY] if number % 2 else [])))
            assert receive_answer(client).startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(set(ids)) == 20
    assert [server.result(each)["data"] for each in ids] == list(range(20))


def test_requests_of_both_ways_that_come_together_are_answered_in_order(
    server: RunningServer,
) -> None:
    first = server.submit("echo", value=0)
    server.result(first)
    posts = [
        request_of("/api/echo", {"value": number}, *([LONG_WAY] if number % 2 else []))
        for number in range(1, 30)
    ]
    mixed = [content for each in posts for content in (each, get_result(first), b"\r\n")]
    mixed += [request_of("/api/echo", b"{"), get_result(first)]
    content = exchange(server, b"".join(mixed))
    assert statuses(content) == [202, 200] * 29 + [400, 200]
    ids = list(map(int, re.findall(rb'"job_id":(\d+)', content)))
    assert [server.result(each)["data"] for each in ids] == list(range(1, 30))


def test_what_comes_while_a_request_is_answered_waits_for_its_turn(server: RunningServer) -> None:
    post = request_of("/api/echo", ECHO)
    with connect(server) as client:
        client.sendall(post + post[:40])
        receive_answer(client)
        client.sendall(post[40:] + post[:-1])
        receive_answer(client)
        client.sendall(post[-1:])
        assert receive_answer(client).startswith(b"HTTP/1.1 202 ")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


def test_half_a_request_is_no_job_whether_its_client_stays_or_goes(server: RunningServer) -> None:
    before = len(server.get("/api/jobs")["data"])
    post = request_of("/api/echo", ECHO)
    assert statuses(exchange(server, post[:-1])) == [400]
    assert exchange(server, post[:30]) == b""
    send_and_vanish(server, post[:-1])
    send_and_vanish(server, post[:30])
    assert server.submit("echo", value=1) == before + 1


def test_a_client_that_vanishes_with_its_request_leaves_a_whole_job_or_none(
    server: RunningServer,
) -> None:
    before = len(server.get("/api/jobs")["data"])
    for number in range(50):
        send_and_vanish(server, request_of("/api/echo", {"value": number}) * 2)
    last = server.submit("echo", value="last")
    for job_id in range(before + 1, last + 1):
        assert server.result(job_id)["status"] == "done"


def test_many_clients_at_once_each_have_ids_and_lines_of_their_own(server: RunningServer) -> None:
    clients, times = 64, 10

    def ask(number: int) -> list[int]:
        ids = []
        with connect(server) as client:
            for turn in range(times):
                named = f"X-Request-Id: many-{number}-{turn}-"
                way = [LONG_WAY] if number % 8 == 0 else []
                client.sendall(request_of("/api/echo", {"value": [number, turn]}, named, *way))
                answer = receive_answer(client)
                assert f"{named}\r\n".encode() in answer
                ids.append(json.loads(answer.partition(b"\r\n\r\n")[2])["job_id"])
        return ids

    with ThreadPoolExecutor(clients) as threads:
        found = list(threads.map(ask, range(clients)))
    assert len({job_id for ids in found for job_id in ids}) == clients * times
    for number, ids in enumerate(found):
        for turn, job_id in enumerate(ids):
            assert server.result(job_id) == {"status": "done", "data": [number, turn]}
    requests = re.findall(r"POST /api/echo .* job (\d+) -> 202.*(many-\d+-\d+-)", server.log())
    assert len(requests) == len(set(requests)) == clients * times
