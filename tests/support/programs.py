"""The program `sportiv` as its users run it: a process, with pipes or on a terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.servers import ROOT, RunningServer

SPORTIV = str(Path(sys.executable).with_name("sportiv"))
SECONDS = 60.0

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-B0-2]|[=>78])")


@dataclass(frozen=True)
class Done:
    """How a program has ended, and what it has written."""

    code: int
    out: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def environment(server: RunningServer | None = None, **more: str) -> dict[str, str]:
    """An environment in which nothing is set that would change what the program does."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SPORTIV_", "_SPORTIV", "TP_NUM", "COLUMNS", "NO_COLOR"))
    }
    where = {"SPORTIV_URL": f"http://127.0.0.1:{server.port}"} if server else {}
    programs = f"{Path(SPORTIV).parent}:{kept['PATH']}"
    return kept | where | {"PATH": programs, "TERM": "xterm", "PYTHONWARNINGS": "error"} | more


def sportiv(
    *arguments: object, server: RunningServer | None = None, typed: str = "", **more: str
) -> Done:
    """Run the program to its end, with pipes."""
    done = subprocess.run(
        [SPORTIV, *map(str, arguments)],
        input=typed,
        capture_output=True,
        check=False,
        cwd=ROOT,
        encoding="utf-8",
        env=environment(server, **more),
        timeout=SECONDS,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Terminal:
    """A program on a terminal of its own: what it shows, and keys that are pressed."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self.shown = ""
        self._master = master

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    @property
    def text(self) -> str:
        """What was shown, without colours and movements."""
        return _ESCAPE.sub("", self.shown)

    def wait_for(self, text: str) -> None:
        """Return as soon as `text` has been shown."""
        assert self.shows(text, SECONDS), f"not shown: {text!r}, but {self.shown!r}"

    def shows(self, text: str, seconds: float) -> bool:
        """Whether `text` has been shown, or is within so many seconds."""
        deadline = time.monotonic() + seconds
        while text not in self.text and time.monotonic() < deadline:
            if not self._read(0.1) and self.process.poll() is not None:
                break
        return text in self.text

    def end(self) -> int:
        """The exit code, once the program has ended and all that it showed is read."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"has not ended: {self.shown!r}"
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        """Read what is there within so many seconds; whether anything was."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            content = os.read(self._master, 65536)
        except OSError:  # how Linux says that nobody has the other end open
            return False
        self.shown += content.decode(errors="replace")
        return bool(content)


@contextmanager
def on_terminal(
    *command: str, server: RunningServer | None = None, **more: str
) -> Iterator[Terminal]:
    """Run a command on a terminal, which is also its controlling one: Ctrl-C is a signal."""
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    process = subprocess.Popen(
        ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', name, *command],
        cwd=ROOT,
        env=environment(server, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(SECONDS)
        os.close(slave)
        os.close(master)
