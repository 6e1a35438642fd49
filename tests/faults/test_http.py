"""Requests that are wrong, odd or too many, sent as bytes to a real server.

Slow clients have a file of their own, `test_slow_clients.py`, and so have those who may not
call at all, `tests/acceptance/test_strangers.py`.
"""

import ctypes
import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.stats import STATISTICS
from tests.support.raw_http import exchange, send_and_vanish, statuses
from tests.support.servers import FOR_TESTS, RunningServer, running_server, wait_for

OBESITY = "Percent of adults aged 18 years and older who have obesity"
BODY = json.dumps({"question": OBESITY}).encode()
HEAD = b"POST /api/best5 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
JSON = b"Content-Type: application/json\r\n"
IN_OPEN = 0x20

bounded = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("http")) as running:
        yield running
        assert running.ask("GET", "/readyz").status == 200
        assert "the server has made a mistake" not in running.log()
        assert "Traceback" not in running.log() + running.errors.read_text()


def number_of_jobs(server: RunningServer) -> int:
    return len(server.get("/api/jobs")["data"])


def resident_kib(server: RunningServer) -> int:
    """The memory of the server process."""
    master = server.process.pid
    pid = int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1])


# -- a full queue ---------------------------------------------------------------------


def test_a_full_queue_refuses_without_growing_and_reads_go_on(tmp_path: Path) -> None:
    with running_server(
        tmp_path, configuration=FOR_TESTS, SPORTIV_MAX_QUEUED="20", SPORTIV_WORKERS="1"
    ) as server:
        end = tmp_path / "end"
        held = [server.submit("wait_for_file", path=str(end)) for _ in range(20)]

        def refuse(times: int) -> None:
            for _ in range(times):
                answer = server.ask("POST", "/api/echo", {"value": "x" * 10_000})
                assert answer.status == 503
                assert int(answer.headers["retry-after"]) >= 1
                assert "wait already" in answer.json["reason"]

        refuse(200)
        before = resident_kib(server)
        refuse(800)
        assert resident_kib(server) - before < 4096  # the bodies alone were 8 MB
        assert server.get("/healthz") == {"status": "ok"}
        assert server.get(f"/api/get_results/{held[-1]}") == {"status": "running"}
        assert number_of_jobs(server) == 20
        end.touch()
        assert all(server.result(job_id)["status"] == "done" for job_id in held)
        assert server.data("echo", value=1) == 1


# -- bodies ---------------------------------------------------------------------------

