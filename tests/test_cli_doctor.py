"""`sportiv doctor`: what is broken is found, and what to do is said."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from server.cli import checks
from server.cli.checks import Level
from server.machine import Machine
from server.settings import Settings
from tests.support.programs import sportiv
from tests.support.servers import ROOT, free_port, running_server, serving_pid

SAMPLE = str(ROOT / "data" / "sample.csv.gz")


def settings(**given: str) -> Settings:
    return Settings.read({f"SPORTIV_{name.upper()}": value for name, value in given.items()})


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, str]:
    """The settings of a server that could run here."""
    return {
        "SPORTIV_BIND": f"127.0.0.1:{free_port()}",
        "SPORTIV_DATA": SAMPLE,
        "SPORTIV_LOG_DIR": str(tmp_path / "logs"),
        "SPORTIV_RESULTS_DIR": str(tmp_path / "results"),
        "SPORTIV_WORKER_MEMORY": "16M",
        "SPORTIV_WORKERS": "1",
    }


def findings(**environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what each check has found."""
    done = sportiv("doctor", "--json", **environment)
    assert done.errors == ""
    return done.code, {each["check"]: each for each in done.json}


def failed(found: dict[str, dict[str, Any]]) -> set[str]:
    return {check for check, each in found.items() if each["level"] == "fail"}


def test_a_sound_machine_passes_and_nothing_is_left_behind(
    sound: dict[str, str], tmp_path: Path
) -> None:
    code, found = findings(**sound)
    assert (code, failed(found)) == (0, set())
    assert found["port"]["text"].endswith("is free")
    assert found["table"]["text"] == "sample.csv.gz: 33 columns, 7 of them used (rows not read)"
    assert list(tmp_path.iterdir()) == []


def test_the_whole_table_is_read_where_that_is_wanted(sound: dict[str, str]) -> None:
    done = sportiv("doctor", "--load", **sound)
    assert done.code == 0
    (line,) = [line for line in done.lines if line.split()[1] == "table"]
    assert "15976 rows with a value" in line


def test_people_read_a_line_a_check_with_what_to_do(sound: dict[str, str]) -> None:
    done = sportiv("doctor", **sound | {"SPORTIV_DATA": "missing.csv"})
    assert done.code == 1
    at = next(n for n, line in enumerate(done.lines) if line.split()[:2] == ["fail", "table"])
    assert "missing.csv: No such file or directory" in done.lines[at]
    assert "make sample" in done.lines[at + 1]


def test_a_variable_that_is_no_setting_is_told(sound: dict[str, str]) -> None:
    code, found = findings(**sound, SPORTIV_WORKER="2")
    assert (code, found["settings"]["level"]) == (0, "warn")
    assert found["settings"]["text"] == "SPORTIV_WORKER is no setting; is SPORTIV_WORKERS meant?"


def test_a_variable_that_is_wrong_is_named() -> None:
    code, found = findings(SPORTIV_WORKERS="many")
    assert (code, failed(found)) == (1, {"settings"})
    assert found["settings"]["text"].startswith("SPORTIV_WORKERS='many' is not allowed")
    assert found["settings"]["advice"] == "correct or unset SPORTIV_WORKERS"


def test_a_description_and_a_table_that_do_not_fit_are_found(
    sound: dict[str, str], tmp_path: Path
) -> None:
    description = tmp_path / "odd.toml"
    description.write_text('title = "Odd"\n[columns]\nlocation = "x"\nquestion = "y"\nvalue = "z"')
    code, found = findings(**sound | {"SPORTIV_DATASET": str(description)})
    assert (code, failed(found)) == (1, {"table"})
    assert "no column for the location: none is named 'x'" in found["table"]["text"]
    description.write_text("title =")
    code, found = findings(**sound | {"SPORTIV_DATASET": str(description)})
    assert (code, failed(found)) == (1, {"description", "table"})
    assert "is not TOML" in found["description"]["text"]


