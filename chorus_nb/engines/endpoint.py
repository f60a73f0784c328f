"""Where the Docker Engine is, found the way the ``docker`` command finds it.

``DOCKER_HOST`` first, then the context that ``DOCKER_CONTEXT`` or the command's configuration names, then the default
socket: so Docker Desktop, Colima and rootless engines are found. The SDK's own reader of contexts is not used: it takes
a context that does not exist for the default one, and without a configuration file looks in the working directory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import EngineNotFoundError

CONNECT_TIMEOUT_S, LOOKUP_TIMEOUT_S, REQUEST_TIMEOUT_S = 10.0, 15.0, 60.0

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of an engine.

    Attributes
    ----------
    address : str
        Such as ``unix:///var/run/docker.sock`` or ``tcp://host:2376``.
    origin : str
        What named it, for messages.
    certificates : Path or None
        The folder of ``ca.pem``, ``cert.pem`` and ``key.pem``; None for a connection without TLS.
    verify : bool
        Whether the engine's certificate is checked.
    """

    address: str
    origin: str
    certificates: Path | None = None
    verify: bool = True

    @property
    def is_unix_socket(self) -> bool:
        """Whether the engine answers on this machine's file system, so that it may see the same files."""
        return self.address.startswith(("unix://", "/"))


def find_endpoint() -> Endpoint:
    """Return the engine's address.

    Raises
    ------
    EngineNotFoundError
        If the selected Docker context does not exist or can't be read.
    """
    if address := os.environ.get("DOCKER_HOST"):
        return _from_environment(address)
    config = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    if name := os.environ.get("DOCKER_CONTEXT"):
        return _from_context(config, name, "DOCKER_CONTEXT")
    name = _current_context(config)
    return _from_context(config, name, f"{config / 'config.json'}")


def _from_environment(address: str) -> Endpoint:
    verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
    certificates = os.environ.get("DOCKER_CERT_PATH") or (Path.home() / ".docker" if verify else None)
    return Endpoint(address, "DOCKER_HOST", Path(certificates) if certificates else None, verify)


def _current_context(config: Path) -> str:
    try:
        return str(_load(config / "config.json").get("currentContext") or "default")
    except (OSError, ValueError, TypeError):
        return "default"


def _from_context(config: Path, name: str, origin: str) -> Endpoint:
    if name == "default":
        return Endpoint(DEFAULT_ADDRESS, "the default")
    digest = hashlib.sha256(name.encode()).hexdigest()
    try:
        docker = _load(config / "contexts" / "meta" / digest / "meta.json")["Endpoints"]["docker"]
        address, verify = str(docker["Host"]), not docker.get("SkipTLSVerify", False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineNotFoundError(
            f"The Docker context {name!r}, selected by {origin}, can't be read.",
            next_step="See `docker context ls`, and select another one with `docker context use NAME`.",
        ) from error
    certificates = config / "contexts" / "tls" / digest / "docker"
    return Endpoint(address, f"the Docker context {name!r}", certificates if certificates.is_dir() else None, verify)


def _load(path: Path) -> dict[str, Any]:
    loaded = json.loads(path.read_text())
    if not isinstance(loaded, dict):
        raise TypeError(f"{path} holds no JSON object")
    return loaded


def connect(endpoint: Endpoint) -> Any:
    """Return a low-level client of the SDK that speaks the engine's own version of the API."""
    import docker

    certificates = endpoint.certificates
    tls = certificates is not None and docker.tls.TLSConfig(
        client_cert=(str(certificates / "cert.pem"), str(certificates / "key.pem")),
        ca_cert=str(certificates / "ca.pem"),
        verify=endpoint.verify,
    )
    # Proxies and REQUESTS_CA_BUNDLE are for the web, and the latter would replace the engine's own authority.
    # A client that is told a version asks nothing while it is made, so that they can be shut out before it does.
    version = docker.constants.MINIMUM_DOCKER_API_VERSION
    probe = docker.APIClient(base_url=endpoint.address, tls=tls, version=version, timeout=CONNECT_TIMEOUT_S)
    probe.trust_env = False
    with closing(probe):
        version = probe.version(api_version=False).get("ApiVersion") or "0"
    client = docker.APIClient(base_url=endpoint.address, tls=tls, version=version, timeout=REQUEST_TIMEOUT_S)
    client.trust_env = False
    client.send = partial(_send, client.send)
    _share_connections(client)
    return client


def _share_connections(client: Any) -> None:
    """Have one pool of connections: over sockets the SDK keeps one for each URL, with a connection that stays open."""
    adapter = client.get_adapter(client.base_url)
    if hasattr(adapter, "pools"):
        get_connection = adapter.get_connection
        adapter.get_connection = lambda url, proxies=None: get_connection(client.base_url)


def _send(send: Callable[..., Any], request: Any, **settings: Any) -> Any:
    """Send a request; what only looks, kills or removes is answered soon, or the engine hangs."""
    if request.method != "POST" or request.path_url.endswith("/kill"):
        settings["timeout"] = min(settings.get("timeout") or LOOKUP_TIMEOUT_S, LOOKUP_TIMEOUT_S)
    return send(request, **settings)
