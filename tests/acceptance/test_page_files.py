"""The page's files from a real server: what a browser is told about them, and who gets them."""

import html.parser
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from server.chart_library import ChartLibrary
from tests.support.raw_http import exchange
from tests.support.servers import Answer, RunningServer, running_server

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("page")) as running:
        yield running


class Addresses(html.parser.HTMLParser):
    """What a browser that shows the page asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named: dict[str, Any] = dict(attrs)
        if tag in ("link", "script", "img"):
            self.found += [named[name] for name in ("href", "src") if name in named]
        assert not any(name.startswith("on") or name == "style" for name in named)
        assert tag not in ("style", "base")


def shown(server: RunningServer, path: str, **headers: str) -> Answer:
    answer = server.ask("GET", path, None, headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer


@pytest.mark.parametrize("path", ["/", "//"])
def test_the_page_is_html_under_a_strict_policy(server: RunningServer, path: str) -> None:
    answer = shown(server, path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert answer.content.startswith(b"<!doctype html>")


def test_whatever_the_page_asks_for_is_there_and_is_the_server_s_own(
    server: RunningServer,
) -> None:
    found = Addresses(shown(server, "/").content.decode()).found
    addresses = [urljoin("/", address) for address in found]
    assert addresses
    for address in addresses:
        assert address.startswith("/assets/")
        assert shown(server, address).status in (200, 302), address


def test_the_library_is_led_to_by_its_version_and_kept_for_ever(server: RunningServer) -> None:
    led = shown(server, "/assets/vega.js")
    assert (led.status, led.content) == (302, b"")
    assert led.headers["cache-control"] == "no-cache"
    assert led.headers["location"] == f"/assets/{ChartLibrary().name}"
    answer = shown(server, led.headers["location"])
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert b"vegaEmbed" in answer.content
    tag = answer.headers["etag"]
    again = shown(server, led.headers["location"], **{"If-None-Match": tag})
    assert (again.status, again.content, again.headers["etag"]) == (304, b"", tag)


@pytest.mark.parametrize("path", ["/", "/assets/style.css"])
def test_what_a_browser_has_is_not_sent_again(server: RunningServer, path: str) -> None:
    first = shown(server, path)
    tag = first.headers["etag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = shown(server, path, **{"If-None-Match": known})
        assert (again.status, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == "no-cache"
    other = shown(server, path, **{"If-None-Match": '"other"'})
    assert (other.status, other.content) == (200, first.content)
    assert parsedate_to_datetime(other.headers["date"])


@pytest.mark.parametrize("path", ["/", "/assets/style.css"])
def test_head_says_what_get_would(server: RunningServer, path: str) -> None:
    got, head = shown(server, path), server.ask("HEAD", path)
    assert (head.status, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "cache-control"):
        assert head.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "", "index.html", "..%2f__init__.py", "../__init__.py", "style.css/", "%00"],
)
def test_no_other_file_is_reached(server: RunningServer, name: str) -> None:
    answer = shown(server, f"/assets/{name}")
    assert answer.status == 404
    assert answer.json == {"status": "error", "reason": "the page has no file of this name"}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/assets/style.css"])
def test_the_page_can_only_be_read(server: RunningServer, method: str, path: str) -> None:
    answer = server.ask(method, path, b"")
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_a_kept_connection_takes_the_page_between_a_job_and_its_result(
    server: RunningServer,
) -> None:
    """The short way and the long way take turns on one connection."""
    question = server.questions()[0]
    body = f'{{"question": "{question}"}}'.encode()
    post = b"POST /api/best5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    post += f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    page = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /assets/nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answered = exchange(server, post + page + post + last)
    assert answered.index(b"HTTP/1.1 202") < answered.index(b"<!doctype html>")
    assert answered.count(b"HTTP/1.1 202") == 2
    assert answered.count(b"HTTP/1.1 404") == 1


# -- who gets them --------------------------------------------------------------------


def test_the_page_needs_no_token_and_what_it_asks_for_does(tmp_path: Path) -> None:
    with running_server(tmp_path, SPORTIV_TOKEN=TOKEN) as guarded:
        for path in ("/", "//", "/assets/style.css", "/assets/vega.js"):
            assert guarded.ask("GET", path).status in (200, 302)
            assert guarded.ask("HEAD", path).status in (200, 302)
            assert guarded.ask("POST", path, b"").status == 401
        assert guarded.ask("GET", "/assets/nothing").status == 404
        for path in ("/assets", "/api/jobs", "/assetsx", "/docs", "/index.html"):
            assert guarded.ask("GET", path).status == 401
        assert TOKEN.encode() not in guarded.ask("GET", "/").content


def test_a_name_of_another_site_that_points_here_does_not_get_the_page(
    server: RunningServer,
) -> None:
    for path in ("/", "/assets/style.css"):
        assert server.ask("GET", path, None, {"Host": "evil.example"}).status == 403
