"""Every setting: read once from the environment into one frozen object.

A field of `Settings` carries the variable's name, its default, its parser and its
sentence; the documentation page is made from the same fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Self

from server.machine import Machine
from server.reach import Secret
from server.variable import (
    Address,
    Variable,
    address,
    flag,
    path,
    path_or_none,
    scheduler,
    seconds,
    seconds_or_none,
    setting,
    size,
    strangers,
    whole,
)

ROOT = Path(__file__).resolve().parent.parent
"""The folder beside which `results/`, `logs/` and `data/` lie by default."""


class Backend(StrEnum):
    """What computes: worker processes, threads of the server itself, or a Dask cluster."""

    PROCESS = "process"
    THREAD = "thread"
    DASK = "dask"


class Durability(StrEnum):
    """What an accepted job survives: loss of power, or only the death of processes."""

    FULL = "full"
    PROCESS = "process"


class LogFormat(StrEnum):
    """What a line of the log is: text for people, or a JSON object."""

    TEXT = "text"
    JSON = "json"


def _beside(name: str) -> Callable[[], Path]:
    """A default: `name` in the project's own folder."""
    return lambda: ROOT / name


def _table() -> Path:
    """The downloaded table, or the sample where there is none."""
    downloaded = ROOT / "data" / "downloaded" / "cdc_brfss.csv"
    return downloaded if downloaded.exists() else ROOT / "data" / "sample.csv.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this server runs."""

    bind: Address = setting(
        "SPORTIV_BIND",
        default="127.0.0.1:5000",
        allowed="host:port, such as 127.0.0.1:5000",
        about="Where the server listens.",
        parse=address,
    )
    token: Secret | None = setting(
        "SPORTIV_TOKEN",
        default="none",
        allowed="at least 16 characters of ASCII without spaces",
        about="A secret that callers must send, as `Authorization: Bearer <token>`; needed to "
        "listen beyond this machine.",
        parse=Secret,
        preset=lambda: None,
        secret=True,
    )
    open_reads: bool = setting(
        "SPORTIV_OPEN_READS",
        default="0",
        allowed="1 or 0",
        about="Whether calls that change nothing need no token where one is set. `/healthz`, "
        "`/readyz`, and the page with its files never need one.",
        parse=flag,
    )
    data: Path = setting(
        "SPORTIV_DATA",
        default="what `make data` has downloaded, else data/sample.csv.gz",
        allowed="the path of a CSV file, gzipped or not, or of a Parquet file",
        about="The table.",
        parse=path,
        preset=_table,
    )
    dataset: Path = setting(
        "SPORTIV_DATASET",
        default="data/cdc_brfss.toml, beside gunicorn.conf.py",
        allowed="the path of a dataset description (TOML)",
        about="Which columns of the table play which part.",
        parse=path,
        preset=_beside("data/cdc_brfss.toml"),
    )
    results_dir: Path = setting(
        "SPORTIV_RESULTS_DIR",
        default="results, beside gunicorn.conf.py",
        allowed="the path of a folder",
        about="Where each job has its JSON file, and the ledger its folder.",
        parse=path,
        preset=_beside("results"),
    )
    column_cache: Path | None = setting(
        "SPORTIV_COLUMN_CACHE",
        default="columns, in the server's own folder among the results",
        allowed="the path of a folder, or 0 for none",
        about="Where the columns of the tables that were loaded last are kept, so that an "
        "unchanged table is ready at once at the next start.",
        parse=path_or_none,
        preset=lambda: Path("columns"),  # from the server's own folder
    )
    log_dir: Path = setting(
        "SPORTIV_LOG_DIR",
        default="logs, beside gunicorn.conf.py",
        allowed="the path of a folder",
        about="Where the log files lie.",
        parse=path,
        preset=_beside("logs"),
    )
    log_keep: bool = setting(
        "SPORTIV_LOG_KEEP",
        default="0",
        allowed="1 or 0",
        about="Whether a start goes on in the old log instead of beginning a new one.",
        parse=flag,
    )
    log_format: LogFormat = setting(
        "SPORTIV_LOG_FORMAT",
        default="text",
        allowed="text or json",
        about="Whether a line of the log is text, or a JSON object with the same and more fields.",
        parse=LogFormat,
    )
    workers: int = setting(
        "SPORTIV_WORKERS",
        default="one per core that the server may use",
        older="TP_NUM_OF_THREADS",
        allowed="a whole number from 1 to 1024",
        about="How many workers compute; with `dask`, how many are to be kept busy.",
        parse=whole(1, 1024),
        preset=lambda: Machine().cores(),
    )
    backend: Backend = setting(
        "SPORTIV_BACKEND",
        default="process",
        allowed="process, thread or dask",
        about="Whether the workers are processes, threads, or those of a Dask cluster.",
        parse=Backend,
    )
    dask_scheduler: str | None = setting(
        "SPORTIV_DASK_SCHEDULER",
        default="none",
        allowed="tcp://host:port or tls://host:port",
        about="Where the Dask scheduler listens; needed with `SPORTIV_BACKEND=dask`, which also "
        "needs the extra `dask`.",
        parse=scheduler,
        preset=lambda: None,
    )
    dask_columns: Path | None = setting(
        "SPORTIV_DASK_COLUMNS",
        default="sportiv-columns-(user id), in shared memory",
        allowed="the path of a folder on the Dask workers' hosts",
        about="Where each host of Dask workers keeps the columns; they are sent once to each "
        "folder, so one that several hosts share gets them once.",
        parse=path,
        preset=lambda: None,
    )
    dask_patience: float = setting(
        "SPORTIV_DASK_PATIENCE",
        default="600",
        allowed="seconds, from 1 to 86400",
        about="How long accepted jobs wait where there is no Dask worker at all, or no scheduler, "
        "in seconds; then they fail.",
        parse=seconds(1, 86_400),
    )
    threads: int = setting(
        "SPORTIV_THREADS",
        default="16",
        allowed="a whole number from 1 to 256",
        about="How many HTTP requests are dealt with at a time.",
        parse=whole(1, 256),
    )
    receive_timeout: float = setting(
        "SPORTIV_RECEIVE_TIMEOUT",
        default="10",
        allowed="seconds, from 0.1 to 3600",
        about="How long a request may take to arrive, in seconds, from its first byte to its last.",
        parse=seconds(0.1, 3600),
    )
    max_queued: int = setting(
        "SPORTIV_MAX_QUEUED",
        default="10000",
        allowed="a whole number from 1 to 1000000",
        about="How many jobs may wait or run before the server answers 503.",
        parse=whole(1, 1_000_000),
    )
    job_timeout: float = setting(
        "SPORTIV_JOB_TIMEOUT",
        default="300",
        allowed="seconds, from 0.01 to 86400",
        about="How long a job may take, in seconds, from when its first task begins; then it "
        "fails, and whoever computes for it is killed.",
        parse=seconds(0.01, 86_400),
    )
    max_attempts: int = setting(
        "SPORTIV_MAX_ATTEMPTS",
        default="3",
        allowed="a whole number from 1 to 100",
        about="How many workers a task may cost before its job fails.",
        parse=whole(1, 100),
    )
    worker_memory: int = setting(
        "SPORTIV_WORKER_MEMORY",
        default="1G",
        allowed="a size such as 512M or 2G, at least 16M",
        about="How much memory a worker process may take for its tasks, beyond what it has at its "
        "start; a job that needs more fails. The shared table does not count.",
        parse=size(16 * 2**20),
    )
    worker_max_tasks: int = setting(
        "SPORTIV_WORKER_MAX_TASKS",
        default="100000",
        allowed="a whole number from 0 to 1000000000",
        about="After how many tasks a worker process is replaced by a new one; 0: never for that.",
        parse=whole(0, 10**9),
    )
    durability: Durability = setting(
        "SPORTIV_DURABILITY",
        default="full",
        allowed="full or process",
        about="Whether an accepted job survives loss of power, or only killed processes.",
        parse=Durability,
    )
    drain_timeout: float = setting(
        "SPORTIV_DRAIN_TIMEOUT",
        default="30",
        allowed="seconds, from 0 to 3600",
        about="How long SIGTERM waits for accepted jobs, in seconds; the rest run at the "
        "next start.",
        parse=seconds(0, 3600),
    )

    cache: bool = setting(
        "SPORTIV_CACHE",
        default="1",
        allowed="1 or 0",
        about="Whether a question that was answered before, on the same data, is given that answer "
        "again. One about a random method is only where it comes with a seed.",
        parse=flag,
    )
    result_ttl: float = setting(
        "SPORTIV_RESULT_TTL",
        default="604800",
        allowed="seconds, from 1 to 3153600000, or 0",
        about="How long a job that has ended is kept, in seconds: its result and its record. "
        "0: for ever.",
        parse=seconds_or_none(1, 3_153_600_000),
    )
    max_results: int = setting(
        "SPORTIV_MAX_RESULTS",
        default="200000",
        allowed="a whole number from 1 to 100000000",
        about="How many jobs that have ended are kept; the oldest go first.",
        parse=whole(1, 100_000_000),
    )

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """The settings in `environment`; SettingError names the variable that is wrong."""
        return cls(**{name: variable.read(environment) for name, variable in cls.variables()})

    @classmethod
    def strangers(cls, environment: Mapping[str, str]) -> list[str]:
        """A sentence for each variable that is named like a setting, and is none."""
        return list(strangers(environment, [variable.name for _, variable in cls.variables()]))

    @classmethod
    def variables(cls) -> list[tuple[str, Variable]]:
        """Each field's name with its variable, in the order of the fields."""
        return [(each.name, each.metadata["variable"]) for each in fields(cls)]
