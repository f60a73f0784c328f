"""The Docker engine's parts that need no engine: the container's body, and what is said when things fail."""

from __future__ import annotations

import http.server
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from unprivileged import as_nobody

from chorus_nb.config import NetworkPolicy, ResourceLimits, SecurityPolicy
from chorus_nb.engines.base import (
    HOME,
    OWNER_LABEL,
    SESSION_LABEL,
    WORKSPACE,
    ContainerSpec,
    EngineHost,
    Mount,
    ResolvedImage,
)
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.docker_body import container_body
from chorus_nb.engines.docker_container import DockerContainer
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.engines.owner import owner_label
from chorus_nb.errors import (
    ConfigurationError,
    EngineError,
    EngineNotFoundError,
    ImageNotFoundError,
    ImageUnsupportedError,
    PolicyNotEnforcedError,
)

# The container's body


def make_spec(**changes: Any) -> ContainerSpec:
    fields: dict[str, Any] = {
        "session_name": "a.b_c",
        "image": ResolvedImage("image:1", ("python3",), environment={"PATH": "/bin", "A": "image"}),
        "arguments": ("-c", "pass"),
        "environment": {"A": "given"},
        "working_dir": WORKSPACE,
        "user": "1000:1001",
        "mounts": (Mount("/repo", WORKSPACE),),
        "limits": ResourceLimits(memory_bytes=2**30, cpus=1.5, pids=99),
        "network": NetworkPolicy(),
        "security": SecurityPolicy(),
        "labels": {"x": "y"},
    }
    return ContainerSpec(**(fields | changes))


def test_everything_is_locked_by_default() -> None:
    body = container_body(make_spec(), "python3")
    host = body["HostConfig"]
    assert (host["NetworkMode"], body["NetworkDisabled"]) == ("none", True)
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["ReadonlyRootfs"]
    assert host["Memory"] == host["MemorySwap"] == 2**30
    assert (host["NanoCpus"], host["PidsLimit"]) == (1_500_000_000, 99)
    assert host["AutoRemove"]
    assert host["LogConfig"] == {"Type": "none"}
    assert not {"Privileged", "CapAdd", "Devices", "PidMode", "Binds", "PortBindings"} & host.keys()


def test_a_network_of_the_hosts_is_not_told_of() -> None:
    for mode in ("none", "allowlist"):
        body = container_body(make_spec(network=NetworkPolicy(mode=mode)), "python3")
        host = body["HostConfig"]
        assert (host["NetworkMode"], body["NetworkDisabled"]) == ("none", True)
        assert (host["Dns"], host["DnsSearch"]) == (["127.0.0.1"], ["."])


def test_a_bridge_has_the_names_that_were_asked_for() -> None:
    network = NetworkPolicy(mode="bridge", dns=("192.0.2.53",), dns_search=("test",), add_host=("db.test:192.0.2.7",))
    body = container_body(make_spec(network=network), "python3")
    host = body["HostConfig"]
    assert (host["NetworkMode"], body["NetworkDisabled"]) == ("bridge", False)
    assert (host["Dns"], host["DnsSearch"]) == (["192.0.2.53"], ["test"])
    assert host["ExtraHosts"] == ["db.test:192.0.2.7"]


def test_the_program_its_environment_and_its_labels() -> None:
    body = container_body(make_spec(), "/usr/bin/python3")
    assert (body["Entrypoint"], body["Cmd"]) == (["/usr/bin/python3"], ["-c", "pass"])
    assert sorted(body["Env"]) == ["A=given", "PATH=/bin"]
    assert body["Labels"] == {OWNER_LABEL: owner_label(), SESSION_LABEL: "a.b_c", "x": "y"}
    assert body["Hostname"] == "a-b-c"


def test_mounts_neither_make_their_source_nor_reach_into_others() -> None:
    (mount,) = container_body(make_spec(), "python3")["HostConfig"]["Mounts"]
    assert (mount["Type"], mount["Source"], mount["Target"], mount["ReadOnly"]) == ("bind", "/repo", WORKSPACE, True)
    assert mount["BindOptions"]["NonRecursive"]


def test_folders_that_take_writes_belong_to_the_user_and_are_bounded() -> None:
    image = ResolvedImage("image:1", ("python3",), volumes=("/data", WORKSPACE))
    tmpfs = container_body(make_spec(image=image), "python3")["HostConfig"]["Tmpfs"]
    assert tmpfs.keys() == {"/tmp", HOME, "/data"}
    assert all("size=268435456" in options and "nosuid,nodev" in options for options in tmpfs.values())
    assert "uid=1000,gid=1001" in tmpfs[HOME]


def test_without_a_repository_the_workspace_is_an_empty_folder() -> None:
    tmpfs = container_body(make_spec(mounts=()), "python3")["HostConfig"]["Tmpfs"]
    assert tmpfs.keys() == {"/tmp", HOME, WORKSPACE}


# What is said when things fail