LENGTH = b"Content-Length: %d\r\n" % len(BODY)
WRONG_BODIES: dict[str, tuple[bytes, int]] = {
    "too large": (JSON + b"Content-Length: 65537\r\n\r\n" + b" " * 65537, 413),
    "said to be too large": (JSON + b"Content-Length: 999999999999\r\n\r\n", 413),
    "no length": (JSON + b"\r\n", 411),
    "chunked": (JSON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 411),
    "chunked with a length": (
        JSON + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    "packed in transfer": (JSON + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "shorter than said": (JSON + b"Content-Length: 1000\r\n\r\n" + BODY, 400),
    "longer than said": (JSON + b"Content-Length: 10\r\n\r\n" + BODY, 400),
    "two lengths": (JSON + LENGTH + b"Content-Length: 2\r\n\r\n" + BODY, 400),
    "a negative length": (JSON + b"Content-Length: -5\r\n\r\n" + BODY, 400),
    "a length in words": (JSON + b"Content-Length: five\r\n\r\n" + BODY, 400),
    "a length of many digits": (JSON + b"Content-Length: " + b"9" * 4000 + b"\r\n\r\n", 413),
    "another type": (b"Content-Type: text/plain\r\n" + LENGTH + b"\r\n" + BODY, 415),
    "a form": (
        b"Content-Type: application/x-www-form-urlencoded\r\n" + LENGTH + b"\r\n" + BODY,
        415,
    ),
    "compressed": (JSON + b"Content-Encoding: gzip\r\n" + LENGTH + b"\r\n" + BODY, 415),
    "twice compressed": (JSON + b"Content-Encoding: br, gzip\r\n" + LENGTH + b"\r\n" + BODY, 415),
    "not to be continued": (JSON + b"Expect: a miracle\r\n" + LENGTH + b"\r\n" + BODY, 417),
}


@pytest.mark.parametrize("kind", WRONG_BODIES)
def test_a_body_that_is_not_as_it_should_be_is_refused(server: RunningServer, kind: str) -> None:
    rest, status = WRONG_BODIES[kind]
    before = number_of_jobs(server)
    content = exchange(server, HEAD + rest)
    assert statuses(content)[:1] == [status]
    assert json.loads(content.partition(b"\r\n\r\n")[2])["status"] == "error"
    assert number_of_jobs(server) == before


def test_nothing_can_be_smuggled_in_behind_a_request(server: RunningServer) -> None:
    hidden = b"GET /api/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for framing in (
        b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(hidden),
        b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(hidden),
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding : chunked\r\nContent-Length: 0\r\n",
        b"X: y\r\n Content-Length: 0\r\n",
        b"Content-Length: 70000\r\n",
    ):
        head = b"POST /api/best5 HTTP/1.1\r\nHost: localhost\r\n" + JSON + framing + b"\r\n"
        answered = statuses(exchange(server, head + hidden))
        assert len(answered) == 1
        assert 400 <= answered[0] < 500
    assert "/api/smuggled" not in server.log()


WRONG_JSON: dict[str, tuple[bytes, str]] = {
    "not closed": (BODY[:-1], "not JSON"),
    "two values": (BODY + BODY, "not JSON"),
    "NaN": (b'{"question": NaN}', "NaN"),
    "infinity": (b'{"question": "x", "priority": -Infinity}', "Infinity"),
    "deep lists": (b"[" * 32_000 + b"]" * 32_000, "deep"),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "deep"),
    "not UTF-8": (b'{"question": "\xff\xfe"}', "UTF-8"),
    "UTF-16": (BODY.decode().encode("utf-16"), "UTF-8"),
    "a lone surrogate": (b'{"question": "\\udfff"}', "surrogate"),
    "a surrogate in a name": (b'{"\\ud800": 1}', ""),
    "a huge integer": (b'{"question": "x", "priority": ' + b"9" * 5000 + b"}", ""),
    "a huge exponent": (b'{"question": "x", "timeout_s": 1e999}', ""),
    "a wrong type": (b'{"question": ["x"]}', "question"),
    "a wrong type inside": (b'{"question": "x", "states": [1]}', "states"),
    "an unknown field": (b'{"question": "x", "quuestion": "x"}', "quuestion"),
    "a field twice": (b'{"question": "x", "question": "x"}', "twice"),
    "null": (b"null", "object"),
    "a list": (b"[]", "object"),
    "a number": (b"7", "object"),
    "nothing": (b"", ""),
    "a NUL": (b"\x00", "not JSON"),
    "an unknown question": (b'{"question": "obesty"}', OBESITY),
    "a question in capitals": (json.dumps({"question": OBESITY.upper()}).encode(), OBESITY),
    "a question with spaces": (json.dumps({"question": f" {OBESITY} "}).encode(), OBESITY),
    "a state that is none": (
        json.dumps({"question": OBESITY, "states": ["Ohoi"]}).encode(),
        "'Ohio'",
    ),
}


@pytest.mark.parametrize("kind", WRONG_JSON)
def test_json_that_is_none_or_means_nothing_is_refused_in_words(
    server: RunningServer, kind: str
) -> None:
    body, told = WRONG_JSON[kind]
    before = number_of_jobs(server)
    answer = server.ask("POST", "/api/best5", body)
    assert answer.status == 400
    assert told in answer.json["reason"]
    assert number_of_jobs(server) == before


# -- job ids --------------------------------------------------------------------------


