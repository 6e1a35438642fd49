"""The examples of the pages about the command line and the client, run as they are written."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cli.program import COMMANDS
from tests.support.pages import ADDRESS, blocks, text_of
from tests.support.programs import environment
from tests.support.servers import ROOT, RunningServer, running_server

COMMANDS_PAGE = text_of("docs/command-line.md")
CLIENT_PAGE = text_of("docs/python-client.md")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    sample = str(ROOT / "data" / "sample.csv.gz")
    with running_server(tmp_path_factory.mktemp("server"), SPORTIV_DATA=sample) as running:
        yield running


def test_every_command_of_the_page_works(server: RunningServer, tmp_path: Path) -> None:
    lines = [line for block in blocks(COMMANDS_PAGE, "sh") for line in block.splitlines()]
    assert lines
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment(server),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout, line
    assert {path.name for path in tmp_path.iterdir()} == {"trend.svg", "trend.png"}


def test_the_page_has_every_command() -> None:
    assert re.findall(r"^### `sportiv (\w+) ", COMMANDS_PAGE, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("block", blocks(CLIENT_PAGE, "python"))
def test_every_example_of_the_client_works(
    server: RunningServer, block: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ADDRESS in block
    code = block.replace(ADDRESS, f"127.0.0.1:{server.port}")
    exec("from server.client import Client\n" + code, {})
    assert capsys.readouterr().out
