"""Servers on this machine's loopback, for tests of what a sandbox may reach."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BIG = bytes(range(256)) * 4096 * 50
"""50 MiB, the answer to ``/big``."""


class Server(http.server.ThreadingHTTPServer):
    """Answers a few paths; ``ended`` counts the endless answers that somebody has cut off."""

    daemon_threads = True
    request_queue_size = 200

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ended = 0
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def name(self) -> str:
        return f"localhost:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.path == "/endless":
            self._endless()
        elif self.path == "/big":
            self._answer(BIG)
        else:
            self._answer(f"{self.path} of {self.headers['Host']}, {self.headers['Connection']}".encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(hashlib.sha256(body).hexdigest().encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(65536))
        self.server.ended += 1
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve while the block runs."""
    with Server(context) as server:
        yield server
        server.shutdown()


def certificate(folder: Path) -> Path:
    """Make a certificate for ``localhost``, which is its own authority, with its key in the same file."""
    path = folder / "localhost.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "cert.pem").read_text())
    return path
