"""The server's log: one rotating file, as text or JSON, times in GMT, every value escaped.

Only the server process writes the file; workers send their lines through their pipes. A
fault in writing the log (a full disk, say) is never an error of what is being logged.
"""

import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from server.errors import StartError

LOG_NAME = "server.log"
MAX_BYTES = 10 * 2**20
BACKUPS = 5

BATCH_SECONDS = 0.05
"""How long a line may wait for others before all are written."""

_BATCH = 200  # lines
_ROOT = "sportiv"
_encode = json.JSONEncoder(default=str).encode
_ESCAPES = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\n"
}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord("\\"): "\\\\"}
_ESCAPES |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0xD800, 0xE000))}


def escape(text: str) -> str:
    """`text` on one line: control characters, line ends and lone surrogates as escapes."""
    return text if text.isascii() and text.isprintable() and "\\" not in text else _slowly(text)


def _slowly(text: str) -> str:
    return text.translate(_ESCAPES)


def fields(**values: object) -> dict[str, Any]:
    """For `extra=`: what a line is about, name by name; what is None or empty is left out.

    They are fields of a JSON line. A line of text ends with the `request_id` in brackets.
    """
    return {"fields": {name: value for name, value in values.items() if value not in (None, "")}}


class LogFormatter(logging.Formatter):
    """`2026-01-31T23:59:59.123Z LEVEL text [request id]`, tracebacks on marked lines below."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and its traceback, if any, as lines that begin with `|`."""
        text = escape(record.getMessage())
        if request_id := getattr(record, "fields", {}).get("request_id"):
            text += f" [{escape(request_id)}]"
        line = f"{_moment(record)} {record.levelname} {text}"
        return "\n  | ".join([line, *map(escape, self._trace(record).splitlines())])

    def _trace(self, record: logging.LogRecord) -> str:
        trace: str = getattr(record, "trace", "")
        if record.exc_info:
            trace += self.formatException(record.exc_info)
        return trace


class JsonFormatter(LogFormatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and what the line is about.

    All of it is ASCII: what is not, and every control character, stands as JSON's escape.
    A traceback is the text in `trace`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if trace := self._trace(record):
            line["trace"] = trace
        return _encode(line)


def _moment(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class QuietRotatingFileHandler(RotatingFileHandler):
    """A rotating file whose faults stay with it."""

    def emit_all(self, records: Iterable[logging.LogRecord]) -> None:
        """Write the records with one look at the file and, as long as it has room, one write."""
        try:
            if self.stream is None:
                self.stream = self._open()
            text, size = "", self.stream.tell()
            for line in map(self._line, records):
                if size + len(line) >= self.maxBytes:
                    self._write(text)
                    self.doRollover()
                    text, size = "", 0
                text += line
                size += len(line)
            self._write(text)
        except (OSError, ValueError):
            pass  # whoever logs has better things to do than to fail for it

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return f"{self.format(record)}{self.terminator}"
        except Exception:  # a message that does not fit its values
            return ""

    def _write(self, text: str) -> None:
        assert self.stream is not None
        self.stream.write(text)
        self.flush()

    def close(self) -> None:
        """Close the file, also where its last lines find no room."""
        with contextlib.suppress(OSError):
            super().close()


class BatchHandler(logging.Handler):
    """Hands records to another handler from a thread of its own, many at a time.

    Whoever logs only appends to a queue, without a lock and without a system call: in a
    server of many threads each of those costs a turn of the interpreter lock. Up to
    BATCH_SECONDS of lines are lost when the process is killed outright.
    """

    def __init__(self, target: QuietRotatingFileHandler) -> None:
        super().__init__()
        self._target = target
        self._queue: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue the record; without the lock that handlers hold, since a queue needs none."""
        self._queue.put(record)
        return True

    def close(self) -> None:
        """Write what is queued and close the target too."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()
        self._target.close()
        super().close()

    def _run(self) -> None:
        while not self._closing.is_set() or not self._queue.empty():
            waiting = [self._queue.get()]
            while len(waiting) < _BATCH and not self._queue.empty():
                waiting.append(self._queue.get())
            if records := [record for record in waiting if record is not None]:
                self._target.emit_all(records)
            if self._queue.empty():
                self._closing.wait(BATCH_SECONDS)


@contextmanager
def _lean_records() -> Iterator[None]:
    """Have records tell, for a while, of no place, thread or task: no line shows these.

    gunicorn's lines show the process.
    """
    unused = ("_srcfile", "logThreads", "logMultiprocessing", "logAsyncioTasks")
    before = {name: getattr(logging, name) for name in unused if hasattr(logging, name)}
    for name in before:
        setattr(logging, name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(logging, name, value)


def begin_new_log(folder: Path) -> None:
    """Remove what earlier starts have logged."""
    names = [LOG_NAME, *(f"{LOG_NAME}.{number}" for number in range(1, BACKUPS + 1))]
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _open_file(folder: Path, formatter: logging.Formatter) -> QuietRotatingFileHandler:
    file = QuietRotatingFileHandler(
        folder / LOG_NAME, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8"
    )
    file.setFormatter(formatter)
    return file


@contextmanager
def logging_to(folder: Path, *, keep: bool, as_json: bool = False) -> Iterator[None]:
    """Send every line of the server's loggers to the file in `folder`, for a while.

    Behind what it holds with `keep`, else to a new one. `as_json`: as JSON lines.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not keep:
            begin_new_log(folder)
        formatter = JsonFormatter() if as_json else LogFormatter()
        handler = BatchHandler(_open_file(folder, formatter))
    except OSError as error:
        raise StartError(f"the log folder {folder} cannot be used: {error}") from error
    logger = logging.getLogger(_ROOT)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        with _lean_records():
            yield
    finally:
        logger.removeHandler(handler)
        handler.close()
