"""What a sandbox reaches and learns of networks: with none, with an allow-list, and with a bridge."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import wait_until
from sandboxes import container_of, left_by_killed, opened, text_of, value
from webservers import Server, serving

from chorus_nb.config.hosts import as_address, kind_of
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import ConfigurationError

pytestmark = pytest.mark.docker

PACKAGE = "iniconfig"
"""Small, pure Python, without dependencies."""

INSTALL = f"""
import subprocess, sys
target = "/home/sandbox/packages"
words = ["pip", "install", "--no-deps", "--no-cache-dir", "--retries", "0", "--target", target, "{PACKAGE}"]
subprocess.run([sys.executable, "-m", *words], check=True)
sys.path.insert(0, target)
import {PACKAGE}
{PACKAGE}.__file__"""


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    with serving() as server:
        yield server


# pip


def pip(*words: str, **environment: str) -> str:
    command = [sys.executable, "-m", "pip", *words]
    return subprocess.run(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True, check=False
    ).stdout.strip()


@pytest.fixture(scope="module")
def index() -> dict[str, str]:
    """The settings of this machine's pip for its index, as variables."""
    from pip._internal.models.index import PyPI

    settings = {}
    for name in ("index-url", "cert", "trusted-host"):
        variable = "PIP_" + name.upper().replace("-", "_")
        found = os.environ.get(variable) or pip("config", "get", f"global.{name}")
        if found:
            settings[variable] = found
    return {"PIP_INDEX_URL": PyPI.simple_url, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", **settings}


@pytest.fixture(scope="module")
def hosts(index: dict[str, str]) -> list[str]:
    """What an allow-list has to name for a package to be installed: the index, and where it keeps its files."""
    words = ["install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", PACKAGE]
    file_url = json.loads(pip(*words, **index))["install"][0]["download_info"]["url"]
    names = []
    for url in (index["PIP_INDEX_URL"], file_url):
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        names += [f"{parts.hostname}:{port}", *(f"{address}:{port}" for address in _only_by_address(parts.hostname))]
    return names


def _only_by_address(name: str | None) -> set[str]:
    """Return the addresses of an index that a name does not lead to: of one on this machine, as mirrors may be."""
    found = {str(each[4][0]) for each in socket.getaddrinfo(name, None, family=socket.AF_INET)}
    return {each for each in found if (address := as_address(each)) and kind_of(address) == "loopback"}


def test_pip_installs_where_the_index_is_on_the_list(
    docker_engine: DockerEngine, index: dict[str, str], hosts: list[str]
) -> None:
    with opened(docker_engine, network="allowlist", allow=hosts, env=index) as sandbox:
        result = sandbox.run(INSTALL, timeout=90)
        assert result.error is None, text_of(result) + result.stdout
        assert str(result.result).startswith("'/home/sandbox/packages/")
        assert {each.name for each in result.egress} <= set(hosts)
        assert result.usage.network_rx_bytes == sum(each.received_bytes for each in result.egress) > 5000


def test_pip_fails_by_name_where_it_is_not(
    docker_engine: DockerEngine, index: dict[str, str], hosts: list[str]
) -> None:
    with opened(docker_engine, network="allowlist", allow=["other.test"], env=index) as sandbox:
        result = sandbox.run(INSTALL, timeout=90)
    assert result.error is not None
    assert result.error.ename == "EgressDeniedError"
    assert f"refused {hosts[0]}, which is not on the allow-list" in result.error.evalue
    assert "CalledProcessError" in text_of(result)


# What there is besides the list: nothing


def _secrets_of_the_host() -> list[str]:
    """Return the name servers and search domains of this machine."""
    lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    words = [word for line in lines if line and line[0] in ("nameserver", "search", "domain") for word in line[1:]]
    return [word for word in words if word not in ("127.0.0.1", ".")]


@pytest.mark.parametrize("network", ["none", "allowlist"])
def test_a_sandbox_learns_nothing_of_the_hosts_networks(docker_engine: DockerEngine, network: str) -> None:
    code = """
import os, socket
def read(path): return open(path).read() if os.path.exists(path) else ""
print(read("/etc/resolv.conf"), read("/etc/hosts"), read("/proc/net/route"), read("/proc/net/fib_trie"))
print(dict(os.environ))
[name for _, name in socket.if_nameindex() if int(read(f"/sys/class/net/{name}/flags"), 16) & 1]"""
    with opened(docker_engine, network=network) as sandbox:
        result = sandbox.run(code)
        assert str(result.result) == "['lo']"
        assert not [secret for secret in _secrets_of_the_host() if secret in result.stdout]
        assert not re.search(r"\b0\.0\.0\.0/0\b|^eth", result.stdout, re.MULTILINE)
        host = docker_engine.client.inspect_container(container_of(docker_engine))["HostConfig"]
        assert (host["NetworkMode"], host["PortBindings"], host["ExtraHosts"]) == ("none", None, None)


def test_past_the_proxy_there_is_no_way_out(docker_engine: DockerEngine, web: Server) -> None:
    code = f"""
import socket
def attempt(address, port):
    try:
        socket.create_connection((address, port), timeout=3).close()
        return "open"
    except OSError as error:
        return type(error).__name__
results = [attempt(*each) for each in (("127.0.0.1", {web.server_port}), ("192.0.2.1", 443), ("2001:db8::1", 443))]
try:
    socket.getaddrinfo("example.org", 443)
except OSError as error:
    results.append(type(error).__name__)
results"""
    with opened(docker_engine, network="allowlist", allow=["example.org", web.name]) as sandbox:
        assert value(sandbox, code) == "['ConnectionRefusedError', 'OSError', 'OSError', 'gaierror']"


def test_a_kernel_that_is_killed_takes_its_connections_along(docker_engine: DockerEngine, web: Server) -> None:
    program = f"""
from chorus_nb.sandbox import Sandbox
sandbox = Sandbox(repo='none', network='allowlist', allow=[{web.name!r}]).__enter__()
sandbox.run("import urllib.request; response = urllib.request.urlopen('http://{web.name}/endless')")
print(sandbox._session._container.id, flush=True)
sandbox.run("response.read()")"""
    ended = web.ended
    container = left_by_killed(program, docker_engine)
    wait_until(lambda: web.ended > ended and docker_engine.inspect_id(container).status == "removed")


def test_where_no_process_is_left_for_the_proxy_nobody_hangs(docker_engine: DockerEngine, web: Server) -> None:
    code = f"""
import os, signal, socket, urllib.request
children = []
try:
    while True:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        children.append(pid)
except BlockingIOError:
    pass
with socket.create_connection(("127.0.0.1", 3128), timeout=20) as peer:
    try:
        outcome = peer.recv(1)
    except ConnectionResetError:
        outcome = b""
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
outcome, urllib.request.urlopen("http://{web.name}/after").read()[:9]"""
    with opened(docker_engine, network="allowlist", allow=[web.name], pids=16) as sandbox:
        assert value(sandbox, code) == "(b'', b'/after of')"


def test_an_image_without_python_has_no_allow_list(docker_engine: DockerEngine, image_with_shell: str) -> None:
    with (
        pytest.raises(ConfigurationError, match="needs an image with Python"),
        opened(docker_engine, image=image_with_shell, network="allowlist"),
    ):
        pass


# A bridge


def test_a_bridge_has_the_names_servers_and_proxies_that_were_asked_for(
    docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "of.the.host")
    options = {
        "dns": ["192.0.2.53"],
        "dns_search": ["corp.test"],
        "add_host": ["db.test:192.0.2.7", "v6.test:[2001:db8::7]"],
        "http_proxy": "http://proxy.test:3128",
    }
    code = """
import os, socket
print(open("/etc/resolv.conf").read())
print({name: text for name, text in os.environ.items() if "proxy" in name.lower()})
[socket.getaddrinfo(name, 80)[0][4][0] for name in ("db.test", "v6.test", "localhost")][:2]"""
    with opened(docker_engine, network="bridge", **options) as sandbox:
        assert sandbox.info().interfaces == ["eth0", "lo"]
        result = sandbox.run(code)
    assert result.error is None, text_of(result)
    assert str(result.result) == "['192.0.2.7', '2001:db8::7']"
    assert "nameserver 192.0.2.53\n" in result.stdout
    assert "search corp.test\n" in result.stdout
    assert "{'http_proxy': 'http://proxy.test:3128', 'HTTP_PROXY': 'http://proxy.test:3128'}" in result.stdout
    assert not [secret for secret in _secrets_of_the_host() if secret in result.stdout]
