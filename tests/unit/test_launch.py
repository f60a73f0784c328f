"""From a configuration to what the engine is asked for, and from the agent's words to an error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sandboxes import REPORT

from chorus_nb.agent import boot
from chorus_nb.config import SandboxConfig
from chorus_nb.controls import AgentInfo, verify
from chorus_nb.endings import why_not_started
from chorus_nb.enforced import checked_paths
from chorus_nb.engines.base import (
    WORKSPACE,
    ByteStream,
    Container,
    ContainerProcess,
    ContainerSpec,
    ContainerState,
    EngineCapabilities,
    Mask,
    Mount,
    ResolvedImage,
    Volume,
)
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import (
    AgentProtocolError,
    ChorusError,
    ConfigurationError,
    EngineError,
    ImageUnsupportedError,
    OutOfMemoryError,
    PolicyNotEnforcedError,
    SandboxStartError,
)
from chorus_nb.launch import boot_payload, container_spec, keeper_spec, workspace_of
from chorus_nb.sandbox import Sandbox

MOUNTING = EngineCapabilities(name="test", isolation=True, limits=True, mirror=True, repository_mounts=True)
PLAIN = EngineCapabilities(name="test", isolation=False, limits=False, mirror=False, repository_mounts=False)


class MirrorlessEngine(FakeEngine):
    """Resolves to an image with a mount and a variable of its own."""

    def resolve(self, image: str) -> ResolvedImage:
        return ResolvedImage(
            reference=image,
            interpreters=("python3",),
            mounts=(Mount("/usr", "/usr"),),
            environment={"PATH": "/usr/bin", "HOME": "/image"},
        )


def spec_of(folder: Path, capabilities: EngineCapabilities = MOUNTING, **options: Any) -> ContainerSpec:
    config = SandboxConfig.from_options(**options)
    return container_spec("name", config, MirrorlessEngine(), capabilities, folder, "owner")


def info(**changes: Any) -> AgentInfo:
    return AgentInfo.from_content(REPORT | changes)


# What the engine is asked for


@pytest.mark.parametrize(("mode", "read_only"), [("ro", True), ("rw", False)])
def test_the_repository_is_mounted_as_asked(tmp_path: Path, mode: str, read_only: bool) -> None:
    spec = spec_of(tmp_path, repo=mode)
    assert spec.mounts == (Mount("/usr", "/usr"), Mount(str(tmp_path), WORKSPACE, read_only))
    assert spec.working_dir == WORKSPACE


@pytest.mark.parametrize("mode", ["ro", "rw", "overlay"])
def test_secrets_are_masked_in_every_mode(tmp_path: Path, mode: str) -> None:
    (tmp_path / ".env").touch()
    (tmp_path / ".ssh").mkdir()
    assert spec_of(tmp_path, repo=mode).masks == (Mask(f"{WORKSPACE}/.env", False), Mask(f"{WORKSPACE}/.ssh", True))
    assert spec_of(tmp_path, PLAIN, repo=mode).masks == ()


def test_a_folder_of_secrets_is_no_repository(tmp_path: Path) -> None:
    """A file of the repository may name a folder in it, and in there no name would tell."""
    (tmp_path / ".aws" / "sso").mkdir(parents=True)
    for folder in (".aws", ".aws/sso"):
        with pytest.raises(ConfigurationError, match=r"likely a secret, by the name '\.aws'.*--show-secrets '\.aws'"):
            spec_of(tmp_path, repo_path=tmp_path / folder)
        assert spec_of(tmp_path, repo_path=tmp_path / folder, show_secrets=".aws").mounts


def test_what_is_mounted_besides_the_repository(tmp_path: Path) -> None:
    for name in ("repository", "data/.aws"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    spec = spec_of(
        tmp_path / "repository", mount=[f"{tmp_path}/link:/data:rw", f"{tmp_path}/data:/srv/x"], volume="c:/c:ro"
    )
    source = str(tmp_path / "data")
    assert spec.mounts[2:] == (Mount(source, "/srv/x"), Mount(source, "/data", read_only=False))
    assert spec.volumes == (Volume("/c", "chorus-nb-c", read_only=True),)
    assert spec.masks == (Mask("/srv/x/.aws", True), Mask("/data/.aws", True))
    assert spec_of(tmp_path / "repository", umask="077").umask == "077"


def test_no_repository_is_no_mount(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, repo="none")
    assert spec.mounts == (Mount("/usr", "/usr"),)
    assert spec.working_dir == WORKSPACE


def test_an_engine_without_mounts_works_where_the_repository_lies(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / ".git").mkdir()
    config = SandboxConfig.from_options()
    assert workspace_of(config, PLAIN, inner) == (tmp_path, str(tmp_path))
    assert workspace_of(SandboxConfig.from_options(repo="none"), PLAIN, inner) == (None, str(inner))


def test_variables_that_are_asked_for_win_over_the_images_and_those_over_ours(tmp_path: Path) -> None:
    environment = spec_of(tmp_path, env={"PATH": "/mine", "TOKEN": "t"}).environment
    assert (environment["PATH"], environment["TOKEN"], environment["HOME"]) == ("/mine", "t", "/image")


def test_labels_name_owner_and_session(tmp_path: Path) -> None:
    assert spec_of(tmp_path).labels == {"chorus-nb.owner": "owner", "chorus-nb.session": "name"}


def test_the_user_that_is_asked_for_wins(tmp_path: Path) -> None:
    assert spec_of(tmp_path, user="12:34").user == "12:34"


def payload_of(spec: ContainerSpec, capabilities: EngineCapabilities) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(boot_payload(spec, capabilities).partition(b"\n")[2])
    return found


def test_the_payload_tells_the_agent_where_it_is(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    body = payload_of(spec, MOUNTING)
    assert body["role"] == "supervisor"
    assert body["config"] == {
        "working_dir": spec.working_dir,
        "socket": {"path": "/chorus-nb.sock", "token": spec.agent_token},
        "own_cgroup": True,
        "filter_syscalls": True,
        "paths": list(checked_paths(spec)),
        "umask": "022",
    }
    assert not payload_of(spec, PLAIN)["config"]["own_cgroup"]
    assert len(spec.agent_token) == 32
    assert spec_of(tmp_path).agent_token != spec.agent_token
    assert payload_of(spec, PLAIN)["config"]["socket"] is None


def test_only_a_sandbox_with_an_allow_list_gets_a_proxy(tmp_path: Path) -> None:
    with_list = payload_of(spec_of(tmp_path, network="allowlist", allow=["127.0.0.1"]), MOUNTING)
    assert with_list["config"]["egress"] == {
        "proxy": True,
        "no_proxy": "localhost,::1",
        "git_credentials": False,
    }
    assert "proxy" in with_list["modules"]
    for network in ("none", "bridge"):
        without = payload_of(spec_of(tmp_path, network=network), MOUNTING)
        assert "egress" not in without["config"]
        assert "proxy" not in without["modules"]


def test_proxies_of_a_bridge_are_variables_and_the_hosts_own_stay_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@of.the.host:1")
    assert not [name for name in spec_of(tmp_path, network="bridge").environment if "proxy" in name.lower()]
    options = {"network": "bridge", "https_proxy": "http://proxy.test:3128", "no_proxy": ".test"}
    environment = spec_of(tmp_path, **options, env={"no_proxy": "mine"}).environment
    assert (environment["https_proxy"], environment["HTTPS_PROXY"]) == ("http://proxy.test:3128",) * 2
    assert (environment["no_proxy"], environment["NO_PROXY"]) == ("mine", ".test")


def test_without_an_agent_there_is_no_allow_list(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs an image with Python"):
        keeper_spec(spec_of(tmp_path, network="allowlist"))


# Whether we got it


@pytest.fixture
def spec(tmp_path: Path) -> ContainerSpec:
    return spec_of(tmp_path, user="1000:1000")


def test_everything_in_force_passes(spec: ContainerSpec) -> None:
    verify(info(), spec)
    verify(info(interfaces=[]), spec)
    verify(info(memory_limit_bytes=2**29, pids_limit=10, cpus=0.5, open_files=64), spec)


@pytest.mark.parametrize(
    ("control", "found"),
    [
        ("user", {"uid": 0}),
        ("user", {"gid": 0}),
        ("no-new-privileges", {"no_new_privileges": False}),
        ("read-only root", {"read_only_root": False}),
        ("network", {"interfaces": ["eth0", "lo"]}),
        ("memory", {"memory_limit_bytes": None}),
        ("memory", {"memory_limit_bytes": 2**31}),
        ("pids", {"pids_limit": None}),
        ("pids", {"pids_limit": 129}),
        ("cpus", {"cpus": None}),
        ("cpus", {"cpus": 2.0}),
        ("open files", {"open_files": 4096}),
        ("supervisor", {"supervisor_undumpable": False}),
    ],
)
def test_each_missing_control_is_named(spec: ContainerSpec, control: str, found: dict[str, Any]) -> None:
    with pytest.raises(PolicyNotEnforcedError, match=control) as caught:
        verify(info(**found), spec)
    assert caught.value.controls == (control,)
    assert caught.value.next_step


def test_every_missing_control_is_named_at_once(spec: ContainerSpec) -> None:
    with pytest.raises(PolicyNotEnforcedError) as caught:
        verify(info(uid=0, read_only_root=False, cpus=None), spec)
    assert caught.value.controls == ("user", "read-only root", "cpus")


def test_what_was_not_asked_for_need_not_be_in_force(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, user="1000:1000", network="bridge", read_only_root=False)
    verify(info(interfaces=["eth0", "lo"], read_only_root=False), spec)


def test_an_allow_list_is_no_interface(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, user="1000:1000", network="allowlist", allow=["example.org"])
    verify(info(), spec)
    with pytest.raises(PolicyNotEnforcedError, match="network"):
        verify(info(interfaces=["eth0", "lo"]), spec)


@pytest.mark.parametrize(
    "found",
    [{"uid": "0"}, {"uid": True}, {"interfaces": "lo"}, {"no_new_privileges": "yes"}, {"cpus": "1"}, {"uid": None}],
)
def test_a_report_of_another_shape_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(AgentProtocolError, match="report"):
        AgentInfo.from_content(REPORT | found)


@pytest.mark.parametrize("field", sorted(REPORT))
def test_a_report_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(AgentProtocolError):
        AgentInfo.from_content({key: value for key, value in REPORT.items() if key != field})


# Why it did not start


class Silent(Container, ByteStream):
    """A container that ended before its agent was ready."""

    def __init__(self, said: str, state: ContainerState) -> None:
        self.id, self.stream = "silent", self
        self._said, self._state = said, state

    def inspect(self) -> ContainerState:
        return self._state

    @property
    def diagnostics(self) -> str:
        return self._said

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def remove(self) -> None: ...
    def close(self) -> None: ...
    def send(self, data: bytes | memoryview) -> None: ...
    def receive(self) -> bytes:
        return b""

    def exec(self, argv: Sequence[str], *, user: str, working_dir: str = "/", stdin: bool = False) -> ContainerProcess:
        raise EngineError("It is not running.")


@pytest.mark.parametrize(
    ("said", "state", "kind", "words"),
    [
        (f"{boot.UNSUPPORTED}3.6\n", ContainerState("exited", 97), ImageUnsupportedError, r"Python 3\.6"),
        (f"noise\n{boot.UNSUPPORTED}3.7", ContainerState("removed"), ImageUnsupportedError, r"Python 3\.7"),
        ("Unknown option: -I\nusage: python [option]", ContainerState("exited", 2), ImageUnsupportedError, "Python 2"),
        ("", ContainerState("exited", 137), OutOfMemoryError, "1024 MiB"),
        ("", ContainerState("exited", 1, oom_killed=True), OutOfMemoryError, "1024 MiB"),
        (f"{boot.OUT_OF_MEMORY}\n", ContainerState("removed"), OutOfMemoryError, "1024 MiB"),
        ("Traceback\nImportError: no json\n", ContainerState("exited", 1), SandboxStartError, "ImportError: no json"),
        ("", ContainerState("exited", 3), SandboxStartError, "exit code 3"),
        ("", ContainerState("removed"), SandboxStartError, "was removed"),
        ("", ContainerState("running"), SandboxStartError, "stream was cut"),
    ],
)
def test_the_reason_is_found(said: str, state: ContainerState, kind: type[ChorusError], words: str) -> None:
    error = why_not_started(Silent(said, state), SandboxConfig())
    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error
    assert error.next_step


class ImageOfNothing(FakeEngine):
    """Runs neither Python nor a shell, and says of each why."""

    def create(self, spec: ContainerSpec) -> Container:
        what = "shell" if spec.keeper else "Python"
        raise ImageUnsupportedError(f"There is no {what}.", next_step="Use another image.")


def test_why_no_python_runs_is_said_also_where_no_shell_does_either(tmp_path: Path) -> None:
    with (
        pytest.raises(
            ImageUnsupportedError, match=r"^There is no Python\. Nor is there a shell .*: There is no shell\."
        ),
        Sandbox(engine=ImageOfNothing(), repo="none") as sandbox,
    ):
        sandbox.run("1")
