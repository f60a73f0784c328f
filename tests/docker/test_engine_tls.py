"""The Docker engine over TCP with mutual TLS, as remote engines are reached."""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Launcher, wait_until

from chorus_nb.config import MIRROR
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.errors import EngineError, ImageNotFoundError

pytestmark = pytest.mark.docker

ECHO = "import os\nwhile data := os.read(0, 65536): os.write(1, data)"


def make_certificates(folder: Path) -> Path:
    """Make one self-signed certificate that is authority, server and client at once."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())
    return folder


class TlsProxy(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Carries TLS connections to the engine's socket."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, certificates: Path, engine_socket: str) -> None:
        super().__init__(("127.0.0.1", 0), _Carry)
        self.engine_socket = engine_socket
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.pem")
        self.context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news here."""


class _Carry(socketserver.BaseRequestHandler):
    server: TlsProxy

    def handle(self) -> None:
        # Through a socket pair, because the TLS socket itself must be used by one thread at a time.
        command = socket.socket(socket.AF_UNIX)
        command.connect(self.server.engine_socket)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.server.context.wrap_bio(incoming, outgoing, server_side=True)
        lock = threading.Lock()
        back = threading.Thread(target=self._carry_back, args=(command, tls, outgoing, lock), daemon=True)
        started = False
        with command:
            while data := self.request.recv(1 << 16):
                with lock:
                    incoming.write(data)
                    plain = self._read(tls)
                    self.request.sendall(outgoing.read())
                    handshaken = tls.version() is not None
                if handshaken and not started:
                    back.start()
                    started = True
                if plain:
                    command.sendall(plain)
            command.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _read(tls: ssl.SSLObject) -> bytes:
        plain = b""
        while True:
            try:
                if not (piece := tls.read(1 << 16)):
                    return plain
                plain += piece
            except ssl.SSLWantReadError:
                return plain

    def _carry_back(
        self, command: socket.socket, tls: ssl.SSLObject, outgoing: ssl.MemoryBIO, lock: threading.Lock
    ) -> None:
        try:
            while data := command.recv(1 << 16):
                with lock:
                    tls.write(data)
                    self.request.sendall(outgoing.read())
            self.request.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def proxy(certificates: Path, docker_engine: DockerEngine) -> Iterator[str]:
    engine_socket = docker_engine.endpoint.address.removeprefix("unix://")
    with TlsProxy(certificates, engine_socket) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def tls_engine(proxy: str, certificates: Path) -> DockerEngine:
    return DockerEngine(Endpoint(proxy, "test", certificates, verify=True))


def test_bytes_pass_both_ways_at_once(tls_engine: DockerEngine, launch: Launcher, plain_python_image: str) -> None:
    container = launch(tls_engine, ECHO, image=tls_engine.resolve(plain_python_image))
    data = os.urandom(1 << 20) * 8
    sender = threading.Thread(target=container.stream.send, args=(data,))
    sender.start()
    received = bytearray()
    while len(received) < len(data) and (piece := container.stream.receive()):
        received += piece
    sender.join()
    assert received == data


def test_close_wakes_receive_and_ends_the_container(
    tls_engine: DockerEngine, launch: Launcher, plain_python_image: str
) -> None:
    container = launch(tls_engine, ECHO, image=tls_engine.resolve(plain_python_image))
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(container.stream.receive()), daemon=True)
    reader.start()
    reader.join(0.2)
    assert reader.is_alive()
    container.stream.close()
    reader.join(60)
    assert received == [b""]
    with pytest.raises(ConnectionError):
        container.stream.send(b"x")
    wait_until(lambda: container.inspect().status in ("exited", "removed"))


def test_the_webs_authorities_do_not_stand_in_for_the_engines(
    tls_engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(make_certificates(tmp_path) / "ca.pem"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert tls_engine.capabilities().name == "docker"


def test_a_server_of_another_authority_is_refused(proxy: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="certificate verify failed"):
        DockerEngine(Endpoint(proxy, "test", make_certificates(tmp_path), verify=True)).capabilities()


def test_a_remote_engine_has_no_mirror(tls_engine: DockerEngine) -> None:
    assert not tls_engine.capabilities().mirror
    with pytest.raises(ImageNotFoundError, match="not on this machine"):
        tls_engine.resolve(MIRROR)