def test_nothing_is_imported_or_contacted_before_the_first_use() -> None:
    program = (
        "import sys; from chorus_nb.engines.docker import DockerEngine; DockerEngine();"
        "sys.exit(bool({'docker', 'requests'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "DOCKER_HOST": "unix:///nonexistent.sock"}
    assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == 0


def test_no_engine(tmp_path: Path) -> None:
    engine = DockerEngine(Endpoint(f"unix://{tmp_path}/none.sock", "DOCKER_HOST"))
    with pytest.raises(EngineNotFoundError, match=r"none\.sock") as caught:
        engine.capabilities()
    assert "DOCKER_HOST" in str(caught.value)
    assert "apt install" in caught.value.next_step


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(EngineNotFoundError, match=r"dead\.sock"):
        DockerEngine(Endpoint(f"unix://{path}", "test")).capabilities()


def test_a_refused_tcp_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(EngineNotFoundError, match=f"127.0.0.1:{port}"):
        DockerEngine(Endpoint(f"tcp://127.0.0.1:{port}", "test")).capabilities()


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "locked.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        error = _error_of(path) if os.getuid() else as_nobody(lambda: _error_of(path))
    assert error.startswith("EnginePermissionError")
    assert "usermod -aG docker" in error


def _error_of(path: Path) -> str:
    try:
        DockerEngine(Endpoint(f"unix://{path}", "test")).capabilities()
    except EngineError as error:
        return f"{type(error).__name__} {error}"
    return "no error"


INFO: Mapping[str, Any] = {
    "Architecture": os.uname().machine,
    "CgroupDriver": "systemd",
    "CpuCfsQuota": True,
    "KernelVersion": os.uname().release,
    "MemoryLimit": True,
    "NCPU": 2,
    "Name": os.uname().nodename,
    "OSType": "linux",
    "OperatingSystem": "Test Linux",
    "PidsLimit": True,
    "ServerVersion": "1.2.3",
    "SwapLimit": True,
}


CUT_OFF = 0
"""In place of a status: the connection ends without an answer."""


class ScriptedEngine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers over HTTP what a test tells it: a daemon in a state that is hard to come by."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.requests: list[str] = []
        self.pause = threading.Event()
        self.pause.set()
        self.answers: dict[str, tuple[int, Any]] = {"/version": (200, {"ApiVersion": "1.41"}), "/info": (200, INFO)}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: ScriptedEngine

    def do_GET(self) -> None:
        self.server.pause.wait(10)
        self.server.requests.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0].removeprefix("/v1.41")
        status, answer = self.server.answers.get(path, (404, {"message": f"no {path} here"}))
        if status == CUT_OFF:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET  # noqa: N815 - the names that http.server looks for.

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[ScriptedEngine]:
    with ScriptedEngine(tmp_path / "scripted.sock") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def engine_at(server: ScriptedEngine) -> DockerEngine:
    return DockerEngine(Endpoint(f"unix://{server.server_address!s}", "test"))


def test_a_local_engine_of_the_same_system_has_the_mirror(scripted: ScriptedEngine) -> None:
    assert engine_at(scripted).capabilities().mirror


@pytest.mark.parametrize(
    "difference",
    [
        {"KernelVersion": "6.0.0-linuxkit"},
        {"OperatingSystem": "Docker Desktop"},
        {"OSType": "windows"},
        {"Architecture": "other"},
        {"Name": "another-host"},
        {"KernelVersion": None},
    ],
)
def test_any_doubt_about_the_machine_takes_the_mirror_away(
    scripted: ScriptedEngine, difference: dict[str, Any]
) -> None:
    scripted.answers["/info"] = (200, {**INFO, **difference})
    engine = engine_at(scripted)
    capabilities = engine.capabilities()
    assert not capabilities.mirror
    assert capabilities.details["mirror"]
    with pytest.raises(ImageNotFoundError, match=rf"docker pull python:3\.{sys.version_info.minor}-slim"):
        engine.resolve("mirror")


@pytest.mark.parametrize(
    ("difference", "missing"),
    [
        ({"CgroupDriver": "none"}, "memory, swap, cpus, pids"),
        ({"MemoryLimit": False}, "memory"),
        ({"PidsLimit": False, "CpuCfsQuota": False}, "cpus, pids"),
    ],
)
def test_an_engine_that_ignores_limits_is_refused(
    scripted: ScriptedEngine, difference: dict[str, Any], missing: str
) -> None:
    scripted.answers["/info"] = (200, {**INFO, **difference})
    engine = engine_at(scripted)
    assert not engine.capabilities().limits
    with pytest.raises(PolicyNotEnforcedError, match=missing) as caught:
        engine.create(make_spec())
    assert ", ".join(caught.value.controls) == missing


