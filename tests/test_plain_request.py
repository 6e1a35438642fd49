"""A request that is taken for plain is one that gunicorn's own parser reads the same."""

from typing import Any

import pytest
from gunicorn import http
from gunicorn.config import Config
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server import plain_request as module
from server.connection import body_length
from server.plain_request import LONGEST_HEAD, PlainRequest, plain_request

POST = b"POST /api/best5 HTTP/1.1"
GET = b"GET /api/get_results/7 HTTP/1.1"
HOST = b"Host: localhost"
JSON = b"Content-Type: application/json"
LENGTH = b"Content-Length: 2"


def joined(*lines: bytes, body: bytes = b"") -> bytes:
    """A request of these lines, the first of which asks."""
    return b"\r\n".join([*lines, b"", body])


def post(*more: bytes, line: bytes = POST) -> bytes:
    """A POST that is plain, but for these lines behind its headers."""
    return joined(line, HOST, JSON, LENGTH, *more, body=b"{}")


def get(*more: bytes, line: bytes = GET) -> bytes:
    """As `post`, for a GET."""
    return joined(line, HOST, *more)


# -- what is plain --------------------------------------------------------------------


def test_a_post_says_its_statistic_and_has_its_body() -> None:
    found = plain_request(post(b"X-Request-Id: 12", b"Authorization: Bearer abc"))
    assert found is not None
    assert (found.statistic, found.body, found.job) == ("best5", b"{}", None)
    assert (found.headers.host, found.headers.length) == ("localhost", 2)
    assert (found.headers.request_id, found.headers.authorization) == ("12", "Bearer abc")


@pytest.mark.parametrize("name", [b"7", b"job_id_7"])
def test_a_get_says_its_job(name: bytes) -> None:
    found = plain_request(get(line=b"GET /api/get_results/" + name + b" HTTP/1.1"))
    assert found is not None
    assert (found.job, found.body, found.headers.length) == (7, b"", 0)


@pytest.mark.parametrize(
    "more",
    [
        (b"User-Agent: curl/8.5.0", b"Accept: */*"),
        (b"X-Forwarded-Proto: https", b"X-Forwarded-For: 10.0.0.7", b"X-Forwarded-Host: a.example"),
        (b"accept-encoding: gzip, deflate, br, zstd", b"ACCEPT-LANGUAGE: de,en;q=0.5"),
        (b"Connection: keep-alive", b"Cache-Control: no-cache", b"Pragma: no-cache"),
        (b"Connection:Keep-Alive",),
    ],
)
def test_what_common_clients_send_is_plain(more: tuple[bytes, ...]) -> None:
    assert plain_request(post(*more)) is not None
    assert plain_request(get(*more)) is not None


# -- what is not ----------------------------------------------------------------------

ODD_LINES = [
    *(
        b"X-Long-Way: 1",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Prefer: respond-async",
    ),
    *(b"Idempotency-Key: k", b"Origin: http://localhost", b"Sec-Fetch-Site: same-origin"),
    *(b"Content-Encoding: gzip", b"Upgrade: h2c", b"Trailer: x", b"TE: trailers", b"Cookie: a=b"),
    *(b"Connection: close", b"Connection: keep-alive, Upgrade", b"Forwarded: for=1.2.3.4"),
    *(b"X-HTTP-Method-Override: DELETE", b"Range: bytes=0-1", b"Keep-Alive: timeout=5"),
    *(b"Host: localhost", b"host: localhost", b"HOST: other"),  # a second one
    *(b" folded", b"\tfolded", b"Accept: a\r\n b", b"Accept: a\nPragma: b", b"Accept: a\rb"),
    *(b"Accept:", b"Accept: ", b"Accept:  a", b"Accept:\ta", b"Accept: a ", b"Accept: a\t"),
    *(b"Accept : a", b" Accept: a", b"Accept", b": a", b"X_Request_Id: a", b"Accept_: a"),
    *(
        b"Accept: \xc3\xa4",
        b"Acc\xc3\xa9pt: a",
        b"Accept: a\x00b",
        b"Acc\x00ept: a",
        b"Accept: \x7f",
    ),
    b"Accept: " + b"a" * LONGEST_HEAD,
]


