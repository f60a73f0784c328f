"""Credentials by request: who gets them, who does not, and that nobody is asked on the way."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

from chorus_nb.agent import git_helper
from chorus_nb.config import SandboxConfig
from chorus_nb.git.credentials import CredentialError, Credentials, HostCredentials, credentials_for
from chorus_nb.git.host import run_git

PASSWORD = "pass-word-of-ann"


@pytest.fixture(autouse=True)
def helper(tmp_path: Path, own_git: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A helper of the user's that has one password for every host but ``unknown.test``, and notes what it is asked."""
    log, program = tmp_path / "asked", tmp_path / "helper"
    program.write_text(
        f"#!/bin/sh\necho $1 >> {log}; cat > {log}.last; cat {log}.last >> {log}\n"
        f"grep -q unknown.test {log}.last || printf 'username=ann\\npassword={PASSWORD}\\n'\n"
    )
    program.chmod(0o755)
    with own_git.open("a") as file:
        file.write(f'[credential]\nhelper = "{program}"\n')
    return log


def credentials(**options: Any) -> Credentials:
    options = {
        "network": "allowlist",
        "allow": ["example.org", "a.test", "unknown.test", "127.0.0.1:8080", "[::1]:8080"],
        **options,
    }
    found = credentials_for(SandboxConfig.from_options(**{"git_credentials": True, **options}))
    assert found is not None
    return found


def request(**fields: str) -> bytes:
    return "".join(f"{key}={text}\n" for key, text in fields.items()).encode() + b"\n"


def test_they_are_handed_over_for_a_host_on_the_list(helper: Path) -> None:
    service = credentials()
    answer = service.answer(request(protocol="https", host="example.org", path="team/x.git", unknown="x"))
    assert answer == f"username=ann\npassword={PASSWORD}\n".encode()
    assert helper.read_text() == "get\nprotocol=https\nhost=example.org\n"
    assert service.counts == (HostCredentials("example.org:443", 1, 0),)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"protocol": "https", "host": "elsewhere.org"}, "not on the allow-list"),
        ({"protocol": "https", "host": "example.org:8443"}, "not on the allow-list"),
        ({"protocol": "http", "host": "example.org"}, "is asked by http"),
        ({"protocol": "http", "host": "a.test"}, "is asked by http"),
        ({"protocol": "ssh", "host": "example.org"}, "https alone"),
        ({"protocol": "cert", "host": "", "path": "/root/key"}, "https alone"),
        ({"protocol": "https"}, "no host"),
        ({"protocol": "https", "host": "exa mple.org"}, "no host"),
        ({"protocol": "https", "host": "0x7f.1"}, "no host"),
        ({"protocol": "https", "host": "example.org@elsewhere.org"}, "no host"),
        ({"protocol": "https", "host": "example.org", "username": "a\rb"}, "nobody can see"),
        ({"protocol": "https", "host": "example.org", "path": "a" * 9000}, "too long"),
        ({"host": "example.org", "url": "https://example.org/"}, "https alone"),
    ],
)
def test_nobody_else_is_even_asked_for(helper: Path, fields: dict[str, str], why: str) -> None:
    with pytest.raises(CredentialError, match=why):
        credentials().answer(request(**fields))
    assert not helper.exists()


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(CredentialError, match="no text"):
        credentials().answer(b"protocol=https\nhost=\xff\n\n")
    with pytest.raises(CredentialError, match="https alone"):
        credentials().answer(b"")


def test_plain_http_is_for_this_machine_alone(helper: Path) -> None:
    service = credentials()
    for host in ("127.0.0.1:8080", "[::1]:8080"):
        assert PASSWORD.encode() in service.answer(request(protocol="http", host=host))
    with pytest.raises(CredentialError, match="not on the allow-list"):
        service.answer(request(protocol="http", host="127.0.0.1:8081"))


def test_a_bridge_lets_every_host_through_and_no_network_none(helper: Path) -> None:
    service = credentials(network="bridge", allow=None)
    assert PASSWORD.encode() in service.answer(request(protocol="https", host="elsewhere.org"))
    assert credentials_for(SandboxConfig.from_options(git_credentials=True)) is None
    assert credentials_for(SandboxConfig.from_options(network="bridge")) is None


