"""Downloads from a real server on this machine, whose answers each test scripts."""

import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools import download_data
from tools.download_data import CHUNK_BYTES, Part, Patience
from tools.make_sample import COLUMNS

PROJECT = Path(__file__).parents[2]
AT_ONCE = Patience(attempts=4, first_pause=0.0)
ONCE = Patience(attempts=1)
DEADLINE_SECONDS = 20.0


def table(rows: int = 400, first_year: int = 2011, **changed: str) -> bytes:
    """A CSV with the real header and `rows` rows from two years."""
    lines = [",".join(changed.get(name.strip(), name) for name in COLUMNS)]
    for row in range(rows):
        fields = [f'"{name}, row {row}"' for name in COLUMNS]
        fields[0] = str(first_year + row % 2)
        lines.append(",".join(fields))
    return ("\n".join(lines) + "\n").encode()


BODY = table()
NEWER = table(first_year=2013)
HALF = 16 * CHUNK_BYTES


@dataclass(frozen=True)
class Answer:
    """How the server treats one request.

    It is a good server unless told otherwise: it honours Range for as long as If-Range is
    its `etag` (or its date, where it has no strong one). `sent` bytes of the body leave, then
    the connection closes (None: all); `waits` is awaited before it does. A rest begins `shift`
    bytes before what was asked, has at most `piece` bytes, and `extra` follows it.
    """

    body: bytes = BODY
    status: int = 200
    etag: str | None = '"one"'
    date: str | None = None
    sent: int | None = None
    ranges: bool = True
    if_range: bool = True
    length: bool = True
    encoding: str | None = None
    waits: threading.Event | None = None
    shift: int = 0
    piece: int | None = None
    extra: bytes = b""

    def to(self, request: BaseHTTPRequestHandler) -> None:
        start = self.start(request)
        if self.status != 200:
            request.send_error(self.status)
        elif start is not None and start >= len(self.body):
            self.head(request, 416, 0, f"bytes */{len(self.body)}")
        elif start is not None:
            self.rest(request, start - self.shift)
        else:
            self.head(request, 200, len(self.body), None)
            self.send(request, self.body)

    def rest(self, request: BaseHTTPRequestHandler, start: int) -> None:
        rest = self.body[start:][: self.piece]
        span = f"bytes {start}-{start + len(rest) - 1}/{len(self.body)}"
        self.head(request, 206, len(rest), span)
        self.send(request, rest + self.extra)

    def start(self, request: BaseHTTPRequestHandler) -> int | None:
        """The first byte wanted, or None where the whole body is to be sent."""
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        same = request.headers.get("If-Range") in (self.etag, self.date) or not self.if_range
        return int(wanted[1]) if wanted and same and self.ranges else None

    def head(
        self, request: BaseHTTPRequestHandler, status: int, length: int, span: str | None
    ) -> None:
        request.send_response(status)
        fields = {
            "ETag": self.etag,
            "Last-Modified": self.date,
            "Content-Range": span,
            "Content-Length": str(length) if self.length else None,
            "Content-Encoding": self.encoding,
        }
        for name, value in fields.items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()

    def send(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        request.wfile.write(content if self.sent is None else content[: self.sent])
        if self.waits is not None:
            request.wfile.flush()
            self.waits.wait(DEADLINE_SECONDS)


class Publisher(ThreadingHTTPServer):
    """Gives each request the next answer of `script` and keeps the headers it came with."""

    daemon_threads = False  # closing the server joins its threads

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer] = []
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/rows.csv?accessType=DOWNLOAD"


class Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers.items()))
        self.server.script.pop(0).to(self)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="publisher")
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "downloaded" / "table.csv")


Run = Callable[..., int]


@pytest.fixture
def run(publisher: Publisher, part: Part) -> Run:
    """Runs the command against the scripted answers and returns its exit code."""

    def run(*script: Answer, patience: Patience = AT_ONCE) -> int:
        publisher.script[:] = script
        command = ["--url", publisher.url, "--output", str(part.output)]
        code = download_data.main(command, patience)
        assert publisher.script == [], "an answer was not asked for"
        return code

    return run


def files(part: Part) -> set[str]:
    return {path.name for path in part.output.parent.iterdir()}


def with_old_file(part: Part) -> bytes:
    part.output.parent.mkdir()
    part.output.write_bytes(b"the old file")
    return b"the old file"


def test_a_full_download_lands_whole_and_alone(run: Run, part: Part) -> None:
    assert run(Answer()) == 0
    assert part.output.read_bytes() == BODY
    assert files(part) == {"table.csv"}


