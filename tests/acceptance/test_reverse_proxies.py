"""The page about tokens and reverse proxies: its configurations, in front of a live server."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.pages import Reader, blocks, section, session, text_of
from tests.support.servers import ROOT, RunningServer, free_port, running_server, wait_for

PAGE = text_of("docs/how-to/tokens-and-a-reverse-proxy.md")
NAME = "stats.example"
TOKEN = "a-token-for-the-proxies"
LONGEST_WAIT = 60
"""How many seconds a client may ask the server to wait."""

SYSTEM = "/usr/sbin:/usr/local/sbin"


def program(name: str) -> str:
    """The program's path; skips the test where it is not installed."""
    found = shutil.which(name) or shutil.which(name, path=SYSTEM)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("behind")
    sample = str(ROOT / "data" / "sample.csv.gz")
    with running_server(folder, SPORTIV_TOKEN=TOKEN, SPORTIV_DATA=sample) as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for the name, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *(program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"),
            *("-out", "fullchain.pem", "-keyout", "privkey.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return folder


class Client(Reader):
    """A reader elsewhere, to whom the name leads to the proxy on a port of this machine."""

    def __init__(self, folder: Path, port: int, certificate: Path) -> None:
        config = f'cacert = "{certificate}/fullchain.pem"\nresolve = "{NAME}:{port}:127.0.0.1"\n'
        (folder / ".curlrc").write_text(config, "utf-8")
        super().__init__(folder, 0, SPORTIV_TOKEN=TOKEN, CURL_HOME=str(folder))
        self.site = f"https://{NAME}:{port}"

    def run(self, command: str) -> str:
        return super().run(command.replace(f"https://{NAME}", self.site))

    def is_reached(self) -> bool:
        try:
            return '"ok"' in self.run(f"curl -s https://{NAME}/healthz")
        except AssertionError:
            return False


@contextmanager
def running(command: list[str], folder: Path, client: Client) -> Iterator[Client]:
    """The proxy, from when the server is reached through it."""
    with (folder / "proxy.txt").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={"HOME": str(folder)}, stdout=log, stderr=log
        )
    try:
        wait_for(client.is_reached, "the server is reached through the proxy")
        yield client
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def nginx(folder: Path, server: RunningServer, certificate: Path) -> Iterator[Client]:
    """nginx with the page's configuration; its other port is in `plain_port`."""
    (configuration,) = blocks(PAGE, "nginx")
    port, plain_port = free_port(), free_port()
    for shown, here in [
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("listen 80", f"listen 127.0.0.1:{plain_port}"),
        ("127.0.0.1:5000", f"127.0.0.1:{server.port}"),
        (f"/etc/ssl/{NAME}", str(certificate)),
    ]:
        assert shown in configuration
        configuration = configuration.replace(shown, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}{configuration}}}\n",
        "utf-8",
    )
    (folder / "plain_port").write_text(str(plain_port))
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, folder, Client(folder, port, certificate)) as client:
        yield client


@contextmanager
def caddy(folder: Path, server: RunningServer, certificate: Path) -> Iterator[Client]:
    """Caddy with the page's configuration, and the test's certificate."""
    (configuration,) = blocks(PAGE, "caddy")
    port = free_port()
    configuration = configuration.replace(
        f"{NAME} {{",
        f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n"
        f"\ttls {certificate}/fullchain.pem {certificate}/privkey.pem",
    ).replace("127.0.0.1:5000", f"127.0.0.1:{server.port}")
    (folder / "Caddyfile").write_text(
        f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{configuration}", "utf-8"
    )
    command = [program("caddy"), "run", "--config", str(folder / "Caddyfile")]
    with running(command, folder, Client(folder, port, certificate)) as client:
        yield client


@pytest.fixture(scope="module", params=[nginx, caddy], ids=lambda proxy: proxy.__name__)
def client(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    server: RunningServer,
    certificate: Path,
) -> Iterator[Client]:
    """Who reaches the server through one of the proxies."""
    proxy: Callable[..., contextmanager[Client]] = request.param
    program("curl")
    with proxy(tmp_path_factory.mktemp("proxy"), server, certificate) as reached:
        yield reached


