"""Who may call a server, who may not, and what every answer tells browsers."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.errors import SettingError, StartError
from server.reach import Secret, check_reach
from server.settings import Settings
from tests.support.servers import RunningServer, running_server, wait_for

TOKEN = "correct-horse-battery-staple"
OBESITY = "Percent of adults aged 18 years and older who have obesity"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CHANGES = [
    ("POST", "/api/best5"),
    ("DELETE", "/api/jobs/1"),
    ("GET", "/api/graceful_shutdown"),
    ("HEAD", "/api/graceful_shutdown"),
    ("POST", "/api/graceful_shutdown"),
    ("GET", "//api/graceful_shutdown"),
    ("POST", "/nowhere"),
]
READS = ["/api/jobs", "/api/get_results/1", "/api/statistics", "/api/pool", "/nowhere"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("open")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("guarded"), SPORTIV_TOKEN=TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("readable")
    with running_server(folder, SPORTIV_TOKEN=TOKEN, SPORTIV_OPEN_READS="1") as running:
        yield running


# -- the token ------------------------------------------------------------------------

WRONG = [
    {},
    {"Authorization": TOKEN},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Basic {TOKEN}"},
    {"Authorization": "Bearer caf\xe9-caf\xe9-caf\xe9-caf\xe9"},
]


@pytest.mark.parametrize("headers", WRONG)
@pytest.mark.parametrize(("method", "path"), [*CHANGES, *(("GET", path) for path in READS)])
def test_without_the_token_nothing_is_answered(
    guarded: RunningServer, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = guarded.ask(method, path, None, headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert method == "HEAD" or "token" in answer.json["reason"]
    assert TOKEN not in str(answer)


def test_with_the_token_everything_is_as_without_one(guarded: RunningServer) -> None:
    answer = guarded.ask("POST", "/api/best5", {"question": OBESITY}, BEARER)
    assert answer.status == 202
    path = answer.headers["location"]
    wait_for(
        lambda: guarded.ask("GET", path, None, BEARER).json["status"] == "done", "the job ends"
    )
    lower = {"authorization": f"bearer  {TOKEN}"}
    assert guarded.ask("GET", "/api/jobs", None, lower).status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "//healthz"])
def test_health_needs_no_token(guarded: RunningServer, path: str) -> None:
    assert guarded.ask("GET", path).status == 200


def test_with_open_reads_only_changes_need_the_token(readable: RunningServer) -> None:
    assert readable.ask("GET", "/api/jobs").status == 200
    assert readable.ask("GET", "/nowhere").status == 404
    for method, path in CHANGES:
        assert readable.ask(method, path).status == 401
    assert readable.ask("POST", "/api/best5", {"question": OBESITY}, BEARER).status == 202


def test_the_token_is_in_no_log(guarded: RunningServer) -> None:
    guarded.ask("GET", "/api/jobs?after=7", None, BEARER)
    wait_for(lambda: "after=7" in guarded.log(), "the request is logged")
    assert TOKEN not in guarded.log()
    assert TOKEN not in guarded.errors.read_text()


def test_a_secret_is_compared_and_never_shown() -> None:
    secret = Secret(TOKEN)
    assert secret.equals(TOKEN)
    assert not secret.equals(TOKEN + "\udcff")
    assert TOKEN not in f"{secret} {secret!r} {Settings.read({'SPORTIV_TOKEN': TOKEN})}"


@pytest.mark.parametrize("text", ["hush", "with a space in it", "caf\xe9" * 5, "x" * 15])
def test_a_poor_secret_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(SettingError, match="SPORTIV_TOKEN") as refusal:
        Settings.read({"SPORTIV_TOKEN": text})
    assert text not in str(refusal.value)


# -- where it listens -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {"SPORTIV_BIND": "0.0.0.0:{port}"}),
        ([], {"SPORTIV_BIND": "[::]:{port}"}),
        ([], {"SPORTIV_BIND": "stats.example:{port}"}),
        (["--bind", "0.0.0.0:{port}"], {}),
        (["--bind", "127.0.0.1:{port}", "--bind", "0.0.0.0:{port}"], {}),
        ([], {"GUNICORN_CMD_ARGS": "--bind=0.0.0.0:{port}"}),
        ([], {"LISTEN_FDS": "1"}),
    ],
)
def test_without_a_token_no_start_lets_other_machines_in(
    server: RunningServer, tmp_path: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    # A port that is taken: even a start that goes wrong here listens to nobody.
    arguments = [each.format(port=server.port) for each in arguments]
    filled = {name: text.format(port=server.port) for name, text in environment.items()}
    with running_server(tmp_path, *arguments, wait=False, **filled) as refused:
        assert refused.exit_code() != 0
        said = refused.errors.read_text()
    assert "sportiv: cannot start: listening at" in said
    assert "SPORTIV_TOKEN" in said
    assert "Traceback" not in said
    assert not refused.results.exists()


@pytest.mark.parametrize(
    ("address", "reachable"),
    [
        (("127.0.0.1", 1), False),
        (("127.9.9.9", 1), False),
        (("::1", 1, 0, 0), False),
        (("LocalHost", 1), False),
        ("/run/sportiv.sock", False),
        (("0.0.0.0", 1), True),
        (("", 1), True),
        (("::", 1), True),
        (("10.0.0.1", 1), True),
        (("localhost.example", 1), True),
        (("127.0.0.1.example", 1), True),
        (3, True),
    ],
)
def test_what_others_can_reach_needs_a_token(address: Any, reachable: bool) -> None:
    check_reach([address], Secret(TOKEN))
    if reachable:
        with pytest.raises(StartError):
            check_reach([("127.0.0.1", 1), address], None)
    else:
        check_reach([address], None)


def test_tls_is_left_to_a_proxy(tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch()
    arguments = ["--certfile", str(tmp_path / "key.pem"), "--keyfile", str(tmp_path / "key.pem")]
    with running_server(tmp_path, *arguments, wait=False) as refused:
        assert refused.exit_code() != 0
        assert "TLS is not possible" in refused.errors.read_text()


# -- web pages ------------------------------------------------------------------------

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "new-word"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1:{port}"},
    {"Origin": "http://127.0.0.1:{port}.evil.example"},
    {"Origin": "http://localhost:{port}"},
    {"Host": "evil.example:{port}"},
    {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"},
    {"Host": "localhost.evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost@evil.example"},
    {"Host": "[::1"},
    {"Host": ""},
]


def filled(server: RunningServer, headers: dict[str, str]) -> dict[str, str]:
    return {name: value.format(port=server.port) for name, value in headers.items()}


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_no_web_page_of_another_site_changes_anything(
    server: RunningServer, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = server.ask(method, path, None, filled(server, headers))
    assert answer.status == 403
    if method != "HEAD":
        wrong = {"Sec-Fetch-Site": "Sec-Fetch-Site", "Origin": "Origin", "Host": "host"}
        assert wrong[next(iter(headers))] in answer.json["reason"]
    assert server.ask("GET", "/readyz").status == 200


def test_no_page_reads_by_pointing_its_own_name_here(server: RunningServer) -> None:
    foreign = {"Host": "evil.example"}
    assert server.ask("GET", "/api/jobs", None, foreign).status == 403
    assert server.ask("GET", "/healthz", None, foreign).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:{port}"},
        {"Host": "localhost:{port}", "Origin": "http://LOCALHOST:{port}"},
        {"Host": "localhost:80", "Origin": "http://localhost"},
        {"Host": "192.0.2.7"},
        {"Host": "[2001:db8::7]:5000"},
    ],
    ids=str,
)
def test_the_servers_own_pages_and_clients_that_are_no_browsers_pass(
    server: RunningServer, headers: dict[str, str]
) -> None:
    answer = server.ask("POST", "/api/best5", {"question": OBESITY}, filled(server, headers))
    assert answer.status == 202


def test_a_token_replaces_the_check_of_the_host_but_not_that_of_the_page(
    guarded: RunningServer,
) -> None:
    body, proxied = {"question": OBESITY}, BEARER | {"Host": "stats.example"}
    assert guarded.ask("POST", "/api/best5", body, proxied).status == 202
    foreign = proxied | {"Origin": "https://evil.example"}
    assert guarded.ask("POST", "/api/best5", body, foreign).status == 403


# -- what every answer tells ----------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/api/jobs", {}),
        ("GET", "/nowhere", {}),
        ("POST", "/api/best5", {}),
        ("GET", "/api/jobs", {"Host": "evil.example"}),
        ("GET", "/healthz", {"Transfer-Encoding": "nonsense"}),  # never reaches the application
    ],
)
def test_every_answer_has_the_headers_that_keep_browsers_safe(
    server: RunningServer, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = server.ask(method, path, None, headers)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["server"] == "sportiv"
    expected = {
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
    }
    assert expected.items() <= answer.headers.items()
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "problem"),
    [
        ("application/problem+json", True),
        ("application/problem+json, application/json", True),
        ("application/json;q=0.5, Application/Problem+JSON", True),
        ("application/problem+json, */*;q=0.1", True),
        ("application/json, application/problem+json;q=0.5", False),
        ("application/problem+json;q=0", False),
        ("application/*", False),
        ("*/*", False),
        ("text/html", False),
        ("", False),
    ],
)
def test_an_error_is_a_problem_for_those_who_ask_for_it(
    server: RunningServer, accept: str, problem: bool
) -> None:
    answer = server.ask("GET", "/api/get_results/999999", None, {"Accept": accept})
    assert answer.status == 404
    if problem:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "Invalid job_id",
        }
    else:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == {"status": "error", "reason": "Invalid job_id"}


def test_a_good_answer_is_never_a_problem(server: RunningServer) -> None:
    answer = server.ask("GET", "/healthz", None, {"Accept": "application/problem+json"})
    assert (answer.status, answer.json) == (200, {"status": "ok"})


def test_a_problem_keeps_what_else_the_answer_says(tmp_path: Path) -> None:
    with running_server(tmp_path) as closing:
        wait_for(lambda: closing.get("/api/graceful_shutdown")["status"] == "done", "drained")
        accept = {"Accept": "application/problem+json"}
        answer = closing.ask("POST", "/api/best5", {"question": OBESITY}, accept)
    assert answer.status == 503
    assert answer.headers["retry-after"]
    assert answer.json == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "shutting down",
        "job_id": -1,
    }


# -- files ----------------------------------------------------------------------------


def test_what_the_server_writes_only_its_user_can_read(tmp_path: Path) -> None:
    with running_server(tmp_path, SPORTIV_RESULTS_DIR=str(tmp_path / "deep/results")) as server:
        server.data("best5", question=OBESITY)
        made = [tmp_path / "deep", *(tmp_path / "deep").rglob("*")]
        made += [server.logs, *server.logs.rglob("*")]
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in made}
    assert len(modes) > 6
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), json.dumps(str(path))