def test_a_download_replaces_the_old_file(run: Run, part: Part) -> None:
    with_old_file(part)
    assert run(Answer()) == 0
    assert part.output.read_bytes() == BODY


def test_the_last_line_says_rows_years_size_and_hash(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run(Answer())
    last = capsys.readouterr().out.splitlines()[-1]
    assert "400 rows, years 2011 to 2012" in last
    assert f"{len(BODY):,} bytes" in last
    assert hashlib.sha256(BODY).hexdigest() in last


def test_the_plain_bytes_are_asked_for(run: Run, publisher: Publisher) -> None:
    run(Answer())
    assert publisher.asked[0]["Accept-Encoding"] == "identity"
    assert "Range" not in publisher.asked[0]


def test_a_dropped_connection_is_resumed_where_it_broke(
    run: Run, publisher: Publisher, part: Part
) -> None:
    assert run(Answer(sent=HALF), Answer()) == 0
    assert publisher.asked[1]["Range"] == f"bytes={HALF}-"
    assert publisher.asked[1]["If-Range"] == '"one"'
    assert part.output.read_bytes() == BODY


def test_a_drop_within_a_chunk_costs_at_most_that_chunk(
    run: Run, publisher: Publisher, part: Part
) -> None:
    assert run(Answer(sent=HALF + 100), Answer()) == 0
    assert publisher.asked[1]["Range"] in (f"bytes={HALF}-", f"bytes={HALF + 100}-")
    assert part.output.read_bytes() == BODY


def test_a_second_drop_is_resumed_too(run: Run, publisher: Publisher, part: Part) -> None:
    assert run(Answer(sent=HALF), Answer(sent=CHUNK_BYTES), Answer()) == 0
    assert publisher.asked[2]["Range"] == f"bytes={HALF + CHUNK_BYTES}-"
    assert part.output.read_bytes() == BODY


def test_the_next_run_resumes_what_an_earlier_one_left(
    run: Run, publisher: Publisher, part: Part, capsys: pytest.CaptureFixture[str]
) -> None:
    old = with_old_file(part)
    assert run(Answer(sent=HALF), patience=ONCE) == 1
    assert "running again resumes" in capsys.readouterr().err
    assert part.output.read_bytes() == old
    assert part.path.read_bytes() == BODY[:HALF]

    assert run(Answer()) == 0
    assert publisher.asked[1]["Range"] == f"bytes={HALF}-"
    assert part.output.read_bytes() == BODY
    assert files(part) == {"table.csv"}


def test_the_date_stands_in_for_a_weak_etag(run: Run, publisher: Publisher, part: Part) -> None:
    date = "Mon, 06 Jan 2025 10:00:00 GMT"
    good = Answer(etag='W/"one"', date=date)
    assert run(replace(good, sent=HALF), good) == 0
    assert publisher.asked[1]["If-Range"] == date
    assert part.output.read_bytes() == BODY


def test_without_etag_and_date_nothing_is_resumed(
    run: Run, publisher: Publisher, part: Part
) -> None:
    assert run(Answer(etag=None, sent=HALF), Answer(etag=None)) == 0
    assert "Range" not in publisher.asked[1]
    assert part.output.read_bytes() == BODY


def test_a_server_that_ignores_range_sends_all_and_nothing_is_doubled(
    run: Run, publisher: Publisher, part: Part
) -> None:
    assert run(Answer(sent=HALF), Answer(ranges=False)) == 0
    assert "Range" in publisher.asked[1]
    assert part.output.read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(run: Run, part: Part) -> None:
    assert run(Answer(sent=HALF), Answer(body=NEWER, etag='"two"')) == 0
    assert part.output.read_bytes() == NEWER


def test_a_rest_with_another_etag_is_never_appended(
    run: Run, publisher: Publisher, part: Part
) -> None:
    changed = Answer(body=NEWER, etag='"two"')
    assert run(Answer(sent=HALF), replace(changed, if_range=False), changed) == 0
    assert "Range" not in publisher.asked[2]
    assert part.output.read_bytes() == NEWER


NO_CONTINUATIONS = {
    "begins too early": Answer(shift=10),
    "begins too late": Answer(shift=-10),
    "too long": Answer(length=False, extra=b"2011,and more\n"),
    "packed": Answer(encoding="gzip"),
}


@pytest.mark.parametrize("name", NO_CONTINUATIONS)
def test_a_rest_that_is_no_continuation_makes_it_start_over(
    run: Run, publisher: Publisher, part: Part, name: str
) -> None:
    assert run(Answer(sent=HALF), NO_CONTINUATIONS[name], Answer()) == 0
    assert "Range" not in publisher.asked[2]
    assert part.output.read_bytes() == BODY


def test_a_rest_in_pieces_is_put_together(run: Run, publisher: Publisher, part: Part) -> None:
    assert run(Answer(sent=HALF), Answer(piece=CHUNK_BYTES), Answer()) == 0
    assert publisher.asked[2]["Range"] == f"bytes={HALF + CHUNK_BYTES}-"
    assert part.output.read_bytes() == BODY


def test_a_part_of_another_address_is_not_resumed(
    run: Run, publisher: Publisher, part: Part
) -> None:
    run(Answer(sent=HALF), patience=ONCE)
    note = part.note.read_text().replace("rows.csv", "other.csv")
    part.note.write_text(note)
    assert run(Answer()) == 0
    assert "Range" not in publisher.asked[1]


@pytest.mark.parametrize("note", ["", "{", "[]", '{"etag": "one"}'])
def test_a_part_with_an_unreadable_note_is_not_resumed(
    run: Run, publisher: Publisher, part: Part, note: str
) -> None:
    run(Answer(sent=HALF), patience=ONCE)
    part.note.write_text(note)
    assert run(Answer()) == 0
    assert "Range" not in publisher.asked[1]
    assert part.output.read_bytes() == BODY


def test_a_part_that_was_already_complete_is_not_fetched_again(
    run: Run, publisher: Publisher, part: Part, capsys: pytest.CaptureFixture[str]
) -> None:
    run(Answer(sent=HALF), patience=ONCE)
    part.path.write_bytes(BODY)
    assert run(Answer()) == 0
    assert publisher.asked[1]["Range"] == f"bytes={len(BODY)}-"
    assert "had arrived before" in capsys.readouterr().err
    assert part.output.read_bytes() == BODY


def test_a_part_that_the_file_does_not_reach_to_is_forgotten(
    run: Run, publisher: Publisher, part: Part
) -> None:
    shorter = Answer(body=table(rows=100))
    assert run(Answer(sent=HALF), shorter, shorter) == 0
    assert publisher.asked[1]["Range"] == f"bytes={HALF}-"
    assert "Range" not in publisher.asked[2]
    assert part.output.read_bytes() == shorter.body


def test_a_body_that_is_always_cut_ends_in_a_clear_error(
    run: Run, publisher: Publisher, part: Part, capsys: pytest.CaptureFixture[str]
) -> None:
    old = with_old_file(part)
    assert run(*[Answer(sent=CHUNK_BYTES)] * AT_ONCE.attempts) == 1
    assert len(publisher.asked) == AT_ONCE.attempts
    assert "gave up after 4 attempts" in capsys.readouterr().err
    assert part.output.read_bytes() == old
    assert part.path.read_bytes() == BODY[: 4 * CHUNK_BYTES]


def test_an_unknown_length_is_no_obstacle(run: Run, part: Part) -> None:
    assert run(Answer(length=False)) == 0
    assert part.output.read_bytes() == BODY


LAST_FIELD_CUT = len(BODY) - 3
SHORT_LAST_LINE = len(BODY) - 300


@pytest.mark.parametrize("sent", [LAST_FIELD_CUT, SHORT_LAST_LINE, len(BODY) - 1])
def test_a_cut_body_of_unknown_length_is_set_aside(run: Run, part: Part, sent: int) -> None:
    old = with_old_file(part)
    assert run(Answer(length=False, sent=sent)) == 1
    assert part.output.read_bytes() == old
    assert part.rejected.read_bytes() == BODY[:sent]
    assert files(part) == {"table.csv", "table.csv.rejected"}


def test_a_body_that_comes_packed_all_the_same_is_unpacked(run: Run, part: Part) -> None:
    assert run(Answer(body=gzip.compress(BODY), encoding="gzip")) == 0
    assert part.output.read_bytes() == BODY


def test_a_missing_file_is_an_error_at_once(
    run: Run, publisher: Publisher, part: Part, capsys: pytest.CaptureFixture[str]
) -> None:
    old = with_old_file(part)
    assert run(Answer(status=404)) == 1
    assert f"{publisher.url} answered 404 Not Found" in capsys.readouterr().err
    assert part.output.read_bytes() == old
    assert files(part) == {"table.csv"}


def test_a_busy_server_is_asked_again(run: Run, part: Part) -> None:
    assert run(Answer(status=503), Answer(status=429), Answer()) == 0
    assert part.output.read_bytes() == BODY


def test_an_error_in_mid_way_keeps_the_part(run: Run, part: Part) -> None:
    assert run(Answer(sent=HALF), Answer(status=500), Answer()) == 0
    assert part.output.read_bytes() == BODY


def test_a_server_that_is_not_there_is_a_clear_error(
    publisher: Publisher, part: Part, capsys: pytest.CaptureFixture[str]
) -> None:
    with Publisher() as closed:
        url = closed.url
    assert download_data.main(["--url", url, "--output", str(part.output)], AT_ONCE) == 1
    assert "gave up after 4 attempts" in capsys.readouterr().err
    assert publisher.asked == []


@pytest.mark.parametrize("url", ["", "rows.csv", "http://", "nowhere:80"])
def test_an_address_that_is_none_is_a_clear_error(
    url: str, part: Part, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download_data.main(["--url", url, "--output", str(part.output)], ONCE) == 1
    assert capsys.readouterr().err.startswith("error: cannot download")


RAGGED = BODY + b"2011,2011,US\n"
UNUSABLE = {
    "wrong header": (table(Question="Frage"), "the header lacks Question"),
    "web page": (b"<html>please log in</html>\n", "the header lacks YearStart"),
    "ragged row": (RAGGED, "line 402 has 3 fields instead of 33"),
    "row too long": (BODY + BODY.splitlines()[-1] + b",more\n", "line 402 has 34 fields"),
    "open quote": (BODY + b'2011,"US', "is not CSV"),
    "no row": (table(rows=0), "a header but no row"),
    "nothing": (b"", "the header lacks"),
    "no year": (table().replace(b"\n2011,", b"\nsoon,").replace(b"\n2012,", b"\n,"), "a year"),
    "not text": (BODY + b"\xff\xfe\n", "not UTF-8"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_file_is_set_aside_and_the_old_one_stays(
    run: Run, part: Part, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    body, reason = UNUSABLE[name]
    old = with_old_file(part)
    assert run(Answer(body=body)) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert str(part.rejected) in error
    assert part.output.read_bytes() == old
    assert part.rejected.read_bytes() == body
    assert files(part) == {"table.csv", "table.csv.rejected"}


def test_a_byte_order_mark_and_other_columns_are_no_fault(run: Run, part: Part) -> None:
    body = b"\xef\xbb\xbf" + table(Gender="Sex", Question=" Question ", Total="Everybody")
    assert run(Answer(body=body)) == 0
    assert part.output.read_bytes() == body


def test_a_field_may_be_as_long_as_the_server_takes_it(run: Run, part: Part) -> None:
    body = table(Gender="x" * 200_000)
    assert run(Answer(body=body)) == 0
    assert part.output.read_bytes() == body


def test_a_folder_that_cannot_be_made_is_a_clear_error(
    run: Run, part: Part, capsys: pytest.CaptureFixture[str]
) -> None:
    part.output.parent.write_text("a file where the folder should be")
    assert run() == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_pauses_grow_and_are_bounded() -> None:
    patience = Patience(attempts=6, first_pause=1.0, longest_pause=5.0)
    assert list(patience.pauses()) == [1.0, 2.0, 4.0, 5.0, 5.0]


# A shell may have started the tests with SIGINT ignored, which a child would inherit.
COMMAND = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("tools.download_data", run_name="__main__")
"""


def test_ctrl_c_keeps_the_part_for_the_next_run(run: Run, publisher: Publisher, part: Part) -> None:
    large = table(rows=4000)
    hold = threading.Event()
    publisher.script[:] = [Answer(body=large, sent=len(large) - 1000, waits=hold)]
    command = [sys.executable, "-c", COMMAND, "--url", publisher.url]
    command += ["--output", str(part.output)]
    with subprocess.Popen(
        command, cwd=PROJECT, env=dict(os.environ), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(lambda: part.size() > 0)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            process.kill()
            hold.set()
    kept = part.size()
    assert process.returncode == 130
    assert errors == (f"stopped; {kept:,} bytes are kept in {part.path}; running again resumes\n")

    assert run(Answer(body=large)) == 0
    assert publisher.asked[1]["Range"] == f"bytes={kept}-"
    assert part.output.read_bytes() == large


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail when it does not within the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.01)
