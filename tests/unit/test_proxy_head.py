"""What the sandbox's proxy understands of a request, and what it sends on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus_nb.agent.proxy_head import END, MAX_HEAD_BYTES, BadRequestError, Head, answer, parse


def head(request_line: str, *fields: str) -> Head:
    return parse("\r\n".join([request_line, *fields]).encode("latin-1") + END)


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("example.org:443", "example.org", 443),
        ("EXAMPLE.org.:8443", "EXAMPLE.org.", 8443),
        ("[2001:db8::1]:443", "2001:db8::1", 443),
        ("127.1:80", "127.1", 80),
    ],
)
def test_a_tunnel_names_host_and_port(target: str, host: str, port: int) -> None:
    found = head(f"CONNECT {target} HTTP/1.1", "Host: other.example")
    assert (found.host, found.port, found.tunnel, found.forward) == (host, port, True, b"")


@pytest.mark.parametrize(
    ("url", "host", "port", "origin"),
    [
        ("http://example.org/a?b=c", "example.org", 80, "/a?b=c"),
        ("HTTP://example.org:8080/", "example.org", 8080, "/"),
        ("http://example.org", "example.org", 80, "/"),
        ("http://example.org?q", "example.org", 80, "/?q"),
        ("http://[::1]:81/x", "::1", 81, "/x"),
        ("http://example.org:/x", "example.org", 80, "/x"),
    ],
)
def test_a_url_becomes_a_request_to_its_own_host(url: str, host: str, port: int, origin: str) -> None:
    found = head(f"GET {url} HTTP/1.1", "Host: evil.test", "Accept: */*")
    assert (found.host, found.port, found.tunnel) == (host, port, False)
    lines = found.forward.decode().split("\r\n")
    assert lines[0] == f"GET {origin} HTTP/1.1"
    assert [line for line in lines if line.lower().startswith("host:")] == [f"Host: {url.split('/')[2].split('?')[0]}"]
    assert "Accept: */*" in lines
    assert found.forward.endswith(END)


def test_what_is_for_the_proxy_alone_is_not_sent_on() -> None:
    fields = [
        "Proxy-Authorization: Basic x",
        "Proxy-Connection: keep-alive",
        "Connection: keep-alive, X-Hop",
        "X-Hop: 1",
    ]
    forwarded = head("GET http://example.org/ HTTP/1.1", *fields, "Keep-Alive: 5", "Upgrade: h2c", "X-Kept: 2").forward
    assert forwarded == b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\nX-Kept: 2\r\n\r\n"


@pytest.mark.parametrize(
    "request_line",
    [
        *("", "GET", "GET /", "GET / HTTP/1.1", "GET / HTTP/1.1 x", "GET  http://example.org/ HTTP/1.1"),
        *("GET http://example.org/ HTTP/2", "GET http://example.org/ HTTP/1.10", "G\x00T http://example.org/ HTTP/1.1"),
        *("GET https://example.org/ HTTP/1.1", "GET ftp://example.org/ HTTP/1.1", "GET http:/example.org/ HTTP/1.1"),
        *("GET http://user:pw@example.org/ HTTP/1.1", "GET http:///x HTTP/1.1", "GET http://a:99999/ HTTP/1.1"),
        *("GET http://a:0/ HTTP/1.1", "GET http://example.org/#f HTTP/1.1", "GET http://[::1/ HTTP/1.1"),
        *("CONNECT example.org HTTP/1.1", "CONNECT example.org: HTTP/1.1", "CONNECT :443 HTTP/1.1"),
        *("CONNECT http://example.org:443 HTTP/1.1", "CONNECT a@b:443 HTTP/1.1", "CONNECT a:b:443 HTTP/1.1"),
        *("CONNECT [::1%25lo]:443 HTTP/1.1", "CONNECT a:+43 HTTP/1.1", "CONNECT a:\xb2 HTTP/1.1"),
        "\x16\x03\x01\x02\x00\x01",
    ],
)
def test_what_is_no_request_to_a_proxy_is_refused(request_line: str) -> None:
    with pytest.raises(BadRequestError):
        head(request_line)


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: +5"],
        ["Content-Length: 5, 5"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["No colon"],
        ["Space : x"],
        [": x"],
        [" folded"],
        ["X: a\x00b"],
        ["X: a\nHost: evil.test"],
        ["X: a\rb"],
    ],
)
def test_what_a_server_might_read_as_two_requests_is_refused(fields: list[str]) -> None:
    with pytest.raises(BadRequestError):
        head("POST http://example.org/ HTTP/1.1", *fields)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_an_error(data: bytes) -> None:
    _parse_or_refuse(data + END)


_PIECES = st.sampled_from(
    [
        "GET",
        "CONNECT",
        " ",
        "http://",
        "example.org",
        ":443",
        "[::1]",
        "/",
        "HTTP/1.1",
        "\r\n",
        "Host",
        ": ",
        "\n",
        "\0",
        "@",
    ]
)


@given(st.lists(_PIECES, max_size=14))
def test_nothing_that_is_nearly_a_request_smuggles_a_line(pieces: list[str]) -> None:
    _parse_or_refuse("".join(pieces).encode() + END)


def _parse_or_refuse(data: bytes) -> None:
    try:
        found = parse(data)
    except BadRequestError:
        return
    assert 0 < found.port < 2**16
    assert not set(found.host) & set(":@[]") or ":" in found.host
    assert found.forward.count(b"\r\nHost: ") == (0 if found.tunnel else 1)
    assert b"\n" not in found.forward.replace(b"\r\n", b"")
    assert len(found.forward) < MAX_HEAD_BYTES + 1000


def test_an_answer_says_in_its_status_line_what_was_denied() -> None:
    text = answer(403, "example.org:443 is not on the list.", "example.org").decode()
    assert text.startswith("HTTP/1.1 403 Egress denied: example.org\r\n")
    assert "\r\nX-Chorus-Egress: denied\r\n" in text
    assert text.endswith("\r\n\r\nexample.org:443 is not on the list.\n")
    assert "Connection: close" in text
    assert answer(504, "nobody answered").startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")


def test_an_answer_can_not_be_split_by_a_hosts_name() -> None:
    text = answer(403, "x", "a\r\nX: y\nß").partition(END)[0]
    assert len(text.split(b"\r\n")) == 5