def test_a_parquet_file_that_is_none_is_found(sound: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "table.parquet").write_bytes(b"no such thing")
    code, found = findings(**sound | {"SPORTIV_DATA": str(tmp_path / "table.parquet")})
    assert (code, failed(found)) == (1, {"table"})
    assert "is not a Parquet file" in found["table"]["text"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_takes_no_writes_is_found(sound: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    code, found = findings(**sound | {"SPORTIV_RESULTS_DIR": str(tmp_path / "closed" / "results")})
    assert (code, failed(found)) == (1, {"results"})


def test_a_file_where_a_folder_should_be_is_found(sound: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, found = findings(**sound | {"SPORTIV_RESULTS_DIR": str(tmp_path / "file")})
    assert (code, failed(found)) == (1, {"results"})
    assert "SPORTIV_RESULTS_DIR" in found["results"]["advice"]


def test_little_room_on_the_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = checks.shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(checks, "LITTLE_SPACE", free * 2)
    assert checks.folder("results", tmp_path, "X").level is Level.WARN
    monkeypatch.setattr(checks, "SCARCE_SPACE", free * 2)
    assert checks.folder("results", tmp_path, "X").level is Level.FAIL


def test_who_holds_the_folder_and_the_port_is_told(sound: dict[str, str], tmp_path: Path) -> None:
    with running_server(tmp_path / "server") as server:
        code, found = findings(
            **sound
            | {
                "SPORTIV_BIND": f"127.0.0.1:{server.port}",
                "SPORTIV_RESULTS_DIR": str(server.results),
            }
        )
        assert code == 0
        assert found["holder"]["level"] == "warn"
        assert f"process {serving_pid(server)} holds" in found["holder"]["text"]
        assert found["port"]["text"].startswith("a Sportiv Stats server listens at")
    _, found = findings(**sound | {"SPORTIV_RESULTS_DIR": str(tmp_path / "server" / "results")})
    assert found["holder"]["level"] == "ok"


def test_a_stranger_at_the_port_is_told(sound: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        bind = f"127.0.0.1:{stranger.getsockname()[1]}"
        code, found = findings(**sound | {"SPORTIV_BIND": bind})
    assert (code, failed(found)) == (1, {"port"})
    assert "SPORTIV_BIND" in found["port"]["advice"]


def test_an_address_that_lets_others_in_needs_a_token(sound: dict[str, str]) -> None:
    wide = sound | {"SPORTIV_BIND": f"0.0.0.0:{free_port()}"}
    code, found = findings(**wide)
    assert (code, failed(found)) == (1, {"token"})
    assert found["token"]["advice"] == "set SPORTIV_TOKEN"
    code, found = findings(**wide, SPORTIV_TOKEN="a-secret-of-this-test")
    assert (code, failed(found)) == (0, set())


def test_more_than_the_machine_has_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable:  1048576 kB\n")
    machine = Machine(proc=tmp_path, groups=tmp_path)
    greedy = settings(workers="1000", worker_memory="2G")
    assert checks.memory(greedy, machine).level is Level.WARN
    assert "1000 x 2 GiB of 1 GiB available" in checks.memory(greedy, machine).text
    assert checks.cores(greedy, machine).level is Level.WARN
    modest = settings(workers="1", worker_memory="16M")
    assert checks.memory(modest, machine).level is Level.OK
    assert checks.cores(modest, machine).level is Level.OK


def test_an_installation_that_lacks_something_is_found() -> None:
    assert checks.packages().level is Level.OK
    missing = checks.packages("no-such-distribution")
    assert missing.level is Level.WARN
    assert "pip install" in missing.advice
    from packaging.specifiers import SpecifierSet

    assert checks._missing("click", SpecifierSet(">=1")) == ""
    assert "but >=1000 is needed" in checks._missing("click", SpecifierSet(">=1000"))
    assert checks._missing("no-such-package", SpecifierSet()) == "no-such-package is missing"


def test_a_package_without_gunicorns_configuration_is_found(tmp_path: Path) -> None:
    assert checks.configuration(ROOT).level is Level.OK
    found = checks.configuration(tmp_path)
    assert found.level is Level.FAIL
    assert "checkout" in found.advice
