"""Each line of the log is one line, in GMT, and a log that cannot be written harms nobody."""

import io
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gunicorn.glogging
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import logging_setup
from server.logging_setup import BACKUPS, LOG_NAME, begin_new_log, escape, fields, logging_to

ANY_TEXT = st.text(st.characters())  # lone surrogates included

log = logging.getLogger("sportiv.test")


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    logger = logging.getLogger("sportiv")
    before = logger.propagate, logger.level
    yield
    logger.propagate, logger.level = before


def lines_of(folder: Path) -> list[str]:
    return (folder / LOG_NAME).read_text(encoding="utf-8").split("\n")[:-1]


def texts_of(folder: Path) -> list[str]:
    return [line.split(" ", 2)[2] for line in lines_of(folder)]


# -- one line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain text, 100 %", "plain text, 100 %"),
        ("naïve café 東京 🏃", "naïve café 東京 🏃"),
        ("two\nlines", r"two\nlines"),
        ("two\r\nlines", r"two\r\nlines"),
        ("a\tb", r"a\tb"),
        ("nul\0", r"nul\x00"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x7f \x85 \x9b", r"\x7f \x85 \x9b"),
        ("\u2028 \u2029", r"\u2028 \u2029"),
        ("\ud800 \udfff", r"\ud800 \udfff"),
        ("back\\slash", r"back\\slash"),
        (r"not a\nline end", r"not a\\nline end"),
    ],
)
def test_what_would_break_a_line_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(ANY_TEXT)
def test_any_text_becomes_one_line_without_control_characters(text: str) -> None:
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", escaped)
    escaped.encode()  # fails for half a surrogate pair


@given(ANY_TEXT)
def test_no_two_texts_look_alike(text: str) -> None:
    assert unescape(escape(text)) == text


def unescape(text: str) -> str:
    plain = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
    return re.sub(
        r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|(.))",
        lambda found: plain[found[3]] if found[3] else chr(int(found[1] or found[2], 16)),
        text,
    )


@given(ANY_TEXT)
def test_a_value_cannot_forge_a_line(text: str) -> None:
    record = logging.LogRecord("sportiv", logging.INFO, "", 0, "value %s", (text,), None)
    line = logging_setup.LogFormatter().format(record)
    assert "\n" not in line
    assert line.endswith(f" INFO value {escape(text)}")


@given(ANY_TEXT)
def test_a_request_id_ends_the_line_and_cannot_forge_one(text: str) -> None:
    record = logging.makeLogRecord({"msg": "said", "levelname": "INFO", **fields(request_id=text)})
    line = logging_setup.LogFormatter().format(record)
    assert "\n" not in line
    assert line.endswith(f" INFO said [{escape(text)}]" if text else " INFO said")


# -- JSON -----------------------------------------------------------------------------


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_is_told_in_json_as_it_was_on_one_line_of_ascii(text: str, value: str) -> None:
    about = fields(reason=value)
    record = logging.makeLogRecord({"msg": "%s", "args": (text,), "name": "sportiv.x", **about})
    line = logging_setup.JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert found["message"] == whole(text)
    assert found.get("reason", "") == whole(value)
    assert (found["level"], found["logger"]) == (record.levelname, "sportiv.x")