def test_a_dropped_limit_removes_the_container(scripted: ScriptedEngine) -> None:
    warning = "Your kernel does not support swap limit capabilities. Limitation discarded."
    scripted.answers["/containers/create"] = (201, {"Id": "abc", "Warnings": [warning]})
    with pytest.raises(PolicyNotEnforcedError, match="swap limit"):
        engine_at(scripted).create(make_spec())
    assert any(
        request.startswith("DELETE") and "/containers/chorus-nb-a.b_c-" in request for request in scripted.requests
    )


def test_a_container_whose_making_was_cut_off_is_removed_once_it_is_there(scripted: ScriptedEngine) -> None:
    scripted.answers["/containers/create"] = (CUT_OFF, None)
    engine = engine_at(scripted)
    with pytest.raises(EngineNotFoundError):
        engine.create(make_spec())
    made = [request for request in scripted.requests if request.startswith("POST")]
    assert len(made) == 1, "what may have arrived is not sent again"
    name = made[0].partition("name=")[2]

    def removals() -> int:
        with pytest.raises(EngineNotFoundError):
            engine.create(make_spec())
        return sum(request.startswith("DELETE") and f"/{name}?" in request for request in scripted.requests)

    assert removals() == 2, "it is not there yet"
    scripted.answers[f"/containers/{name}"] = (204, b"")
    assert removals() == 3
    assert removals() == 3


def test_a_storage_driver_without_quotas_is_asked_once(scripted: ScriptedEngine) -> None:
    scripted.answers["/info"] = (200, {**INFO, "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "xfs"]]})
    refusal = "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
    scripted.answers["/containers/create"] = (500, {"message": refusal})
    engine = engine_at(scripted)
    spec = make_spec(limits=ResourceLimits(disk_bytes=2**30), security=SecurityPolicy(read_only_root=False))
    assert engine.quota_body(spec) == {"StorageOpt": {"size": str(2**30)}}
    with pytest.raises(EngineError, match="storage-opt"):  # The one that answers so to a body without it, too.
        engine.create(spec)
    assert len([request for request in scripted.requests if "/containers/create" in request]) == 2
    assert engine.quota_body(spec) == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Requested CPUs are not available - requested 7, available: 0-1", r"cpuset=7 names CPUs.*Allowed: 0-1"),
        ("setting rlimit type 7: operation not permitted", r"open_files=1024 is more than the engine may give"),
    ],
)
def test_a_limit_that_the_engine_refuses_is_named_by_its_option(
    scripted: ScriptedEngine, words: str, told: str
) -> None:
    scripted.answers["/info"] = (200, {**INFO, "CPUSet": True})
    scripted.answers["/containers/create"] = (400, {"message": words})
    with pytest.raises(ConfigurationError, match=told):
        engine_at(scripted).create(make_spec(limits=ResourceLimits(cpuset="7")))
    assert any(request.startswith("DELETE") for request in scripted.requests)


def test_too_many_cpus(scripted: ScriptedEngine) -> None:
    with pytest.raises(ConfigurationError, match=r"cpus=3\.5 .*up to 2"):
        engine_at(scripted).create(make_spec(limits=ResourceLimits(cpus=3.5)))


def test_a_remote_engine_is_not_asked_to_mount() -> None:
    engine = DockerEngine(Endpoint("tcp://127.0.0.1:1", "test"))
    engine._info = INFO
    with pytest.raises(ConfigurationError, match="/repo"):
        engine.create(make_spec())


def test_the_engines_own_words_are_passed_on(scripted: ScriptedEngine) -> None:
    scripted.answers["/containers/json"] = (500, {"message": "the disk is full"})
    with pytest.raises(EngineError, match="the disk is full"):
        engine_at(scripted).owned()


def test_an_engine_that_hangs(scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorus_nb.engines.endpoint.CONNECT_TIMEOUT_S", 0.2)
    scripted.pause.clear()
    with pytest.raises(EngineError, match="in time"):
        engine_at(scripted).capabilities()
    scripted.pause.set()


@pytest.mark.parametrize("answer", [b"<html>not an engine</html>", {}, {"ApiVersion": "0.1"}, {"ApiVersion": None}])
def test_an_answer_that_makes_no_sense(scripted: ScriptedEngine, answer: Any) -> None:
    scripted.answers["/version"] = (200, answer)
    with pytest.raises(EngineError, match=r"scripted\.sock"):
        engine_at(scripted).capabilities()


@pytest.mark.parametrize(
    ("mapped", "readable", "said"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_python_that_an_engine_that_maps_users_can_not_read(mapped: bool, readable: bool, said: bool) -> None:
    host = EngineHost(security_modules=frozenset({"userns"} if mapped else ()))
    image = ResolvedImage("mirror:1", ("python3",), world_readable=readable)
    container = DockerContainer(DockerEngine(), make_spec(image=image, host=host))
    container._interpreters.clear()
    with pytest.raises(ImageUnsupportedError, match=r"no Python that can be run: permission denied") as raised:
        container._note("permission denied")
    assert ("chmod -R o+rX" in raised.value.next_step) == said