def test_a_server_with_a_token_answers_as_the_page_shows(
    server: RunningServer, tmp_path: Path
) -> None:
    program("curl")
    with running_server(tmp_path, SPORTIV_TOKEN=TOKEN) as fresh:
        reader = Reader(tmp_path, fresh.port, SPORTIV_TOKEN=TOKEN)
        reader.follow(session(section(PAGE, "A token")))


def test_the_token_that_the_page_makes_is_one(tmp_path: Path) -> None:
    make, keep = blocks(section(PAGE, "A token"), "sh")
    Reader(tmp_path, 0).run(keep.replace("make run\n", ""))
    variable, _, token = (tmp_path / "sportiv.env").read_text().strip().partition("=")
    assert variable == "SPORTIV_TOKEN"
    assert (tmp_path / "sportiv.env").stat().st_mode & 0o077 == 0
    assert len(token) == len(Reader(tmp_path, 0).run(make).strip()) >= 16


def test_the_server_is_reached_through_the_proxy_as_the_page_shows(client: Client) -> None:
    client.follow(session(section(PAGE, "Does it work?")))


POST = (
    f"curl -s https://{NAME}/api/states_mean -H 'Authorization: Bearer {TOKEN}'"
    " -H 'Content-Type: application/json' -o /dev/null -w '%{http_code}'"
)
QUESTION = '{"question": "Percent of adults aged 18 years and older who have obesity"}'


def test_the_servers_own_page_may_ask_through_the_proxy_and_no_other_site(client: Client) -> None:
    def asked_by(site: str) -> str:
        return client.run(f"{POST} -H 'Origin: {site}' -d '{QUESTION}'")

    assert asked_by(f"https://{NAME}") == "202"
    assert asked_by("https://elsewhere.example") == "403"
    assert asked_by(client.site.replace("https:", "http:")) == "403"


def test_a_body_that_is_too_long_is_refused_in_the_servers_own_words(client: Client) -> None:
    command = POST.partition(" -o ")[0]
    answer = client.run(f"head -c 70000 /dev/zero | tr '\\0' ' ' | {command} -d @-")
    assert json.loads(answer)["status"] == "error"


def test_a_result_that_takes_a_while_is_waited_for_through_the_proxy(client: Client) -> None:
    command = POST.partition(" -o ")[0].replace("states_mean", "bootstrap_ci")
    body = json.dumps({**json.loads(QUESTION), "by": "state", "n_resamples": 20_000, "seed": 1})
    accepted = json.loads(client.run(f"{command} -d '{body}'"))
    waiting = f"/api/get_results/{accepted['job_id']}?wait=60"
    answer = client.run(f"curl -s -H 'Authorization: Bearer {TOKEN}' 'https://{NAME}{waiting}'")
    assert json.loads(answer)["status"] == "done"


def test_nginx_waits_longer_than_a_client_may() -> None:
    (configuration,) = blocks(PAGE, "nginx")
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", configuration)
    assert int(seconds) > LONGEST_WAIT


def test_nginx_sends_plain_http_to_https(
    tmp_path: Path, server: RunningServer, certificate: Path
) -> None:
    with nginx(tmp_path, server, certificate) as client:
        port = (tmp_path / "plain_port").read_text()
        address = f"http://127.0.0.1:{port}/api/jobs?limit=3"
        sent = client.run(f"curl -s -H 'Host: {NAME}' -w '%{{redirect_url}}' -o page {address!r}")
    assert sent == f"https://{NAME}/api/jobs?limit=3"


def test_a_server_without_a_token_refuses_what_comes_by_another_name(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        answer = server.ask("GET", "/api/jobs", headers={"Host": NAME})
    assert answer.status == 403
    assert NAME in answer.json["reason"]
