"""The description of the API: valid, whole, true of the running server, and readable."""

import copy
import html.parser
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from server import errors, job_routes, route, routes, settings
from server.endpoints import create_app
from server.stats import STATISTICS
from server.wire import MAX_BODY
from tests.support.backends import Settings
from tests.support.servers import ROOT, RunningServer, running_server, wait_for

CONFIGURATION = ROOT / "tests" / "support" / "schemathesis.toml"
SHUTDOWN = "/api/graceful_shutdown"
STARTUP = {
    errors.SettingError,
    errors.DescriptionError,
    errors.DataError,
    errors.SharedMemoryError,
    errors.StartError,
}
"""Errors that no client reads, because the server does not start."""


ROOMY = {
    "SPORTIV_WORKERS": "1",
    "SPORTIV_MAX_QUEUED": "1000000",
    "SPORTIV_DURABILITY": "process",
}
"""A server that leaves a core to those who ask, and has room for all that they ask."""

BRIEFLY = ("--phases", "examples,fuzzing,stateful", "--max-examples", "2", "--warnings", "off")
"""What the backend has no part in need not be asked once for each."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("openapi"), **ROOMY) as running:
        yield running


@pytest.fixture(scope="module")
def document(server: RunningServer) -> Any:
    answer = server.ask("GET", "/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json


def validator(document: Any, schema: Any) -> Draft202012Validator:
    """One that finds the document's components."""
    return Draft202012Validator({**schema, "components": document["components"]})


def body_of(document: Any, statistic: str) -> Any:
    post = document["paths"][f"/api/{statistic}"]["post"]
    return post["requestBody"]["content"]["application/json"]


# -- the document ---------------------------------------------------------------------


def test_the_document_is_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_the_document_has_exactly_the_addresses_that_the_server_has(document: Any) -> None:
    jobs = cast(Any, SimpleNamespace(catalogue=SimpleNamespace(statistics=STATISTICS)))
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in create_app(jobs, settings.Settings.read({})).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert described == served


def test_every_error_that_a_client_can_read_stands_with_its_status(document: Any) -> None:
    tree = {each for each in vars(errors).values() if isinstance(each, type)}
    tree = {each for each in tree if issubclass(each, errors.SportivError)}
    general = {errors.SportivError, errors.UnknownName}  # the second one is a BadRequest
    listed = {error for each in (job_routes.SUBMIT, *routes.ROUTES) for error in each.errors}
    listed |= set(route.EVERYWHERE)
    assert listed == tree - STARTUP - general
    told = json.dumps(document, ensure_ascii=False)
    assert all((each.__doc__ or "").splitlines()[0] in told for each in listed)


@pytest.mark.parametrize("name", STATISTICS)
def test_the_example_of_a_statistic_fits_its_schema(document: Any, name: str) -> None:
    body = body_of(document, name)
    assert body["example"] == json.loads(json.dumps(STATISTICS[name].example))
    validator(document, body["schema"]).validate(body["example"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"question": "obesty"},
        {"years": [2019, 2015]},
        {"years": [1900, 1901]},
        {"timeout_s": 301},
        {"priority": 10},
        {"states": []},
        {"states": ["Atlantis"]},
        {"stratum": "nobody"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_what_the_server_refuses_does_not_fit_the_schema(
    document: Any, server: RunningServer, wrong: dict[str, Any]
) -> None:
    right = body_of(document, "best5")["example"]
    check = validator(document, body_of(document, "best5")["schema"])
    assert check.is_valid(right)
    assert not check.is_valid(right | wrong)
    assert server.ask("POST", "/api/best5", right | wrong).status == 400


def test_limits_stand_in_the_document(document: Any) -> None:
    post = document["paths"]["/api/best5"]["post"]
    assert str(MAX_BODY) in post["requestBody"]["description"]
    assert post["responses"]["202"]["headers"].keys() == {"Location", "Retry-After"}
    assert post["responses"]["503"]["headers"].keys() == {"Retry-After"}
    assert {"400", "411", "413", "415", "500", "503", "507"} <= post["responses"].keys()


def test_another_name_of_something_in_the_table_fits_the_schema(document: Any) -> None:
    names = document["components"]["schemas"]["Category"]["enum"]
    assert {"Gender", "Sex"} <= set(names)


# -- the page -------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """What a page is made of; fails where elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.commands: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)
        if tag == "pre":
            self.commands.append("")
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "style", "srcset")
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "pre" in self.open:
            self.commands[-1] += data


@pytest.fixture(scope="module")
def page(server: RunningServer) -> Page:
    answer = server.ask("GET", "/docs")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    text = answer.content.decode()
    assert "@import" not in text
    assert "url(" not in text
    return Page(text)


def test_the_page_shows_every_operation_with_its_words(page: Page, document: Any) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert f"{method.upper()} {path}" in page.text
            assert operation["operationId"] in page.ids
            assert operation["summary"] in page.text
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= set(page.ids)


def test_the_page_needs_nothing_and_leads_nowhere_else(page: Page) -> None:
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "form", "object", "base"})
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.links) - {f"#{name}" for name in page.ids} == {"openapi.json"}


