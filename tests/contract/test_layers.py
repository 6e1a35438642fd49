"""Imports run only downward, and importing starts nothing."""

import ast
import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import server

LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(f"server.{name}" for name in layer.split())
    for layer in (
        (
            "errors messages plain_request lane wire reach channel table machine interpreter"
            " memory digest variable client client_errors"
        ),
        (
            "settings connection connections drain_rate job_state reserve result_locks"
            " logging_setup folder_lock dataset column_source chart_library stats"
        ),
        (
            "csv_text csv_rows row_order coding row_collector parquet_file ingest shared_data"
            " column_cache ledger_schema ledger_reader ledger result_store request_fields catalogue"
            " pool dask_columns"
        ),
        (
            "fork_server crew staff pipes inbox turns scheduler deadlines dispatch lookout worker"
            " gathering submission answer_cache result_writer end_recorder housekeeper loader"
            " dask_worker dask_tasks dask_staff dask_session"
        ),
        "supervisor process_pool thread_pool dask_supervisor dask_pool",
        (
            "metrics admission live_jobs intake job_view job_results jobs answered csv_answer"
            " answers server_answers"
        ),
        (
            "guard problems http_input facts dashboard replies error_replies job_endpoints"
            " server_endpoints page_endpoints endpoints request_log route job_routes server_routes"
            " routes openapi docs_page documents express refusal patient_worker runtime"
        ),
        "wsgi cli",
    )
)
"""Each module's layer. A module imports only from its own layer and from those before it."""

FOLDER = Path(server.__file__).parent


