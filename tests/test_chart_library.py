"""The charts' library is made once, in a process of its own; or whoever asks is told."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.chart_library import ChartLibrary
from server.errors import NoChartLibrary


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """`maker(code)` puts a program where a module of that name is found; the name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(code: str) -> str:
        (tmp_path / "made_up_maker.py").write_text(code, "utf-8")
        return "made_up_maker"

    return write


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A file to which a made-up maker adds a byte for each of its runs."""
    return tmp_path / "runs"


def test_the_script_defines_what_a_page_draws_with() -> None:
    library = ChartLibrary()
    script = library.script()
    assert len(script) > 500_000
    assert b"window.vegaEmbed=" in script
    assert library.name.startswith("vega-")
    assert library.name.endswith(".js")
    assert library.script() is script


def test_the_process_that_asks_does_not_import_what_makes_it(
    run_python: Callable[..., str],
) -> None:
    code = (
        "import sys\n"
        "from server.chart_library import ChartLibrary\n"
        "print(len(ChartLibrary().script()), 'vl_convert' in sys.modules)\n"
    )
    size, is_imported = run_python(code).split()
    assert int(size) > 500_000
    assert is_imported == "False"


def test_all_who_ask_at_once_get_one_script(maker: Callable[[str], str], runs: Path) -> None:
    code = f"open({str(runs)!r}, 'ab').write(b'.')\nprint('script', end='')\n"
    library = ChartLibrary(maker(code))
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: library.script(), range(40))) == {b"script"}
    assert runs.read_bytes() == b"."
    assert library.tag() == library.tag() != ChartLibrary(maker("print('other')")).tag()


@pytest.mark.parametrize(
    "code", ["raise SystemExit('no room')", "import os; os.kill(os.getpid(), 9)"]
)
def test_a_failure_is_told_and_logged_and_the_next_one_tries_again(
    maker: Callable[[str], str], caplog: pytest.LogCaptureFixture, code: str
) -> None:
    library = ChartLibrary(maker(code))
    with pytest.raises(NoChartLibrary, match="log says why"):
        library.script()
    (said,) = [each.getMessage() for each in caplog.records if each.name == "sportiv.charts"]
    assert "no room" in said or "SIGKILL" in said
    maker("print('script', end='')")
    assert library.script() == b"script"


def test_one_that_hangs_is_ended(maker: Callable[[str], str], runs: Path) -> None:
    code = f"import os, signal\nopen({str(runs)!r}, 'w').write(str(os.getpid()))\nsignal.pause()\n"
    with pytest.raises(NoChartLibrary):
        ChartLibrary(maker(code), seconds=3.0).script()
    assert not runs.exists() or not Path(f"/proc/{runs.read_text()}").exists()


def test_the_maker_leaves_when_the_server_is_gone(pipe: tuple[int, int]) -> None:
    lifeline, held = pipe
    code = (
        "import sys, types, signal\n"
        "slow = types.ModuleType('vl_convert')\n"
        "slow.javascript_bundle = lambda _: print('at work', flush=True) or signal.pause()\n"
        "sys.modules['vl_convert'] = slow\n"
        "from server.chart_library import main\n"
        "main(int(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", code, str(lifeline)]
    with subprocess.Popen(command, pass_fds=[lifeline], stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"at work\n"
        os.close(held)
        assert maker.wait(20) == 1


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, of which the test closes the second."""
    read, write = os.pipe()
    yield read, write
    os.close(read)