@pytest.mark.parametrize("line", ODD_LINES, ids=lambda line: ascii(line)[:50])
def test_a_header_that_is_the_least_unusual_makes_a_request_go_the_long_way(line: bytes) -> None:
    assert plain_request(post(line)) is None
    assert plain_request(get(line)) is None


ODD_POSTS = [
    *(b"POST /api/best5 HTTP/1.0", b"POST /api/best5 HTTP/1.10", b"POST /api/best5 http/1.1"),
    *(b"POST /api/best5?a=b HTTP/1.1", b"POST /api/best5# HTTP/1.1", b"POST  /api/best5 HTTP/1.1"),
    *(b"POST http://localhost/api/best5 HTTP/1.1", b"POST //api/best5 HTTP/1.1"),
    *(b"POST /api//best5 HTTP/1.1", b"POST /api/best5/ HTTP/1.1", b"POST /api/../best5 HTTP/1.1"),
    *(b"POST /api/b%65st5 HTTP/1.1", b"POST /api/Best5 HTTP/1.1", b"POST /API/best5 HTTP/1.1"),
    *(b"post /api/best5 HTTP/1.1", b"PUT /api/best5 HTTP/1.1", b"POST /api/ HTTP/1.1"),
    *(b"POST /api/best\xc2\xb2 HTTP/1.1", b"POST /api/best5\x00 HTTP/1.1", b" " + POST),
    *(POST + b" ", b"\r\n" + POST, POST + b"\r", b"POST\t/api/best5 HTTP/1.1", b"POST * HTTP/1.1"),
    *(b"POST /api/" + b"a" * 65 + b" HTTP/1.1", b"POST /api/get_results/7 HTTP/1.1"),
]


@pytest.mark.parametrize("line", ODD_POSTS, ids=ascii)
def test_a_post_of_anything_else_goes_the_long_way(line: bytes) -> None:
    assert plain_request(post(line=line)) is None


ODD_IDS = [
    *(
        b"",
        b"0",
        b"-1",
        b"+1",
        b"007",
        b"1" * 19,
        b"1.0",
        b"1_0",
        b"1 ",
        b" 1",
        b"1/",
        b"/1",
        b"1;a",
    ),
    *(b"1?wait=5", b"1?", b"1#", b"%31", b"1%00", b"1\x00", b"\xd9\xa7", b"JOB_ID_1", b"job_id_"),
    *(b"job_id_0", b"job_id_01", b"job_id_job_id_1", b"../1", b"1.json"),
]


@pytest.mark.parametrize("odd", ODD_IDS, ids=ascii)
def test_an_odd_id_goes_the_long_way(odd: bytes) -> None:
    assert plain_request(get(line=b"GET /api/get_results/" + odd + b" HTTP/1.1")) is None


@pytest.mark.parametrize(
    "length",
    [b"0", b"1", b"3", b"02", b"+2", b"-2", b"2.0", b"0x2", b"2, 2", b"2 2", b"two", b"9" * 19],
)
def test_a_length_that_is_not_the_bodys_goes_the_long_way(length: bytes) -> None:
    lengthy = joined(POST, HOST, JSON, b"Content-Length: " + length, body=b"{}")
    assert plain_request(lengthy) is None


@pytest.mark.parametrize(
    "request_bytes",
    [
        joined(POST, HOST, JSON),
        joined(POST, HOST, JSON, b"Content-Length: 0"),
        joined(POST, HOST, LENGTH, body=b"{}"),
        joined(POST, JSON, LENGTH, body=b"{}"),
        joined(POST, HOST, JSON, LENGTH, LENGTH, body=b"{}"),
        joined(POST, HOST, JSON, JSON, LENGTH, body=b"{}"),
        joined(POST, HOST, b"Content-Type: text/plain", LENGTH, body=b"{}"),
        joined(POST, HOST, b"Content-Type: application/json; charset=utf-16", LENGTH, body=b"{}"),
        joined(GET, HOST, LENGTH, body=b"{}"),
        joined(GET, HOST, b"Content-Length: 0"),
        joined(GET, HOST, body=b"{}"),
        joined(GET),
        post().replace(b"\r\n", b"\n"),
        post()[:-3],
        b"",
    ],
    ids=ascii,
)
def test_a_request_that_lacks_something_or_has_too_much_goes_the_long_way(
    request_bytes: bytes,
) -> None:
    assert plain_request(request_bytes) is None


