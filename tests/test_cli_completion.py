"""Completion in real shells: what a person gets who presses the tabulator."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import Terminal, on_terminal, sportiv
from tests.support.servers import FOR_TESTS, RunningServer, free_port, running_server

OBESITY = "Percent of adults aged 18 years and older who have obesity"
PROMPT = "ready> "
zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server"), configuration=FOR_TESTS) as running:
        yield running


@pytest.fixture
def bash(server: RunningServer, tmp_path: Path) -> Iterator[Terminal]:
    """An interactive bash that has the completion, as its own file of commands says."""
    commands = tmp_path / "bashrc"
    commands.write_text(f"PS1='{PROMPT}'\neval \"$(sportiv completion bash)\"\n")
    with on_terminal("bash", "--noprofile", "--rcfile", str(commands), server=server) as terminal:
        terminal.wait_for(PROMPT)
        yield terminal


def complete(terminal: Terminal, typed: str, shown: str) -> None:
    """Type something and press the tabulator until something is shown.

    Once is enough where the machine is not so busy that the server answers too late.
    """
    terminal.press(typed)
    for _ in range(12):
        terminal.press("\t")
        if terminal.shows(shown, 5.0):
            return
    terminal.wait_for(shown)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("sportiv que", "sportiv questions "),
        ("sportiv ask be", "sportiv ask best5 "),
        ("sportiv ask trend --by str", "sportiv ask trend --by stratum "),
        ("sportiv jobs --statistic pairw", "--statistic pairwise_permutation_test "),
        ("sportiv ask state_mean --state Oh", "--state Ohio "),
        ("sportiv ask best5 --states 'North C", "--states 'North Carolina' "),
        ("sportiv ask best5 --question 'have obes", f"{OBESITY}' "),
        ("sportiv ask best5 --question obesity", "older\\ who\\ have\\ obesity "),
        ("sportiv ask best5 --category Race", "--category Race/Ethnicity "),
        ("sportiv ask best5 --stratum 18", "--stratum 18\\ -\\ 24 "),
    ],
)
def test_bash_completes(bash: Terminal, typed: str, shown: str) -> None:
    complete(bash, typed, shown)


def test_what_bash_has_completed_can_be_asked(bash: Terminal) -> None:
    complete(bash, "sportiv ask state_mean --question obesity", "who\\ have\\ obesity ")
    complete(bash, "--state Oh", "--state Ohio ")
    bash.press("--json\r")
    bash.wait_for('{"Ohio": ')


def test_bash_completes_the_numbers_of_jobs(
    bash: Terminal, server: RunningServer, tmp_path: Path
) -> None:
    done = server.submit("echo")
    server.result(done)
    waiting = server.submit("wait_for_file", path=str(tmp_path / "gate"))
    complete(bash, "sportiv cancel ", f"sportiv cancel {waiting} ")
    bash.press("\x15")
    complete(bash, f"sportiv result {done}", f"sportiv result {done} ")
    server.ask("DELETE", f"/api/jobs/{waiting}")


@zsh
def test_what_zsh_has_completed_can_be_asked(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / ".zshrc").write_text(
        "autoload -U compinit\ncompinit -u -D\n"
        f"eval \"$(sportiv completion zsh)\"\nPS1='{PROMPT}'\n"
    )
    with on_terminal("zsh", "-d", "-i", server=server, ZDOTDIR=str(tmp_path)) as terminal:
        terminal.wait_for(PROMPT)
        complete(terminal, "sportiv que", "sportiv questions ")
        terminal.press("\x15")
        complete(terminal, "sportiv ask state_mean --question obesity", "who\\ have\\ obesity ")
        complete(terminal, "--state Oh", "Ohio ")
        terminal.press("--json\r")
        terminal.wait_for('{"Ohio": ')


def test_a_server_that_is_away_completes_nothing_and_says_nothing() -> None:
    asked = {
        "SPORTIV_URL": f"http://127.0.0.1:{free_port()}",
        "COMP_WORDS": "sportiv\nask\nbest5\n--question\nobes",
        "COMP_CWORD": "4",
    }
    for shell in ("bash", "zsh"):
        done = sportiv(**asked, _SPORTIV_COMPLETE=f"{shell}_complete")
        assert (done.out.strip(), done.errors) == ("", "")


def test_another_shell_is_refused() -> None:
    done = sportiv("completion", "tcsh")
    assert done.code == 2
    assert "'bash'" in done.errors
    assert "'zsh'" in done.errors