def name_of(path: Path) -> str:
    parts = path.relative_to(FOLDER.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


FILES = {name_of(path): path for path in sorted(FOLDER.rglob("*.py"))}
MODULES = sorted(FILES)


def layer_of(module: str) -> int:
    """The layer of a module, or of the package that it is part of; the root is below all."""
    if module == "server":
        return -1
    (found,) = (
        number
        for number, layer in enumerate(LAYERS)
        for name in layer
        if module == name or module.startswith(f"{name}.")
    )
    return found


def imported(source: str) -> Iterator[str]:
    """Every module named by an import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module, names, 0):
                assert module is not None
                yield from (
                    whole if (whole := f"{module}.{name.name}") in FILES else module
                    for name in names
                )
            case ast.ImportFrom():
                raise AssertionError(f"line {node.lineno}: a relative import says less")


@cache
def imports() -> dict[str, frozenset[str]]:
    """What each module imports."""
    return {
        module: frozenset(imported(path.read_text(encoding="utf-8")))
        for module, path in FILES.items()
    }


def own_imports(module: str) -> set[str]:
    return {name for name in imports()[module] if name in FILES}


# -- the layers -----------------------------------------------------------------------


def test_every_module_has_one_layer_and_every_name_a_module() -> None:
    listed = [name for layer in LAYERS for name in layer]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {".".join(name.split(".")[:2]) for name in MODULES} - {"server"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downward(module: str) -> None:
    upward = {name for name in own_imports(module) if layer_of(name) > layer_of(module)}
    assert upward == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    try:
        TopologicalSorter({module: own_imports(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_an_import_is_seen_wherever_it_stands() -> None:
    source = (
        "import server.jobs as j\n"
        "from server import ledger\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from server.wsgi import Server\n"
        "def f():\n    from server.crew import Crew, Worker\n"
    )
    assert {name for name in imported(source) if name in FILES} == {
        "server.jobs",
        "server.ledger",
        "server.wsgi",
        "server.crew",
    }


# -- who may use what -----------------------------------------------------------------

USERS: dict[str, set[str]] = {
    "polars": {
        "server.client.jobs",
        "server.ingest",
        "server.parquet_file",
        "server.row_collector",
        "server.row_order",
    },
    "flask": {
        "server.endpoints",
        "server.error_replies",
        "server.guard",
        "server.job_endpoints",
        "server.page_endpoints",
        "server.problems",
        "server.replies",
        "server.request_log",
        "server.server_endpoints",
        "server.wsgi",
    },
    "werkzeug": {"server.endpoints", "server.error_replies"},
    "sqlite3": {"server.ledger", "server.ledger_reader"},
    "distributed": {"server.dask_session", "server.dask_staff", "server.dask_worker"},
    "prometheus_client": {"server.metrics"},
    "vl_convert": {"server.chart_library", "server.cli.output"},
    "multiprocessing": set(),
    "pickle": set(),
    "gunicorn": {"server.patient_worker", "server.refusal"},
    "requests": set(),
    "pandas": {"server.client.jobs"},
    "urllib3": {"server.client.transport"},
    "click": {name for name in MODULES if name.startswith("server.cli.")},
    "rich": {"server.cli.session", "server.cli.show", "server.cli.watch"},
    "tests": set(),
    "tools": set(),
}
"""The only modules that may import each of these."""


@pytest.mark.parametrize("package", USERS)
def test_a_package_is_imported_only_where_it_belongs(package: str) -> None:
    users = {
        module
        for module, names in imports().items()
        if any(name.partition(".")[0] == package for name in names)
    }
    assert users <= USERS[package]


LOADED = (
    "import json, sys\n"
    "for module in sys.argv[1:]:\n"
    "    __import__(module)\n"
    "print(json.dumps(sorted(sys.modules)))\n"
)


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (
            ["server.fork_server", "server.worker", "server.stats"],
            ["flask", "polars", "sqlite3", "gunicorn", "werkzeug", "pandas", "server.jobs"],
        ),
        (["server.wsgi"], ["flask", "polars", "sqlite3", "numpy", "gunicorn"]),
        (
            ["server.runtime", "server.endpoints"],
            ["polars", "server.ingest", "gunicorn", "vl_convert", "distributed", "dask"],
        ),
        (["server.loader"], ["polars", "flask", "sqlite3"]),
        (["server.client"], ["flask", "numpy", "polars", "pandas", "msgspec", "server.errors"]),
    ],
    ids=lambda names: names[0],
)
def test_a_process_loads_no_more_than_it_needs(
    run_python: Callable[..., str], modules: list[str], unwanted: list[str]
) -> None:
    loaded = json.loads(run_python(LOADED, *modules))
    assert not set(unwanted) & set(loaded)


# -- nothing runs at import -----------------------------------------------------------


def libraries(module: str) -> set[str]:
    """The packages of others that the module needs, itself or by way of ours.

    Whoever imports a module imports the package that it is in.
    """
    found: set[str] = set()
    modules, seen = {module}, set[str]()
    while modules:
        modules |= {name.rpartition(".")[0] or name for name in modules}
        seen |= modules
        found |= {name.partition(".")[0] for each in modules for name in imports()[each]}
        modules = {name for each in modules for name in own_imports(each)} - seen
    return found - sys.stdlib_module_names - {"server"}


LOOK = (
    "import importlib, json, os, signal, sys, threading\n"
    "def look():\n"
    "    ours = f'/proc/{os.getpid()}'\n"
    "    links = (f'{ours}/fd/{fd}' for fd in os.listdir(f'{ours}/fd'))\n"
    "    handlers = {str(s): str(signal.getsignal(s)) for s in signal.valid_signals()}\n"
    "    return {\n"
    "        'files': sorted(os.readlink(link) for link in links if os.path.lexists(link)),\n"
    "        'threads': [thread.name for thread in threading.enumerate()],\n"
    "        'tasks': len(os.listdir(f'{ours}/task')),\n"
    "        'children': open(f'{ours}/task/{os.getpid()}/children').read(),\n"
    "        'handlers': handlers,\n"
    "        'environment': dict(os.environ),\n"
    "        'folder': sorted(os.listdir('.')),\n"
    "    }\n"
    "modules, libraries = map(json.loads, sys.argv[1:])\n"
    "for library in libraries:\n"
    "    importlib.import_module(library)\n"  # NumPy and polars start threads of their own
    "looks = [['nothing', look()]]\n"
    "for module in modules:\n"
    "    importlib.import_module(module)\n"
    "    looks.append([module, look()])\n"
    "print(json.dumps(looks))\n"
)


def test_importing_a_module_starts_nothing(run_python: Callable[..., str], tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(FOLDER.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    needed = sorted(set().union(*map(libraries, MODULES)))
    modules = sorted(MODULES, key=layer_of)  # so that each does what it does by itself
    printed = run_python(
        LOOK, json.dumps(modules), json.dumps(needed), env=environment, cwd=tmp_path
    )
    for (_, before), (module, after) in pairwise(json.loads(printed)):
        assert after == before, module
