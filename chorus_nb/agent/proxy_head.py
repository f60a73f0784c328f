"""The first lines that a client sends to an HTTP proxy, and what a proxy answers by itself (RFC 9110, RFC 9112).

Two kinds of request are understood: ``CONNECT host:port``, and ``GET http://host/path`` and its like, with the whole
URL. The second is passed on as a request to the origin server, for this one exchange only: it says
``Connection: close``, and its ``Host`` is the URL's, whatever the client sent.
"""

import re
from typing import Dict, List, Tuple

MAX_HEAD_BYTES = 2**16
END = b"\r\n\r\n"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSION = re.compile(r"HTTP/1\.[01]")
_URL = re.compile(r"http://([^/?#]*)([^#]*)", re.IGNORECASE)
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:@\[\]]+)(?::([0-9]{0,5}))?")
_TEXT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NAMES = {"host", "connection", "proxy-connection", "proxy-authorization", "keep-alive", "te", "upgrade"}
_REASONS = {
    400: "Bad Request",
    403: "Egress denied",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}

OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""What a client hears that has asked for a tunnel, once there is one."""


class BadRequestError(ValueError):
    """What the client sent is no request to a proxy; the text says why."""


class Head:
    """What a client asks for.

    Attributes
    ----------
    host : str
        As the client wrote it, without brackets.
    port : int
    tunnel : bool
        Whether it asks for a tunnel (``CONNECT``).
    forward : bytes
        What the origin server is to get first.
    """

    def __init__(self, host: str, port: int, tunnel: bool, forward: bytes) -> None:
        self.host = host
        self.port = port
        self.tunnel = tunnel
        self.forward = forward


def parse(data: bytes) -> Head:
    """Read a head, up to and with its empty line. Raises :class:`BadRequestError`."""
    lines = data[: -len(END)].decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or not _VERSION.fullmatch(words[2]):
        raise BadRequestError("this is an HTTP proxy, and that is no HTTP request")
    fields = [_field(line) for line in lines[1:]]
    if words[0] == "CONNECT":
        return Head(*_host_port(words[1], None), True, b"")
    match = _URL.fullmatch(words[1])
    if not match:
        raise BadRequestError("a proxy is asked for http:// URLs, and for other connections by CONNECT")
    host, port = _host_port(match.group(1), 80)
    return Head(host, port, False, _forward(words[0], match.group(1), match.group(2), fields))


def _field(line: str) -> Tuple[str, str]:
    name, colon, value = line.partition(":")
    # Control characters, and lines that go on in the next one, are read differently by different servers.
    if not colon or not _TOKEN.fullmatch(name) or not _TEXT.fullmatch(value):
        raise BadRequestError("a header field is malformed")
    return name, value.strip()


def _host_port(text: str, default: "int | None") -> Tuple[str, int]:
    match = _HOST_PORT.fullmatch(text)
    digits = match.group(2) if match else None
    if not match or not (digits or default) or (digits and not 0 < int(digits) < 2**16):
        raise BadRequestError("the host and port of the request can't be read")
    return match.group(1).strip("[]"), int(digits or default or 0)


def _forward(method: str, authority: str, target: str, fields: List[Tuple[str, str]]) -> bytes:
    """Return the head for the origin server: origin form, our ``Host``, and nothing that is for this hop alone."""
    named = {name.strip().lower() for key, value in fields if key.lower() == "connection" for name in value.split(",")}
    _check_length(fields)
    path = target if target.startswith("/") else "/" + target
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + authority, "Connection: close"]
    lines += ["%s: %s" % field for field in fields if field[0].lower() not in _NAMES | named]
    return "\r\n".join(lines).encode("latin-1") + END


def _check_length(fields: List[Tuple[str, str]]) -> None:
    """Refuse bodies whose end programs see in different places, which is how a second request is smuggled."""
    found: Dict[str, List[str]] = {"content-length": [], "transfer-encoding": []}
    for name, value in fields:
        found.get(name.lower(), []).append(value)
    lengths, encodings = found["content-length"], found["transfer-encoding"]
    if len(lengths) + len(encodings) > 1 or not all(length.isdigit() for length in lengths):
        raise BadRequestError("the length of the request's body is ambiguous")


def answer(status: int, reason: str, host: str = "") -> bytes:
    """Return a whole response of the proxy's own. What is denied says so in its status line, which clients show."""
    body = (reason + "\n").encode("utf-8", "replace")
    shown = "".join(char if char.isprintable() else "?" for char in host)
    phrase = _REASONS[status] + (": " + shown if status == 403 else "")
    head = [
        "HTTP/1.1 %d %s" % (status, phrase),
        "Content-Type: text/plain; charset=utf-8",
        "Content-Length: %d" % len(body),
        "Connection: close",
        "X-Chorus-Egress: " + ("denied" if status == 403 else "failed"),
    ]
    return "\r\n".join(head).encode("ascii", "replace") + END + body
