"""A git server on this machine's loopback, by git's own ``http-backend``, that wants a user name and a password."""

from __future__ import annotations

import base64
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "ann", "pass-word-of-ann"


def git(*arguments: str, cwd: Path) -> str:
    """Run the host's git; return what it prints."""
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def repository(path: Path, *options: str) -> Path:
    """Make a repository with one commit."""
    path.mkdir(parents=True)
    git("init", "-q", *options, str(path), cwd=path.parent)
    git("commit", "-q", "--allow-empty", "-m", "one", cwd=path)
    return path


class GitServer(http.server.ThreadingHTTPServer):
    """Serves the bare repositories in a folder to whoever has the password."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: GitServer

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {token}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        answer = subprocess.run(
            ["git", "http-backend"],
            env={**os.environ, **self._variables(path, query)},
            input=self._body(),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + head + b"\r\n\r\n" + body)

    def _variables(self, path: str, query: str) -> dict[str, str]:
        return {
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_USER": USER,
        }

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    """Serve while the block runs."""
    with GitServer(folder) as server:
        yield server
        server.shutdown()
