"""Say whether a Docker Engine answers, with the standard library alone.

The scripts that call this run before the virtual environment exists, and the docker command may be missing
even where an engine is installed, so this speaks HTTP to the engine's socket itself. It looks where the docker
command looks: DOCKER_HOST, then DOCKER_CONTEXT or the current context, then the default socket.

Prints the endpoint. Exit status: 0 answers, 3 nothing answers, 4 the socket refuses this user.
"""

import hashlib
import http.client
import json
import os
import socket
import sys
from pathlib import Path

DEFAULT_ENDPOINT = "unix:///var/run/docker.sock"
ANSWERS, ABSENT, NO_PERMISSION = 0, 3, 4
TIMEOUT_S = 5.0


def context_endpoint() -> str:
    """Endpoint of the selected docker context. One that cannot be read gives an endpoint where nothing answers."""
    config = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = os.environ.get("DOCKER_CONTEXT") or current_context(config)
    if name == "default":
        return DEFAULT_ENDPOINT
    meta = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    try:
        return str(json.loads(meta.read_text())["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"unix://{meta}"


def current_context(config: Path) -> str:
    """Name of the context that ``docker context use`` selected."""
    try:
        return str(json.loads((config / "config.json").read_text()).get("currentContext") or "default")
    except (OSError, ValueError, AttributeError):
        return "default"


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


def probe(endpoint: str) -> int:
    """Exit status for ``endpoint``."""
    scheme, _, address = endpoint.partition("://")
    try:
        if scheme == "unix":
            connection = UnixConnection(address)
            connection.request("GET", "/_ping")
            return ANSWERS if connection.getresponse().status == http.client.OK else ABSENT
        if scheme in ("tcp", "http", "https"):
            host, _, port = address.split("/")[0].rpartition(":")
            # Only reached, not asked: the answer may need client certificates, which the Docker SDK handles.
            socket.create_connection((host, int(port)), TIMEOUT_S).close()
    except PermissionError:
        return NO_PERMISSION
    except (OSError, ValueError, http.client.HTTPException):
        return ABSENT
    return ANSWERS  # ssh:// and npipe:// are left to the Docker SDK.


if __name__ == "__main__":
    found = os.environ.get("DOCKER_HOST") or context_endpoint()
    print(found)
    sys.exit(probe(found))