def test_where_the_host_has_none_nobody_is_asked_to_type(
    tmp_path: Path, own_git: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "askpass"
    asked.write_text(f"#!/bin/sh\ntouch {tmp_path}/typed\necho x\n")
    asked.chmod(0o755)
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, str(asked))
    with own_git.open("a") as file:
        file.write(f"[core]\naskPass = {asked}\n")
    service = credentials()
    with pytest.raises(CredentialError, match=r"has none for unknown\.test:443"):
        service.answer(request(protocol="https", host="unknown.test"))
    assert not (tmp_path / "typed").exists()
    assert service.counts == (HostCredentials("unknown.test:443", 0, 1),)


def test_a_helper_that_a_repository_names_is_not_run(
    tmp_path: Path, helper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "config").write_text(f'[credential]\nhelper = "!touch {tmp_path}/sprung; :"\n')
    for name, text in (("HEAD", "ref: refs/heads/main\n"), ("objects", None), ("refs", None)):
        (folder / name).write_text(text) if text else (folder / name).mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_DIR", str(folder))
    assert credentials().answer(request(protocol="https", host="example.org"))
    assert not (tmp_path / "sprung").exists()


def test_a_helper_that_waits_is_ended(own_git: Path) -> None:
    with own_git.open("a") as file:
        file.write('[credential]\nhelper = ""\nhelper = "!sleep 60; :"\n')
    service = credentials_for(SandboxConfig.from_options(network="bridge", git_credentials=True), fill_timeout_s=0.5)
    assert service is not None
    with pytest.raises(CredentialError, match="has none"):
        service.answer(request(protocol="https", host="example.org"))


def test_there_are_not_many_at_one_time_nor_in_a_minute() -> None:
    service = credentials()
    for _ in range(4):
        service.begin()
    with pytest.raises(CredentialError, match="too many requests"):
        service.begin()
    for _ in range(4):
        service.end()
    for _ in range(56):
        service.begin()
        service.end()
    with pytest.raises(CredentialError, match="too many requests"):
        service.begin()


def test_hosts_are_not_counted_without_end() -> None:
    service = credentials()
    for number in range(70):
        service._count(f"{number}.test:443", given=True)
    assert len(service.counts) == 65
    assert service.counts[-1] == HostCredentials("(others)", 6, 0)


def asked(service: Credentials, data: bytes) -> bytes:
    """Ask by a connection, as a sandbox does, and read to its end."""
    connection = asyncio.run(service.connect())
    with connection:
        connection.setblocking(True)
        connection.settimeout(30)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(8192), b""))


def test_a_connection_answers_one_request(helper: Path) -> None:
    before = threading.active_count()
    service = credentials()
    assert asked(service, request(protocol="https", host="example.org")).endswith(f"password={PASSWORD}\n".encode())
    assert asked(service, b"protocol=ftp\n\n") == b"error=there are credentials for https alone\n"
    assert asked(service, b"\0" * 9000).startswith(b"error=")
    assert asked(service, b"") == b"error=there are credentials for https alone\n"
    wait_until(lambda: threading.active_count() <= before)


def test_the_helper_inside_is_one_that_git_runs(tmp_path: Path) -> None:
    """The program asks the proxy, prints what it hears, and has nothing to store or erase."""
    environment = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.helper", "GIT_CONFIG_VALUE_0": "store"}
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        git_helper.announce(proxy.getsockname()[1], environment)
        threading.Thread(target=_answer, args=(proxy, heard), daemon=True).start()
        environment |= {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
        text = request(protocol="https", host="example.org", path="x.git")
        output = run_git(["credential", "fill"], Path("/"), environment, text)
        assert output == b"protocol=https\nhost=example.org\npath=x.git\nusername=ann\npassword=x y\n"
        for word in ("approve", "reject"):
            assert run_git(["credential", word], Path("/"), environment, output) == b""
    assert len(heard) == 1
    assert heard[0].startswith(f"CONNECT {git_helper.SERVICE_HOST}:443 HTTP/1.1\r\n".encode())
    assert heard[0].endswith(b"\r\n\r\nprotocol=https\nhost=example.org\npath=x.git\n\n")
    assert not (tmp_path / ".git-credentials").exists()


def _answer(proxy: socket.socket, heard: list[bytes]) -> None:
    while True:
        try:
            connection, _ = proxy.accept()
        except OSError:
            return
        with connection:
            data = b""
            while not data.endswith(b"\n\n") or b"protocol" not in data:
                data += connection.recv(8192)
            heard.append(data)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\nusername=ann\npassword=x y\n")