@pytest.mark.parametrize("name", STATISTICS)
def test_a_command_copied_from_the_page_asks_the_example(page: Page, name: str) -> None:
    (command,) = (each for each in page.commands if f"/api/{name} " in each)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["curl", "-s"]
    assert words[2].endswith(f"/api/{name}")
    assert json.loads(words[words.index("-d") + 1]) == json.loads(
        json.dumps(STATISTICS[name].example)
    )


# -- the server against the document --------------------------------------------------


def schemathesis(server: RunningServer, folder: Path, *arguments: str) -> tuple[bool, str]:
    """Whether Schemathesis finds nothing, and what it says; it leaves its files in `folder`."""
    ran = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
            *("--config-file", str(configuration(folder))),
            *("run", *arguments, "--url", f"http://127.0.0.1:{server.port}"),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = ran.stdout + ran.stderr
    return ran.returncode == 0 and "No issues found" in said, said


def configuration(folder: Path) -> Path:
    """CONFIGURATION; of statistics with the same fields only one is asked at every bound."""
    seen: set[type] = set()
    text = CONFIGURATION.read_text("utf-8")
    for row in STATISTICS.values():
        if row.request in seen:
            text += f'\n[[operations]]\ninclude-path = "/api/{row.name}"\n'
            text += "phases.coverage.enabled = false\n"
        seen.add(row.request)
    path = folder / "schemathesis.toml"
    path.write_text(text, "utf-8")
    return path


def address(server: RunningServer) -> str:
    return f"http://127.0.0.1:{server.port}/openapi.json"


def failed_jobs(server: RunningServer) -> list[str]:
    jobs = [job for each in server.get("/api/jobs")["data"] for job in each.items()]
    return [name for name, state in jobs if state == "error"]


def test_schemathesis_finds_nothing(backend: Settings, tmp_path: Path) -> None:
    how = () if backend["SPORTIV_BACKEND"] == "process" else BRIEFLY
    with running_server(tmp_path / "server", **ROOMY, **backend) as server:
        all_but = ("--exclude-path", SHUTDOWN)
        nothing, said = schemathesis(server, tmp_path, address(server), *all_but, *how)
        assert nothing, said
        assert server.get("/healthz") == {"status": "ok"}
        wait_for(lambda: server.get("/api/num_jobs")["data"] == 0, "every job has ended", 120.0)
        ended = [server.get(f"/api/get_results/{job_id}") for job_id in failed_jobs(server)]
        assert {answer["reason"] for answer in ended} <= {"cancelled"}


def test_schemathesis_finds_nothing_in_a_shutdown(tmp_path: Path) -> None:
    only = ("--include-path", SHUTDOWN, "--phases", "examples,coverage,fuzzing")
    with running_server(tmp_path / "server", SPORTIV_WORKERS="1") as server:
        nothing, said = schemathesis(server, tmp_path, address(server), *only)
        assert nothing, said
        refused = server.ask("POST", "/api/best5", dict(STATISTICS["best5"].example))
    assert refused.status == 503
    assert refused.headers["retry-after"].isdigit()
    assert refused.json == {"job_id": -1, "status": "error", "reason": "shutting down"}


def test_schemathesis_would_find_an_answer_that_is_not_as_described(
    server: RunningServer, tmp_path: Path, document: Any
) -> None:
    wrong = copy.deepcopy(document)
    wrong["components"]["schemas"]["JobCount"]["properties"]["num_jobs"] = {"type": "string"}
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(wrong), "utf-8")
    only = ("--include-path", "/api/num_jobs", "--phases", "fuzzing")
    nothing, said = schemathesis(server, tmp_path, str(path), *only)
    assert not nothing
    assert "Response violates schema" in said
