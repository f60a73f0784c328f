"""The engine's address, found as the docker command finds it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from chorus_nb.engines.endpoint import DEFAULT_ADDRESS, find_endpoint
from chorus_nb.errors import EngineNotFoundError


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def add_context(config: Path, name: str, *, certificates: bool = False, **endpoint: Any) -> None:
    digest = hashlib.sha256(name.encode()).hexdigest()
    folder = config / "contexts" / "meta" / digest
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
    if certificates:
        (config / "contexts" / "tls" / digest / "docker").mkdir(parents=True)


def test_the_default() -> None:
    assert find_endpoint().address == DEFAULT_ADDRESS
    assert find_endpoint().is_unix_socket


def test_docker_host_comes_first(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_context(config, "other", Host="unix:///other.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    monkeypatch.setenv("DOCKER_HOST", "tcp://host:2375")
    endpoint = find_endpoint()
    assert (endpoint.address, endpoint.certificates, endpoint.is_unix_socket) == ("tcp://host:2375", None, False)


def test_docker_host_with_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://host:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    endpoint = find_endpoint()
    assert (endpoint.certificates, endpoint.verify) == (tmp_path, True)


def test_the_current_context_of_the_configuration(config: Path) -> None:
    add_context(config, "colima", Host="unix:///home/me/.colima/docker.sock")
    (config / "config.json").write_text(json.dumps({"currentContext": "colima"}))
    assert find_endpoint().address == "unix:///home/me/.colima/docker.sock"


def test_docker_context_needs_no_configuration_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_context(config, "far", Host="tcp://far:2376", SkipTLSVerify=True, certificates=True)
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    endpoint = find_endpoint()
    assert endpoint.address == "tcp://far:2376"
    assert endpoint.certificates is not None
    assert not endpoint.verify


def test_a_context_that_does_not_exist_is_not_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "typo")
    with pytest.raises(EngineNotFoundError, match=r"'typo'.*DOCKER_CONTEXT"):
        find_endpoint()


@pytest.mark.parametrize("text", ["not json", "[]", '{"Endpoints": {}}'])
def test_a_broken_context_is_named(config: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    add_context(config, "broken", Host="unix:///x")
    next((config / "contexts" / "meta").iterdir()).joinpath("meta.json").write_text(text)
    monkeypatch.setenv("DOCKER_CONTEXT", "broken")
    with pytest.raises(EngineNotFoundError, match="'broken'"):
        find_endpoint()


@pytest.mark.parametrize("text", ["not json", "[]", "{}"])
def test_a_broken_configuration_file_means_the_default(config: Path, text: str) -> None:
    (config / "config.json").write_text(text)
    assert find_endpoint().address == DEFAULT_ADDRESS
