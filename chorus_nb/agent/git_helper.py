"""The program that git in the sandbox asks for credentials, where the user wants it to have those of the host.

It is a line in ``credential.helper`` (gitcredentials(7)), told by environment. It connects to the proxy of the sandbox
and asks for :data:`SERVICE_HOST`, behind which there is the host's own ``git credential``. It keeps nothing: ``store``
and ``erase`` do nothing at all.
"""

import sys
from typing import MutableMapping

SERVICE_HOST = "git-credentials.chorus-nb.invalid"
"""What the proxy is asked for. Names that end so lead nowhere (RFC 6761, section 6.4)."""

SERVICE_PORT = 443
MAX_REQUEST_BYTES = 8192

_PROGRAM = """
import socket, sys
if sys.argv[-1] == "get":
    request = sys.stdin.buffer.read(%d)
    with socket.create_connection(("127.0.0.1", %d), 60) as connection:
        connection.sendall(b"CONNECT %s:%d HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" + request.rstrip(b"\\n") + b"\\n\\n")
        answer = b""
        while True:
            piece = connection.recv(8192)
            if not piece:
                break
            answer += piece
    head, _, found = answer.partition(b"\\r\\n\\r\\n")
    if b" 200" not in head.partition(b"\\r\\n")[0]:
        found = b"error=the proxy of this sandbox does not answer"
    if found.startswith(b"error="):
        text = found.partition(b"=")[2].decode("utf-8", "replace").strip()
        sys.stderr.write("chorus-nb: no git credentials: " + text + "\\n")
    else:
        sys.stdout.buffer.write(found)
"""


def announce(port: int, environment: MutableMapping[str, str]) -> None:
    """Tell git by environment to ask nobody but the host, through the proxy at this port."""
    program = _PROGRAM % (MAX_REQUEST_BYTES, port, SERVICE_HOST, SERVICE_PORT, SERVICE_HOST)
    command = "!%s -I -S -c %s" % (_quoted(sys.executable), _quoted(program.strip()))
    count = environment.get("GIT_CONFIG_COUNT", "0")
    first = int(count) if count.isdigit() else 0
    # The empty one takes out those of files, such as one that would keep the answer on disk. And git is to name the
    # path: where the host's git wants it, it drops it otherwise.
    settings = (("credential.helper", ""), ("credential.helper", command), ("credential.useHttpPath", "true"))
    for number, (key, value) in enumerate(settings, first):
        environment["GIT_CONFIG_KEY_%d" % number] = key
        environment["GIT_CONFIG_VALUE_%d" % number] = value
    environment["GIT_CONFIG_COUNT"] = str(first + len(settings))


def _quoted(text: str) -> str:
    """Return a word for the shell that is this text."""
    return "'" + text.replace("'", "'\"'\"'") + "'"