def whole(text: str) -> str:
    """`text` with two halves of a surrogate pair side by side made one character, as by JSON."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def test_a_json_line_has_its_fields_and_none_that_says_nothing(tmp_path: Path) -> None:
    about = fields(job=7, reason=None, request_id="", ran_s=0.0, status=200)
    with logging_to(tmp_path, keep=True, as_json=True):
        log.info("job %d: %s", 7, "done", extra=about)
    (line,) = map(json.loads, lines_of(tmp_path))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "INFO",
        "logger": "sportiv.test",
        "message": "job 7: done",
        "job": 7,
        "ran_s": 0.0,
        "status": 200,
    }


def test_a_traceback_is_a_field_of_its_json_line(tmp_path: Path) -> None:
    with logging_to(tmp_path, keep=True, as_json=True):
        try:
            raise ValueError("first\nsecond \x1b")
        except ValueError:
            log.exception("it failed")
        log.error("from elsewhere", extra={"trace": "line 1\nline 2"})
    own, other = map(json.loads, lines_of(tmp_path))
    assert own["trace"].startswith("Traceback (most recent call last):\n")
    assert own["trace"].endswith("ValueError: first\nsecond \x1b")
    assert other["trace"] == "line 1\nline 2"


# -- the file -------------------------------------------------------------------------


def test_a_line_has_its_time_its_level_and_its_text(tmp_path: Path) -> None:
    with logging_to(tmp_path, keep=True):
        log.info("job %d: %s", 7, "done")
        log.error("no")
    first, second = lines_of(tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO job 7: done", first)
    assert re.fullmatch(r"\S+Z ERROR no", second)


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles", "GMT"])
def test_times_are_in_gmt_wherever_the_server_runs(
    tmp_path: Path, run_python: Callable[..., str], zone: str
) -> None:
    before = datetime.now(UTC)
    run_python(
        "import logging, pathlib, sys, time\n"
        "from server.logging_setup import logging_to\n"
        "with logging_to(pathlib.Path(sys.argv[1]), keep=True):\n"
        "    logging.getLogger('sportiv').info('%s', time.tzname)",
        tmp_path,
        env={"TZ": zone},
    )
    (line,) = lines_of(tmp_path)
    moment = datetime.fromisoformat(line.split()[0])
    assert before - timedelta(milliseconds=1) <= moment <= datetime.now(UTC)
    assert ("'GMT', 'GMT'" in line) == (zone == "GMT")


def test_a_traceback_stands_on_marked_lines(tmp_path: Path) -> None:
    with logging_to(tmp_path, keep=True):
        try:
            raise ValueError("first\nsecond \x1b")
        except ValueError:
            log.exception("it failed")
        log.info("after")
    first, *trace, last = lines_of(tmp_path)
    assert first.endswith("ERROR it failed")
    assert last.endswith("INFO after")
    assert all(line.startswith("  | ") for line in trace)
    assert trace[0] == "  | Traceback (most recent call last):"
    assert trace[-2:] == ["  | ValueError: first", r"  | second \x1b"]


def test_a_traceback_from_elsewhere_stands_on_marked_lines(tmp_path: Path) -> None:
    with logging_to(tmp_path, keep=True):
        log.error("failed", extra={"trace": "Traceback:\n2026-01-01T00:00:00.000Z INFO forged\n"})
    assert lines_of(tmp_path)[1:] == ["  | Traceback:", "  | 2026-01-01T00:00:00.000Z INFO forged"]


def test_a_lone_surrogate_can_be_logged(tmp_path: Path) -> None:
    with logging_to(tmp_path, keep=True):
        log.info("%s", "\udcff")
    assert texts_of(tmp_path) == [r"\udcff"]


def test_leaving_writes_every_line_in_its_order(tmp_path: Path) -> None:
    with logging_to(tmp_path, keep=True):
        for number in range(1000):
            log.info("line %d", number)
    assert texts_of(tmp_path) == [f"line {number}" for number in range(1000)]


def test_a_line_is_written_without_waiting_for_others(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    with logging_to(tmp_path, keep=True):
        for number in range(3):
            log.info("line %d", number)
            eventually(lambda number=number: texts_of(tmp_path)[number:] == [f"line {number}"])


def test_a_line_has_the_time_at_which_it_was_logged(tmp_path: Path) -> None:
    with logging_to(tmp_path, keep=True):
        moments = [(time.time(), log.info("now"), time.time()) for _ in range(3)]
    for line, (before, _, after) in zip(lines_of(tmp_path), moments, strict=True):
        logged = datetime.fromisoformat(line.split()[0]).timestamp()
        assert before - 0.001 <= logged <= after


def test_lines_of_many_threads_are_all_there_and_whole(tmp_path: Path) -> None:
    def work(worker: int) -> None:
        for number in range(200):
            log.info("%d %d", worker, number)

    with logging_to(tmp_path, keep=True):
        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    written = [tuple(map(int, text.split())) for text in texts_of(tmp_path)]
    assert sorted(written) == [(worker, number) for worker in range(4) for number in range(200)]
    for worker in range(4):
        own = [number for each, number in written if each == worker]
        assert own == sorted(own)


@pytest.mark.parametrize(("keep", "texts"), [(True, ["old", "new"]), (False, ["new"])])
def test_the_log_goes_on_where_it_was_or_begins_anew(
    tmp_path: Path, keep: bool, texts: list[str]
) -> None:
    for text in ("old", "new"):
        with logging_to(tmp_path, keep=keep):
            log.info(text)
    assert texts_of(tmp_path) == texts


def test_after_leaving_nothing_is_logged_or_left_open(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    with logging_to(tmp_path, keep=True):
        log.info("in")
    log.error("out")
    assert texts_of(tmp_path) == ["in"]
    open_files = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    assert tmp_path / LOG_NAME not in open_files
    assert set(threading.enumerate()) == threads


def test_only_the_server_s_lines_are_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with logging_to(tmp_path, keep=True):
        logging.getLogger("other").error("elsewhere")
        log.debug("too small")
        log.info("ours")
    assert texts_of(tmp_path) == ["ours"]
    assert "ours" not in "".join(capfd.readouterr())


def test_gunicorn_can_log_beside_it_and_records_are_whole_again_after_it(tmp_path: Path) -> None:
    other, told = logging.getLogger("other"), io.StringIO()
    handler = logging.StreamHandler(told)
    handler.setFormatter(logging.Formatter(gunicorn.glogging.Logger.error_fmt))
    other.addHandler(handler)
    try:
        with logging_to(tmp_path, keep=True):
            other.error("beside")
        handler.setFormatter(logging.Formatter("%(threadName)s %(funcName)s %(message)s"))
        other.error("after")
    finally:
        other.removeHandler(handler)
    beside, after = told.getvalue().splitlines()
    assert beside.endswith(f" [{os.getpid()}] [ERROR] beside")
    assert re.fullmatch(r"MainThread test_\w+ after", after)


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "logs"
    with logging_to(folder, keep=True):
        log.info("here")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_old_lines_are_rotated_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging_setup, "MAX_BYTES", 1000)
    with logging_to(tmp_path, keep=True):
        for number in range(500):
            log.info("line %d", number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [LOG_NAME, *(f"{LOG_NAME}.{n}" for n in range(1, BACKUPS + 1))]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert texts_of(tmp_path)[-1] == "line 499"


# -- a log that cannot be written -----------------------------------------------------


def test_a_full_disk_is_no_error_of_what_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / LOG_NAME).symlink_to("/dev/full")
    with logging_to(tmp_path, keep=True):
        for _ in range(3):
            log.info("x" * 20_000)
        log.info("and")
    assert capfd.readouterr() == ("", "")


def test_lines_come_again_when_the_disk_has_room_again(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    run_python(
        "import logging, pathlib, sys, time\n"
        "from resource import RLIM_INFINITY, RLIMIT_FSIZE, setrlimit\n"
        "from server.logging_setup import LOG_NAME, logging_to\n"
        "log = logging.getLogger('sportiv')\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "def wait_for_size(size):\n"
        "    deadline = time.monotonic() + 20\n"
        "    while (folder / LOG_NAME).stat().st_size < size:\n"
        "        assert time.monotonic() < deadline\n"
        "        time.sleep(0.001)\n"
        "with logging_to(folder, keep=True):\n"
        "    log.info('before')\n"
        "    wait_for_size(1)\n"
        "    setrlimit(RLIMIT_FSIZE, (100, RLIM_INFINITY))\n"
        "    for _ in range(50):\n"
        "        log.info('x' * 1000)\n"
        "    wait_for_size(100)\n"
        "    setrlimit(RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))\n"
        "    log.info('between')\n"
        "    log.info('after')\n",
        tmp_path,
    )
    assert texts_of(tmp_path)[0] == "before"
    assert texts_of(tmp_path)[-1] == "after"


def test_a_message_that_does_not_fit_its_values_is_no_error(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    printed = run_python(
        "import logging, pathlib, sys\n"
        "from server.logging_setup import logging_to\n"
        "sys.stderr = sys.stdout\n"
        "with logging_to(pathlib.Path(sys.argv[1]), keep=True):\n"
        "    logging.getLogger('sportiv').info('%d', 'no number')\n"
        "    logging.getLogger('sportiv').info('after')\n",
        tmp_path,
    )
    assert texts_of(tmp_path) == ["after"]
    assert printed == ""


# -- a new log ------------------------------------------------------------------------


def test_a_new_log_begins_without_the_old_ones(tmp_path: Path) -> None:
    for name in (LOG_NAME, f"{LOG_NAME}.1", f"{LOG_NAME}.5"):
        (tmp_path / name).write_text("old\n")
    begin_new_log(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_new_log_leaves_what_is_not_a_log_alone(tmp_path: Path) -> None:
    others = {"notes.txt", "old-server.log", f"{LOG_NAME}-of-last-year.txt"}
    for name in others:
        (tmp_path / name).write_text("kept")
    begin_new_log(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == others


def test_a_new_log_needs_no_old_one(tmp_path: Path) -> None:
    begin_new_log(tmp_path)
    begin_new_log(tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []
