"""Settings come from the environment once; a wrong one is named, with what is allowed."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import pytest

from server.errors import SettingError
from server.machine import Machine
from server.settings import ROOT, Backend, Durability, LogFormat, Settings
from server.variable import Address, Variable

RIGHT: dict[str, dict[str, Any]] = {
    "SPORTIV_BIND": {
        "0.0.0.0:80": Address("0.0.0.0", 80),
        "localhost:65535": Address("localhost", 65535),
        "[::1]:5000": Address("::1", 5000),
    },
    "SPORTIV_DATA": {"/tables/t.csv": Path("/tables/t.csv")},
    "SPORTIV_DATASET": {"/tables/t.toml": Path("/tables/t.toml")},
    "SPORTIV_RESULTS_DIR": {"/results": Path("/results")},
    "SPORTIV_LOG_DIR": {"/logs": Path("/logs")},
    "SPORTIV_COLUMN_CACHE": {"/columns": Path("/columns"), "0": None},
    "SPORTIV_LOG_KEEP": {"1": True, "true": True, "YES": True, "0": False, "off": False},
    "SPORTIV_LOG_FORMAT": {"text": LogFormat.TEXT, "json": LogFormat.JSON},
    "SPORTIV_WORKERS": {"1": 1, "7": 7, "1024": 1024},
    "SPORTIV_BACKEND": {
        "thread": Backend.THREAD,
        "process": Backend.PROCESS,
        "dask": Backend.DASK,
    },
    "SPORTIV_DASK_SCHEDULER": {
        "tcp://10.0.0.1:8786": "tcp://10.0.0.1:8786",
        "tls://[::1]:8786": "tls://[::1]:8786",
    },
    "SPORTIV_DASK_COLUMNS": {"/columns": Path("/columns")},
    "SPORTIV_DASK_PATIENCE": {"1": 1.0, "86400": 86400.0},
    "SPORTIV_THREADS": {"1": 1, "256": 256},
    "SPORTIV_MAX_QUEUED": {"1": 1, "1000000": 1_000_000},
    "SPORTIV_JOB_TIMEOUT": {"0.01": 0.01, "86400": 86400.0},
    "SPORTIV_MAX_ATTEMPTS": {"1": 1, "100": 100},
    "SPORTIV_WORKER_MEMORY": {
        "16M": 16 * 2**20,
        "512m": 512 * 2**20,
        "2G": 2 * 2**30,
        "20000K": 20_000 * 2**10,
        "20000000": 20_000_000,
    },
    "SPORTIV_WORKER_MAX_TASKS": {"0": 0, "1": 1, "1000000000": 10**9},
    "SPORTIV_DURABILITY": {"full": Durability.FULL, "process": Durability.PROCESS},
    "SPORTIV_DRAIN_TIMEOUT": {"0": 0.0, "0.5": 0.5, "3600": 3600.0},
    "SPORTIV_RESULT_TTL": {"1": 1.0, "0": math.inf, "0.0": math.inf, "3153600000": 3153600000.0},
    "SPORTIV_MAX_RESULTS": {"1": 1, "100000000": 100_000_000},
    "SPORTIV_OPEN_READS": {"1": True, "0": False},
    "SPORTIV_RECEIVE_TIMEOUT": {"0.1": 0.1, "3600": 3600.0},
    "SPORTIV_CACHE": {"1": True, "off": False},
}

WRONG: dict[str, tuple[str, ...]] = {
    "SPORTIV_BIND": ("5000", ":5000", "localhost", "localhost:", "h:0", "h:65536", "h:-1", "h:٣"),
    "SPORTIV_LOG_KEEP": ("2", "maybe", " "),
    "SPORTIV_LOG_FORMAT": ("JSON", "xml", " "),
    "SPORTIV_WORKERS": ("0", "-1", "1025", "1.5", "two", "1e2", " ", "9" * 5000),
    "SPORTIV_BACKEND": ("Process", "Dask", "processes"),
    "SPORTIV_DASK_SCHEDULER": ("10.0.0.1:8786", "tcp://", "tcp://host", "ftp://host:1", "tcp:h:1"),
    "SPORTIV_DASK_PATIENCE": ("0", "86401", "nan", "for ever"),
    "SPORTIV_THREADS": ("0", "257", "x"),
    "SPORTIV_MAX_QUEUED": ("0", "1000001", "x"),
    "SPORTIV_JOB_TIMEOUT": ("0", "-1", "86401", "nan", "inf", "1 s"),
    "SPORTIV_MAX_ATTEMPTS": ("0", "101", "x"),
    "SPORTIV_WORKER_MEMORY": ("15M", "0", "G", "1T", "1.5G", "-1G", "1 GB", " ", "٣G", "9" * 5000),
    "SPORTIV_WORKER_MAX_TASKS": ("-1", "1000000001", "1e3", "never"),
    "SPORTIV_DURABILITY": ("none", "FULL"),
    "SPORTIV_DRAIN_TIMEOUT": ("-0.1", "3601", "nan", "-inf", "x"),
    "SPORTIV_RESULT_TTL": ("-1", "0.5", "nan", "inf", "1 week"),
    "SPORTIV_MAX_RESULTS": ("0", "-1", "100000001", "x"),
    "SPORTIV_OPEN_READS": ("2", " "),
    "SPORTIV_RECEIVE_TIMEOUT": ("0", "3601", "nan"),
    "SPORTIV_CACHE": ("2", "maybe"),
}

CORES = Machine().cores()

VARIABLES = {
    variable.name: (field, variable)
    for field, variable in Settings.variables()
    if not variable.secret
}


def value_of(name: str, environment: dict[str, str]) -> Any:
    return getattr(Settings.read(environment), VARIABLES[name][0])


def pairs(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, text) for name, texts in values.items() for text in texts]


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.read({})
    assert str(settings.bind) == "127.0.0.1:5000"
    assert settings.dataset == ROOT / "data" / "cdc_brfss.toml"
    assert settings.results_dir == ROOT / "results"
    assert settings.log_dir == ROOT / "logs"
    assert settings.log_keep is False
    assert settings.workers == len(os.sched_getaffinity(0))
    assert settings.backend is Backend.PROCESS
    assert settings.durability is Durability.FULL
    assert (settings.threads, settings.max_queued, settings.max_attempts) == (16, 10_000, 3)
    assert (settings.job_timeout, settings.drain_timeout) == (300.0, 30.0)


def test_the_folders_lie_beside_the_configuration_of_gunicorn() -> None:
    assert (ROOT / "gunicorn.conf.py").is_file()


def test_a_token_is_read_and_shown_to_nobody() -> None:
    settings = Settings.read({"SPORTIV_TOKEN": "0123456789abcdef"})
    assert settings.token is not None
    assert settings.token.equals("0123456789abcdef")
    assert not settings.token.equals("0123456789abcdeF")
    assert "0123" not in repr(settings)


@pytest.mark.parametrize(
    "text", ["short", "fifteen letters", "sixteen letters, spaces", "sixteenlettersé"]
)
def test_what_is_no_token_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SettingError, match="SPORTIV_TOKEN") as caught:
        Settings.read({"SPORTIV_TOKEN": text})
    assert text not in str(caught.value)


def test_every_variable_is_tried_here() -> None:
    assert set(RIGHT) == set(VARIABLES)
    free_form = {name for name in VARIABLES if VARIABLES[name][1].allowed.startswith("the path")}
    assert set(WRONG) == set(VARIABLES) - free_form


@pytest.mark.parametrize(("name", "text"), pairs(RIGHT))
def test_a_variable_sets_its_field(name: str, text: str) -> None:
    value = value_of(name, {name: text})
    assert value == RIGHT[name][text]
    assert type(value) is type(RIGHT[name][text])


@pytest.mark.parametrize(("name", "text"), pairs(dict(WRONG)))
def test_a_wrong_value_names_the_variable_and_what_is_allowed(name: str, text: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.read({name: text})
    assert caught.value.variable == name
    assert str(caught.value).startswith(f"{name}={text!r} is not allowed: ")
    assert str(caught.value).endswith(VARIABLES[name][1].allowed)


@pytest.mark.parametrize("name", VARIABLES)
def test_an_empty_variable_counts_as_not_set(name: str) -> None:
    assert value_of(name, {name: ""}) == value_of(name, {})


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_changes_no_other_field(name: str) -> None:
    text = next(iter(RIGHT[name]))
    field = VARIABLES[name][0]
    changed = {field: getattr(Settings.read({name: text}), field)}
    assert Settings.read({name: text}) == dataclasses.replace(Settings.read({}), **changed)


@pytest.mark.parametrize(
    ("environment", "workers"),
    [
        ({}, CORES),
        ({"TP_NUM_OF_THREADS": "5"}, 5),
        ({"SPORTIV_WORKERS": "3"}, 3),
        ({"SPORTIV_WORKERS": "3", "TP_NUM_OF_THREADS": "5"}, 3),
        ({"SPORTIV_WORKERS": "", "TP_NUM_OF_THREADS": "5"}, 5),
        ({"SPORTIV_WORKERS": "3", "TP_NUM_OF_THREADS": "wrong"}, 3),
        ({"SPORTIV_WORKERS": "", "TP_NUM_OF_THREADS": ""}, CORES),
    ],
)
def test_the_number_of_workers_is_asked_for_first_then_the_older_name_then_the_cores(
    environment: dict[str, str], workers: int
) -> None:
    assert Settings.read(environment).workers == workers


def test_the_older_name_is_named_where_it_is_wrong() -> None:
    with pytest.raises(SettingError, match=r"^TP_NUM_OF_THREADS='0' is not allowed") as caught:
        Settings.read({"TP_NUM_OF_THREADS": "0"})
    assert caught.value.variable == "TP_NUM_OF_THREADS"


PATHS = ["SPORTIV_DATA", "SPORTIV_DATASET", "SPORTIV_RESULTS_DIR", "SPORTIV_LOG_DIR"]
PATHS += ["SPORTIV_COLUMN_CACHE", "SPORTIV_DASK_COLUMNS"]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_taken_from_where_the_server_is_started(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert value_of(name, {name: "below/it"}) == tmp_path / "below" / "it"


@pytest.mark.parametrize("name", PATHS)
def test_a_tilde_is_the_home_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert value_of(name, {name: "~/it"}) == tmp_path / "it"


@pytest.mark.parametrize("name", PATHS)
def test_the_home_of_nobody_is_a_wrong_value(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.read({name: "~nobody-has-this-name/it"})


@pytest.mark.parametrize("name", PATHS)
def test_a_name_that_begins_with_an_at_sign_is_a_name_like_any(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert value_of(name, {name: "@it"}) == tmp_path / "@it"


def test_an_at_sign_is_no_number_of_workers() -> None:
    with pytest.raises(SettingError, match="SPORTIV_WORKERS='@'"):
        Settings.read({"SPORTIV_WORKERS": "@"})


def test_the_data_is_what_was_downloaded_or_else_the_sample() -> None:
    downloaded = ROOT / "data" / "downloaded" / "cdc_brfss.csv"
    sample = ROOT / "data" / "sample.csv.gz"
    assert Settings.read({}).data == (downloaded if downloaded.exists() else sample)


@pytest.mark.parametrize("text", ["127.0.0.1:5000", "[::1]:5000", "example.org:80"])
def test_an_address_reads_as_it_was_written(text: str) -> None:
    assert str(value_of("SPORTIV_BIND", {"SPORTIV_BIND": text})) == text


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.read({}).workers = 2  # type: ignore[misc]


@pytest.mark.parametrize("variable", [variable for _, variable in VARIABLES.values()])
def test_every_variable_has_its_sentence(variable: Variable) -> None:
    assert variable.about.endswith(".")
    assert variable.allowed
    assert variable.name.startswith("SPORTIV_")


def test_other_variables_are_left_alone() -> None:
    assert Settings.read({"PATH": "/bin", "SPORTIV_UNKNOWN": "x"}) == Settings.read({})


def test_a_variable_that_is_no_setting_is_told_with_what_may_be_meant() -> None:
    environment = {
        **dict.fromkeys(variable.name for _, variable in VARIABLES.values()),
        "PATH": "/bin",
        "SPORTIV_URL": "x",
        "SPORTIV_TEST_DATA": "x",
        "SPORTIV_WORKER": "2",
        "SPORTIV_TIMEOUT": "5",
        "SPORTIV_PORT": "1",
    }
    assert Settings.strangers(environment) == [
        "SPORTIV_PORT is no setting",
        "SPORTIV_TIMEOUT is no setting; is SPORTIV_JOB_TIMEOUT meant?",
        "SPORTIV_WORKER is no setting; is SPORTIV_WORKERS meant?",
    ]