@contextmanager
def noting_opened(folder: Path) -> Iterator[Callable[[], set[str]]]:
    """What in `folder` is opened meanwhile, by anyone."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0

    def opened() -> set[str]:
        names = set()
        try:
            events = os.read(descriptor, 65536)
        except BlockingIOError:
            return names
        while events:
            (length,) = struct.unpack_from("I", events, 12)
            names.add(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
        return names

    try:
        assert libc.inotify_add_watch(descriptor, os.fsencode(folder), IN_OPEN) >= 0
        yield opened
    finally:
        os.close(descriptor)


ODD_IDS = [
    *("../secret", "..%2fsecret", "%2e%2e/secret", "%2e%2e%2fsecret", "....//secret", "secret"),
    *("0", "-1", "+1", "007", "1.0", "1e0", "0x1", " 1", "1 ", "1/", "/1", "1?", "1;a", "~"),
    *("\u0667", "\uff11", "\u00b2", "9" * 30, "9" * 900, "job_id_", "job_id_0", "job_id_\u0667"),
    *("JOB_ID_1", "job_id_1.json", "1\x00", "1\r\nFORGED", "1\nFORGED", "\r\nFORGED", "\x1b[31m"),
    *("\u2028FORGED", "%00", "1%00.json", "%ff", "%c0%ae%c0%ae/secret", "null", "NaN", "*", "{}"),
]


@pytest.mark.parametrize("job_id", ODD_IDS, ids=lambda text: ascii(text)[:40])
@pytest.mark.parametrize(
    ("method", "before"),
    [("GET", "/api/get_results/"), ("GET", "/api/jobs/"), ("DELETE", "/api/jobs/")],
)
def test_an_odd_id_is_unknown_opens_nothing_and_is_logged_on_one_line(
    server: RunningServer, method: str, before: str, job_id: str
) -> None:
    outside = server.results.parent / "secret"
    outside.write_text("{}")
    path = before + quote(job_id, safe="%/~*;")
    mark = f"mark={method}{before}{job_id!a}".encode().hex()
    with noting_opened(outside.parent) as opened:
        answer = server.ask(method, f"{path}?{mark}")
        assert answer.status == 404
        assert answer.json == {"status": "error", "reason": "Invalid job_id"}
        assert opened() == set()
        outside.read_text()
        assert opened() == {"secret"}
    wait_for(lambda: mark in server.log(), "the request is logged")
    (line,) = (line for line in server.log().split("\n") if mark in line)
    assert line.isprintable()
    assert not any(line.startswith("FORGED") for line in server.log().splitlines())


# -- clients that go ------------------------------------------------------------------


def test_jobs_of_clients_that_have_gone_end_like_others(server: RunningServer) -> None:
    request = HEAD + JSON + LENGTH + b"\r\n" + BODY
    before = number_of_jobs(server)
    for _ in range(50):
        send_and_vanish(server, request)
        send_and_vanish(server, request[:-1])
    wait_for(lambda: server.get("/api/num_jobs")["data"] == 0, "no job is left")
    last = server.submit("best5", question=OBESITY)
    assert before < last <= before + 51  # half a request is no job
    assert all(server.result(job_id)["status"] == "done" for job_id in range(before + 1, last + 1))


# -- anything at all ------------------------------------------------------------------

PATHS = [
    *("/", "//", "/healthz", "/api/jobs", "/api/jobs?limit=", "/api/jobs?after=-1", "/api/pool"),
    *("/api/get_results/1", "/api/get_results/%", "/api/jobs/7", "/api/best5", "//api/trend"),
    *("/api/nothing", "*", "http://localhost/healthz", "localhost:80", "/\xff", "/%ff%00%0d"),
]
METHODS = ["GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS", "CONNECT", "TRACE", "get", "G(T", ""]
NAMES = [
    *("Host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Expect"),
    *("Accept", "Origin", "Sec-Fetch-Site", "Authorization", "Content-Encoding", "Upgrade"),
    *("X-Forwarded-Proto", "Script_Name", "SCRIPT-NAME", "Cookie", "Range", "Forwarded", "X"),
]
VALUES = [
    *(b"localhost", b"0", b"2", b"5", b"-1", b"70000", b"chunked", b"gzip", b"close", b"x" * 9000),
    *(b"application/json", b"application/problem+json;q=x", b"100-continue", b"h2c", b"[::1", b"*"),
    *(b"keep-alive", b"https", b"/api", b"\xff\xfe", b"bytes=0-", b"a=b; c", b"", b"Bearer \xe9"),
]
words = st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace"))
header = st.tuples(
    st.sampled_from(NAMES).map(str.encode) | words,
    st.sampled_from([b": ", b":", b" : ", b"", b":\t"]),
    st.sampled_from(VALUES) | words | st.binary(max_size=20),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n "]),
).map(b"".join)
first_line = st.tuples(
    st.sampled_from(METHODS).map(str.encode),
    st.just(b" "),
    st.sampled_from(PATHS).map(lambda path: path.encode("latin-1")) | words,
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b" HTTP/9", b""]),
    st.just(b"\r\n"),
).map(b"".join)
body = st.sampled_from([b"", b"{}", BODY, b"2\r\n{}\r\n0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"])
whole = st.tuples(
    first_line, st.lists(header, max_size=6).map(b"".join), st.just(b"\r\n"), body
).map(b"".join)
anything = st.lists(whole | st.binary(max_size=60), min_size=1, max_size=4).map(b"".join)


@bounded
@given(content=anything)
def test_no_bytes_whatever_make_the_server_fail(server: RunningServer, content: bytes) -> None:
    answered = statuses(exchange(server, content))
    assert all(status < 500 for status in answered), answered
    assert server.get("/healthz") == {"status": "ok"}


FIELDS = sorted(
    {field for statistic in STATISTICS.values() for field in statistic.request.__struct_fields__}
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([OBESITY, "Ohio", "state", "year", "stratum", 2015, 0.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@bounded
@given(
    name=st.sampled_from(sorted(STATISTICS)),
    fields=st.dictionaries(st.sampled_from(FIELDS), values, max_size=4),
)
def test_no_fields_whatever_make_the_server_fail(
    server: RunningServer, name: str, fields: dict[str, Any]
) -> None:
    answer = server.ask("POST", f"/api/{name}", {"question": OBESITY} | fields)
    assert answer.status in (202, 400), answer
    if answer.status == 202:
        assert server.result(answer.json["job_id"])["status"] in ("done", "error")
