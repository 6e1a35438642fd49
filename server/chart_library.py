"""The library that draws charts in a browser, made once from an installed package.

Vega, Vega-Lite and Vega-Embed as one script come out of `vl-convert-python`, which takes seconds
and some 150 MB for it: a process of its own makes it when somebody asks for it first, and the
server keeps the bytes.
"""

import hashlib
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from importlib.metadata import version

from server.errors import NoChartLibrary
from server.interpreter import module_command, module_environment

MAKING_SECONDS = 60.0
"""How long the process may take; on an idle core it is about two seconds."""

PACKAGE = "vl-convert-python"

ENTRY = "window.vegaEmbed = vegaEmbed;"
"""What of the libraries the page can name."""

log = logging.getLogger("sportiv.charts")


class ChartLibrary:
    """The script, made at the first call of `script`. Safe for any number of threads.

    `name` changes whenever the script does, so that a browser may keep it for ever. Who asks
    while it is made waits for it; after a failure the next one to ask tries anew. `module` is
    the program that makes it.
    """

    def __init__(
        self, module: str = "server.chart_library", seconds: float = MAKING_SECONDS
    ) -> None:
        self.name = f"vega-{version(PACKAGE)}.js"
        self._module = module
        self._seconds = seconds
        self._lock = threading.Lock()
        self._made: Future[bytes] | None = None  # guarded by _lock

    def script(self) -> bytes:
        """JavaScript that defines `vegaEmbed`; NoChartLibrary without it."""
        with self._lock:
            is_first = self._made is None
            made = self._made = self._made or Future()
        if is_first:
            self._make(made)
        return made.result()

    def tag(self) -> str:
        """A short text that is the same only for the same script: its entity tag."""
        return hashlib.sha256(self.script()).hexdigest()[:32]

    def _make(self, made: Future[bytes]) -> None:
        try:
            made.set_result(_made_by(self._module, self._seconds))
        except Exception as error:  # whatever it is, nobody may wait for ever
            log.error("the charts' library cannot be made: %s%s", error, _said(error))
            with self._lock:
                self._made = None
            made.set_exception(NoChartLibrary())


def _made_by(module: str, seconds: float) -> bytes:
    """What the program writes; it ends with this process, at the latest after so many seconds."""
    lifeline, held = os.pipe()  # reads end of file when this process is gone
    try:
        return subprocess.run(
            module_command(module, str(lifeline)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=[lifeline],
            env=module_environment(),
            timeout=seconds,
            check=True,
        ).stdout
    finally:
        os.close(lifeline)
        os.close(held)


def _said(error: Exception) -> str:
    """The last of what the process said on standard error."""
    said = getattr(error, "stderr", None) or b""
    return f"; it said: {said[-500:].decode(errors='replace')}" if said else ""


def main(lifeline: int) -> None:
    """Write the script to standard output; leaves at once when the server is gone."""
    threading.Thread(target=_watch_lifeline, args=(lifeline,), daemon=True).start()
    from vl_convert import javascript_bundle  # here, so that the server's end does not import it

    sys.stdout.buffer.write(javascript_bundle(ENTRY).encode())


def _watch_lifeline(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