def test_only_so_many_blocks_of_headers_are_kept() -> None:
    for number in range(5000):
        assert plain_request(post(b"X-Request-Id: %d" % number)) is not None
        assert plain_request(post(b"X-Strange: %d" % number)) is None
    kept = module._headers.cache_info()
    assert kept.maxsize is not None
    assert kept.currsize <= kept.maxsize <= 1024


# -- against gunicorn's parser --------------------------------------------------------

HARMLESS = [
    *(b"User-Agent", b"accept", b"PRAGMA", b"Authorization", b"X-Request-Id", b"Connection"),
    *(b"X-Forwarded-Proto", b"x-forwarded-for"),
]
OTHERS = [b"Host", b"Content-Length", b"Transfer-Encoding", b"X-Other", b"Accept ", b"Accept_", b""]
USUAL = [b"keep-alive", b"2", b"a b", b"a:b", b"Bearer  x", b"*/*"]
STRANGE = [b"close", b"chunked", b"02", b"1, 2", b"", b" 2", b"2 ", b"\t", b"\xe4", b"a\x00"]


def mostly(usual: list[bytes], strange: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the usual, and now and then one of the strange."""
    return st.sampled_from(usual * (1 + 9 * len(strange) // len(usual)) + strange)


LINES = st.builds(
    lambda name, colon, value, end: name + colon + value + end,
    mostly(HARMLESS, OTHERS),
    mostly([b": ", b":"], [b":  ", b":\t", b" :", b""]),
    mostly(USUAL, STRANGE),
    mostly([b"\r\n"], [b"\n", b"\r", b"\r\n ", b"\r\n\r\n"]),
)
JOB = b"GET /api/get_results/job_id_12 HTTP/1.1"


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """Requests that are plain, and such as become so or cease to be by little."""
    line = draw(mostly([POST, GET, JOB], ODD_POSTS))
    posts = line.startswith(b"POST")
    usual = [each + b"\r\n" for each in ([HOST, JSON, LENGTH] if posts else [HOST])]
    more = draw(st.lists(LINES, max_size=2, unique_by=lambda each: each[:4]))
    head = line + b"\r\n" + b"".join(draw(st.permutations([*usual, *more]))) + b"\r\n"
    whole = head + draw(mostly([b"{}" if posts else b""], [b"", b"{", b"{}\r\n\r\n", head]))
    at = draw(st.integers(-3 * len(whole), len(whole) - 1))  # mostly nowhere
    replaced = draw(st.binary(max_size=2)) if at >= 0 else b""
    return whole[: max(at, 0)] + replaced + whole[max(at + len(replaced), 0) :]


def read_by_gunicorn(content: bytes) -> Any:
    """The request as gunicorn's parser has it, and nothing may be left behind it."""
    parser = http.get_parser(Config(), [content], ("127.0.0.1", 1))
    found = next(parser)
    found.content = found.body.read()
    assert parser.finish_body()
    assert not parser.unreader.buf.getvalue()
    return found


def assert_read_the_same(content: bytes, plain: PlainRequest) -> None:
    theirs = read_by_gunicorn(content)
    headers = dict(theirs.headers)
    assert len(headers) == len(theirs.headers)
    assert theirs.method == ("POST" if plain.job is None else "GET")
    assert (theirs.path, theirs.query, theirs.version) == (plain.path, "", (1, 1))
    assert theirs.content == plain.body
    assert not theirs.should_close()
    assert headers["HOST"] == plain.headers.host
    assert headers.get("AUTHORIZATION") == plain.headers.authorization
    assert headers.get("X-REQUEST-ID") == plain.headers.request_id
    assert int(headers.get("CONTENT-LENGTH", 0)) == plain.headers.length


@settings(max_examples=1500, derandomize=True)
@given(nearly_plain())
@example(post())
@example(get())
@example(post(b"Accept:a:b", b"Authorization: Bearer  x"))
def test_what_is_plain_is_to_gunicorn_the_same_request(content: bytes) -> None:
    plain = plain_request(content)
    if plain is not None:
        assert_read_the_same(content, plain)
        head = content[: content.index(b"\r\n\r\n") + 4]
        assert body_length(head) == len(plain.body), "the worker has cut it out as a whole"
