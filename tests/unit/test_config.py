"""Options as people type them, and what they are told about the ones they can't have."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from chorus_nb.config import (
    OPTIONS,
    SMALLEST_MEMORY_BYTES,
    GitPolicy,
    MountPolicy,
    NetworkPolicy,
    OutputPolicy,
    RepositoryMount,
    ResourceLimits,
    SandboxConfig,
    SecurityPolicy,
    parse_duration_s,
    parse_size_bytes,
)
from chorus_nb.config.device_rate import DeviceRate
from chorus_nb.config.ulimit import Ulimit
from chorus_nb.errors import ConfigurationError

MODELS: list[type[BaseModel]] = [
    SandboxConfig,
    ResourceLimits,
    NetworkPolicy,
    SecurityPolicy,
    RepositoryMount,
    MountPolicy,
    GitPolicy,
    OutputPolicy,
]

GOOD: list[tuple[str, Any, Any]] = [
    ("image", "mirror", "mirror"),
    ("image", "python:3.11-slim", "python:3.11-slim"),
    ("image", "registry.example.org:5000/team/img@sha256:0a1b", "registry.example.org:5000/team/img@sha256:0a1b"),
    ("memory", "512m", 512 * 2**20),
    ("memory", "1.5g", 3 * 2**29),
    ("memory", " 1 GiB ", 2**30),
    ("memory", "64MB", 64 * 2**20),
    ("memory", SMALLEST_MEMORY_BYTES, SMALLEST_MEMORY_BYTES),
    ("cpus", "1.5", 1.5),
    ("cpus", 2, 2.0),
    ("cpus", 0.01, 0.01),
    ("pids", "64", 64),
    ("pids", 16, 16),
    ("pids", 4194304, 4194304),
    ("open_files", 64, 64),
    ("open_files", 1048576, 1048576),
    ("tmp", "1m", 2**20),
    ("memory_swap", "2g", 2**31),
    ("memory_swap", 2**30, 2**30),
    ("memory_swap", None, None),
    ("cpu_shares", "2", 2),
    ("cpu_shares", 262144, 262144),
    ("cpu_shares", None, None),
    ("cpuset", "0", "0"),
    ("cpuset", "0,2-3", "0,2-3"),
    ("cpuset", None, None),
    ("file_size", "4k", 4096),
    ("file_size", None, None),
    ("ulimits", ["nproc=100"], (Ulimit("nproc", 100, 100),)),
    ("ulimits", "stack=8m:unlimited", (Ulimit("stack", 2**23, -1),)),
    ("ulimits", ("cpu=60:-1", "core=0"), (Ulimit("cpu", 60, -1), Ulimit("core", 0, 0))),
    ("ulimits", [], ()),
    ("shm", "64k", 2**16),
    ("disk", "10g", 10 * 2**30),
    ("disk", None, None),
    ("blkio_weight", 10, 10),
    ("blkio_weight", "1000", 1000),
    ("read_bps", ["/dev/sda:10m", "/dev/sdb:1"], (DeviceRate("/dev/sda", 10 * 2**20), DeviceRate("/dev/sdb", 1))),
    ("write_bps", "/dev/disk/by-path/pci-0000:00:1f.2:1k", (DeviceRate("/dev/disk/by-path/pci-0000:00:1f.2", 1024),)),
    ("read_iops", ["/dev/sda:100"], (DeviceRate("/dev/sda", 100),)),
    ("write_iops", [], ()),
    ("timeout", "30s", 30.0),
    ("timeout", None, None),
    ("idle", "30m", 1800.0),
    ("lifetime", 1.5, 1.5),
    ("network", "none", "none"),
    ("network", "allowlist", "allowlist"),
    ("network", "bridge", "bridge"),
    ("allow", ["Example.org.", "*.example.org:8080"], ("example.org", "*.example.org:8080")),
    ("allow", "example.org, 10.0.0.0/8", ("example.org", "10.0.0.0/8")),
    ("allow", ["[2001:DB8::1]:443"], ("[2001:db8::1]:443",)),
    ("allow", [], ()),
    ("allow", None, ()),
    ("dns", ["192.0.2.53", "2001:db8::53"], ("192.0.2.53", "2001:db8::53")),
    ("dns", "192.0.2.53", ("192.0.2.53",)),
    ("dns_search", ["Example.org", "test"], ("example.org", "test")),
    ("add_host", ["db.test:192.0.2.7", "v6.test:[2001:db8::1]"], ("db.test:192.0.2.7", "v6.test:2001:db8::1")),
    ("http_proxy", "http://proxy.test:3128", "http://proxy.test:3128"),
    ("https_proxy", "http://proxy.test:3128/", "http://proxy.test:3128/"),
    ("https_proxy", None, None),
    ("no_proxy", "localhost,.test", "localhost,.test"),
    ("user", "1000:1000", "1000:1000"),
    ("user", None, None),
    ("read_only_root", False, False),
    ("group_add", "44", (44,)),
    ("group_add", [100, "7", 7], (7, 100)),
    ("cap_add", "cap_net_raw", ("NET_RAW",)),
    ("cap_add", ["NET_RAW", "CHOWN", "CAP_CHOWN"], ("CHOWN", "NET_RAW")),
    ("cap_drop", "all", ("ALL",)),
    ("cap_drop", ["CAP_SYS_ADMIN", "KILL"], ("KILL", "SYS_ADMIN")),
    ("no_new_privileges", "false", False),
    ("seccomp", "default", "default"),
    ("seccomp", "unconfined", "unconfined"),
    ("seccomp", Path("/srv/profile.json"), "/srv/profile.json"),
    ("apparmor", "default", "default"),
    ("apparmor", "my-profile", "my-profile"),
    ("selinux", "type:container_t", ("type:container_t",)),
    ("selinux", ["type:a_t", "level:s0:c1,c2"], ("level:s0:c1,c2", "type:a_t")),
    ("selinux", "disable", ("disable",)),
    ("userns", "private", "private"),
    ("tmpfs", "/scratch", ("/scratch",)),
    ("tmpfs", ["/scratch:65536k", "/build:1g,exec", "/x:8m,noexec"], ("/build:1g,exec", "/scratch:64m", "/x:8m")),
    ("masked_paths", ["/workspace/private", "/etc/ssl"], ("/etc/ssl", "/workspace/private")),
    ("read_only_paths", "/tmp", ("/tmp",)),
    ("devices", "/dev/full", ("/dev/full:/dev/full:rw",)),
    (
        "devices",
        ["/dev/dri/card0:/dev/dri/x", "/dev/full:mr"],
        ("/dev/dri/card0:/dev/dri/x:rw", "/dev/full:/dev/full:rm"),
    ),
    ("runtime", "runsc", "runsc"),
    ("runtime", None, None),
    ("repo", "ro", "ro"),
    ("repo", "rw", "rw"),
    ("repo", "overlay", "overlay"),
    ("repo", "none", "none"),
    ("repo_path", "/srv/project", Path("/srv/project")),
    ("repo_path", None, None),
    ("include", ["src/", "*.py", "!src/big/**"], ("src/", "*.py", "!src/big/**")),
    ("include", "docs/**/*.md", ("docs/**/*.md",)),
    ("exclude", ["/data", "a b", "\\#x", "[ab]?.c"], ("/data", "a b", "\\#x", "[ab]?.c")),
    ("exclude", [], ()),
    ("respect_gitignore", True, True),
    ("respect_gitignore", "false", False),
    ("show_secrets", ".env", (".env",)),
    ("show_secrets", ["tests/**", "*.pem"], ("tests/**", "*.pem")),
    ("umask", "077", "077"),
    ("umask", "0002", "002"),
    ("mount", "/srv/data:/data", ("/srv/data:/data:ro",)),
    ("mount", ["/srv/b:/b:rw", "/srv/a:b:/workspace/a:ro"], ("/srv/a:b:/workspace/a:ro", "/srv/b:/b:rw")),
    ("mount", "/srv/data/:/data/", ("/srv/data:/data:ro",)),
    ("mount", (), ()),
    ("volume", "cache:/cache", ("cache:/cache:rw",)),
    ("volume", ["a.b-c_1:/home/sandbox/.cache:ro"], ("a.b-c_1:/home/sandbox/.cache:ro",)),
    ("git_config", "init.defaultBranch, pull.rebase", ("init.defaultBranch", "pull.rebase")),
    ("git_config", ["branch.my-topic.rebase", "http.proxy"], ("branch.my-topic.rebase", "http.proxy")),
    ("git_config", [], ()),
    ("git_credentials", True, True),
    ("git_protect", "false", False),
    ("output", "trusted", "trusted"),
    ("max_output", "1k", 1024),
    ("max_transfer", "1k", 1024),
    ("max_transfer", "500m", 500 * 2**20),
    ("max_output", "100m", 100 * 2**20),
    ("env", {"A_1": "x", "_b": ""}, {"A_1": "x", "_b": ""}),
    ("env", {}, {}),
]

BAD: list[tuple[str, Any]] = [
    ("image", ""),
    ("image", "a b"),
    ("image", "-v"),
    ("image", "a\n"),
    ("image", "x" * 600),
    ("image", 1),
    ("image", None),
    ("memory", "lots"),
    ("memory", "47m"),
    ("memory", "-1g"),
    ("memory", "1.5"),
    ("memory", -1),
    ("memory", None),
    ("memory", float("nan")),
    ("memory", float("inf")),
    ("memory", "9" * 400),
    ("memory", 10**30),
    ("memory", SMALLEST_MEMORY_BYTES - 1),
    ("cpus", 0),
    ("cpus", -1),
    ("cpus", "many"),
    ("cpus", float("inf")),
    ("cpus", float("nan")),
    ("cpus", 1e9),
    ("pids", 15),
    ("pids", 1.5),
    ("pids", "x"),
    ("pids", 4194305),
    ("open_files", 63),
    ("open_files", 1048577),
    ("tmp", "1k"),
    ("memory_swap", "47m"),
    ("memory_swap", "-1"),
    ("memory_swap", "unlimited"),
    ("cpu_shares", 1),
    ("cpu_shares", 262145),
    ("cpu_shares", 1.5),
    ("cpuset", ""),
    ("cpuset", "0,"),
    ("cpuset", "3-1"),
    ("cpuset", "all"),
    ("cpuset", "0\n"),
    ("cpuset", "٣"),
    ("cpuset", 0),
    ("cpuset", "99999"),
    ("file_size", "4095"),
    ("file_size", "none"),
    ("ulimits", ["nofile=10"]),
    ("ulimits", ["fsize=10"]),
    ("ulimits", ["as=1g"]),
    ("ulimits", ["nproc"]),
    ("ulimits", ["nproc="]),
    ("ulimits", ["nproc=1:2:3"]),
    ("ulimits", ["nproc=20:10"]),
    ("ulimits", ["nproc=unlimited:10"]),
    ("ulimits", ["nproc=-2"]),
    ("ulimits", ["nproc=1m"]),
    ("ulimits", ["nproc=5", "nproc=6"]),
    ("ulimits", ["cpu=1"]),
    ("ulimits", ["data=1m"]),
    ("ulimits", ["stack=9999999999g"]),
    ("ulimits", ["NPROC=5"]),
    ("ulimits", [5]),
    ("ulimits", 5),
    ("ulimits", None),
    ("ulimits", [{"name": "nofile", "soft": 1, "hard": 1}]),
    ("ulimits", [{"name": "nproc"}]),
    ("shm", "1k"),
    ("shm", None),
    ("disk", "1k"),
    ("disk", "50%"),
    ("blkio_weight", 9),
    ("blkio_weight", 1001),
    ("read_bps", ["/dev/sda"]),
    ("read_bps", ["sda:1m"]),
    ("read_bps", ["/dev/sda:0"]),
    ("read_bps", ["/dev/sda:fast"]),
    ("read_bps", ["/dev/sda:1m", "/dev/sda:2m"]),
    ("read_bps", ["/dev/s\nda:1m"]),
    ("write_bps", [":1m"]),
    ("write_bps", {"/dev/sda": "1m"}),
    ("write_bps", [{"path": "/etc", "rate": 1}]),
    ("read_iops", ["/etc/passwd:1"]),
    ("write_iops", [None]),
    ("timeout", 0),
    ("timeout", "soon"),
    ("timeout", float("inf")),
    ("idle", -1),
    ("idle", float("nan")),
    ("lifetime", "0s"),
    ("network", "on"),
    ("network", True),
    ("allow", ["https://example.org"]),
    ("allow", ["*"]),
    ("allow", ["example.org:99999"]),
    ("allow", ["0x7f.1"]),
    ("allow", [1]),
    ("allow", {"example.org": 443}),
    ("allow", ["example.org"] * 300),
    ("dns", ["one.test"]),
    ("dns", ["192.0.2.256"]),
    ("dns", None),
    ("dns_search", ["a b"]),
    ("dns_search", ["192.0.2.1"]),
    ("dns_search", ["."]),
    ("add_host", ["db.test"]),
    ("add_host", ["db.test:other.test"]),
    ("add_host", [":192.0.2.7"]),
    ("add_host", ["db.test:192.0.2.7\n192.0.2.8 other"]),
    ("http_proxy", "proxy.test:3128"),
    ("http_proxy", "http://proxy.test"),
    ("http_proxy", "http://proxy.test:99999"),
    ("http_proxy", "http://user:word@proxy.test:3128"),
    ("https_proxy", "socks5://proxy.test:1080"),
    ("https_proxy", "http://proxy.test:3128/\n"),
    ("no_proxy", "a\nb"),
    ("no_proxy", 5),
    ("user", "root"),
    ("user", "1000"),
    ("user", 1000),
    ("user", "0:0\n"),
    ("read_only_root", "maybe"),
    ("group_add", "video"),
    ("group_add", -1),
    ("group_add", True),
    ("group_add", 2**32 - 1),
    ("group_add", None),
    ("cap_add", "NET_ROW"),
    ("cap_add", ""),
    ("cap_add", 12),
    ("cap_add", None),
    ("cap_drop", "NONE"),
    ("cap_drop", "12"),
    ("no_new_privileges", "never"),
    ("seccomp", ""),
    ("seccomp", None),
    ("seccomp", False),
    ("apparmor", ""),
    ("apparmor", "two words"),
    ("selinux", "container_t"),
    ("selinux", "type:"),
    ("selinux", "type:a b"),
    ("userns", "keep-id"),
    ("tmpfs", "scratch"),
    ("tmpfs", "/scratch:big"),
    ("tmpfs", "/scratch:0"),
    ("tmpfs", "/scratch:9999999t"),
    ("tmpfs", "/scratch:1m,suid"),
    ("tmpfs", "/scratch,"),
    ("tmpfs", "/tmp:8g"),
    ("tmpfs", "/home/sandbox"),
    ("tmpfs", "/usr"),
    ("tmpfs", "//scratch"),
    ("tmpfs", None),
    ("masked_paths", "workspace"),
    ("masked_paths", "/"),
    ("masked_paths", "/proc"),
    ("masked_paths", "/workspace/../etc"),
    ("masked_paths", "/a\nb"),
    ("read_only_paths", "/a/"),
    ("read_only_paths", 1),
    ("devices", "full"),
    ("devices", "/etc/passwd"),
    ("devices", "/dev/../etc/passwd"),
    ("devices", "/dev/full:/proc/x"),
    ("devices", "/dev/full:/dev/full:x"),
    ("devices", 3),
    ("runtime", ""),
    ("runtime", "/usr/bin/runc"),
    ("runtime", "a b"),
    ("repo", "write"),
    ("repo_path", 3),
    *[
        (name, value)
        for name in ("include", "exclude", "show_secrets")
        for value in ("", "  ", "#c", "!", "/", "a\\", "a\nb", "a\0b", "x" * 501, "a*b*c*d*e", "**/a/**/b/**/c/**/d", 3)
    ],
    *[("exclude", value) for value in ("[[:alpha:]].py", "[a\\]b]", "[y-[a]", "\\/", "data[1")],
    ("exclude", ["x"] * 257),
    ("show_secrets", "!.env"),
    ("respect_gitignore", "maybe"),
    *[("umask", value) for value in ("22", "0o22", "888", "1022", 22, "", "-22", None)],
    *[
        ("mount", f"/srv:{target}")
        for target in (
            "",
            "data",
            "/",
            "/usr",
            "/usr/x",
            "/etc/x",
            "/lib",
            "/run/x",
            "/tmp",
            "/workspace",
            "/chorus-nb.sock",
        )
    ],
    *[("mount", value) for value in ("/srv", ":/data", "/srv:/home/sandbox", "/srv:/a/../b", "/srv:/a\n", "\0:/a", 3)],
    ("mount", [f"/srv:/data{number}" for number in range(33)]),
    *[("volume", value) for value in ("cache", "cache:", ":/cache", "-a:/c", "a b:/c", "x" * 65 + ":/c", "a:b:/c", 3)],
    ("git_config", "user"),
    ("git_config", "user.na me"),
    ("git_config", ["user.na\nme"]),
    ("git_config", "credential.helper"),
    ("git_config", "http.extraHeader"),
    ("git_config", "http.https://example.org/.ExtraHeader"),
    ("git_config", "core.sshCommand"),
    ("git_config", "alias.x"),
    ("git_config", "url.https://token@example.org/.insteadOf"),
    ("git_config", "gpg.ssh.program"),
    ("git_config", "include.path"),
    ("git_config", "sendemail.smtpPass"),
    ("git_config", [1]),
    ("git_config", None),
    ("git_credentials", "maybe"),
    ("git_protect", None),
    ("output", "raw"),
    ("max_output", 1023),
    ("max_transfer", 1023),
    ("max_transfer", "everything"),
    ("max_output", "none"),
    ("env", {"A-B": "x"}),
    ("env", {"1A": "x"}),
    ("env", {"": "x"}),
    ("env", {"A=B": "x"}),
    ("env", {"A": 1}),
    ("env", {"A": "x\0"}),
    ("env", {1: "x"}),
    ("env", "A"),
    ("env", ["A"]),
]


OF_A_MODE = dict.fromkeys(("dns", "dns_search", "add_host", "http_proxy", "https_proxy", "no_proxy"), "bridge")
OF_A_MODE["allow"] = "allowlist"


@pytest.mark.parametrize(("option", "value", "kept"), GOOD)
def test_a_good_value_is_kept(option: str, value: Any, kept: Any) -> None:
    needed = {"network": OF_A_MODE[option]} if option in OF_A_MODE else {}
    assert SandboxConfig.from_options(**{option: value}, **needed).option(option) == kept


@pytest.mark.parametrize(("option", "mode"), OF_A_MODE.items())
def test_an_option_of_one_network_is_an_error_in_the_others(option: str, mode: str) -> None:
    value = next(value for name, value, kept in GOOD if name == option and kept)
    for other in {"none", "allowlist", "bridge"} - {mode}:
        with pytest.raises(ConfigurationError) as caught:
            SandboxConfig.from_options(network=other, **{option: value})
        assert str(caught.value) == (
            f"{option} is for network={mode}, and network is {other}. Add --network {mode}, or leave {option} out."
        )


def test_another_network_leaves_the_options_of_the_one_before_behind() -> None:
    listed = SandboxConfig.from_options(network="allowlist", allow=["example.org"])
    assert SandboxConfig.from_options(listed, memory="1g").network == listed.network
    assert SandboxConfig.from_options(listed, network="none").network == NetworkPolicy()
    assert SandboxConfig.from_options(listed, network="bridge", dns=["192.0.2.53"]).network.allow is None
    assert SandboxConfig.from_options(listed, network="allowlist").network == listed.network


def test_an_allow_list_can_only_be_tightened_to_a_part_of_it() -> None:
    tighter = OPTIONS["allow"].tighter
    assert tighter(("a.example.org",), ("*.example.org",))
    assert tighter((), ("example.org",))
    assert not tighter(("other.org",), ("example.org",))
    assert not tighter(("example.org",), ())
    assert not tighter(None, ("example.org",))
    assert tighter(("example.org",), None), "without a list it is the mode that says what may be reached"


@pytest.mark.parametrize(
    ("allow", "inside"),
    [
        ([], ["localhost", "127.0.0.1", "::1"]),
        (["localhost:8000"], ["127.0.0.1", "::1"]),
        (["127.0.0.1:8000", "[::1]"], ["localhost"]),
    ],
)
def test_loopback_is_the_sandboxs_own_but_for_what_is_listed(allow: list[str], inside: list[str]) -> None:
    assert NetworkPolicy(mode="allowlist", allow=tuple(allow)).inside() == inside


@pytest.mark.parametrize(("option", "value"), BAD)
def test_a_bad_value_is_named_with_what_is_allowed(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SandboxConfig.from_options(**{option: value})
    text = str(caught.value)
    assert re.match(rf"{option}(\[.*\])?=", text)
    assert text.endswith(f"Allowed: {OPTIONS[option].allowed}.")
    # Of a list, the entry that is wrong is named.
    named = [value, *(value if isinstance(value, list) else [])]
    assert any(repr(each)[:70] in text for each in named) or option == "env"
    assert not re.search(r"\^|\\d|\[A-Z|pattern|<class|Input|pydantic", text)
    assert len(text) < 300


@pytest.mark.parametrize(("option", "value", "kept"), GOOD)
def test_what_is_kept_can_be_given_again(option: str, value: Any, kept: Any) -> None:
    needed = {"network": OF_A_MODE[option]} if option in OF_A_MODE else {}
    config = SandboxConfig.from_options(**{option: value}, **needed)
    # As profiles do, and tables that people copy from.
    assert SandboxConfig.from_options(**{option: config.option(option)}, **needed) == config
    again = [str(each) for each in config.option(option)] if isinstance(kept, tuple) else config.option_text(option)
    if option != "env" and again not in ("none", []):
        assert SandboxConfig.from_options(**{option: again}, **needed) == config


def test_each_option_is_tried_with_good_and_bad_values() -> None:
    assert {option for option, *_ in GOOD} == OPTIONS.keys() == {option for option, *_ in BAD}


def test_a_bad_environment_variable_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^env\['A'\]=\(str\) is not allowed") as caught:
        SandboxConfig.from_options(env={"A": "secret\0"})
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"^env='A-B' is not allowed"):
        SandboxConfig.from_options(env={"A-B": "x"})


def test_an_unknown_option_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no option 'memroy'.*image, memory, .*cpus, "):
        SandboxConfig.from_options(memroy="1g")


def test_every_option_names_a_field() -> None:
    config = SandboxConfig()
    for option in OPTIONS:
        config.option(option)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"memory": "512m", "memory_swap": "256m"}, r"^memory_swap=256m is below memory=512m.*512m or more"),
        ({"memory": "3g", "memory_swap": "2g"}, r"^memory_swap=2g is below memory=3g"),
        ({"cpus": 2, "cpuset": "3"}, r"^cpus=2 is more than there are in cpuset=3\. Allowed: up to 1"),
        ({"cpus": 4.5, "cpuset": "0-1,3,5"}, r"^cpus=4\.5 is more than there are in cpuset=0-1,3,5"),
    ],
)
def test_limits_that_do_not_go_together(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        SandboxConfig.from_options(**options)


def test_limits_that_go_together() -> None:
    config = SandboxConfig.from_options(memory="512m", memory_swap="512m", cpus=2, cpuset="0-1", pids=64)
    assert (
        config.limits.with_swap_bytes
        == config.limits.memory_bytes
        == SandboxConfig.from_options(memory="512m").limits.with_swap_bytes
    )
    assert SandboxConfig.from_options(config, memory_swap="1g").limits.with_swap_bytes == 2**30


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("memory", "1536m", "1536m"),
        ("disk", None, "none"),
        ("timeout", "90s", "90s"),
        ("idle", 0.25, "0.25s"),
        ("ulimits", ["stack=8192k:unlimited", "cpu=60"], "stack=8m:unlimited,cpu=60:60"),
        ("read_bps", ["/dev/sda:10240k"], "/dev/sda:10m"),
        ("write_iops", [], "none"),
    ],
)
def test_a_value_is_shown_as_it_may_be_given(option: str, value: Any, text: str) -> None:
    config = SandboxConfig.from_options(**{option: value})
    assert config.option_text(option) == text
    if text != "none":
        again = text.split(",") if OPTIONS[option].many else text
        assert SandboxConfig.from_options(**{option: again}) == config


def test_options_build_on_a_base() -> None:
    base = SandboxConfig.from_options(memory="512m", cpus=2, env={"A": "1"})
    config = SandboxConfig.from_options(base, cpus=3)
    assert (config.limits.memory_bytes, config.limits.cpus, config.environment) == (512 * 2**20, 3.0, {"A": "1"})
    assert base.limits.cpus == 2.0
    assert SandboxConfig.from_options(base) == base


def test_the_defaults_are_locked() -> None:
    config = SandboxConfig()
    assert config.network.mode == "none"
    assert config.repository.mode == "ro"
    assert config.security.read_only_root
    assert config.image == "mirror"
    assert SandboxConfig.from_options() == config


@pytest.mark.parametrize("model", MODELS)
def test_models_are_frozen_closed_and_documented(model: type[BaseModel]) -> None:
    field = next(iter(model.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model(), field, getattr(model(), field))
    with pytest.raises(ValidationError, match="Extra inputs"):
        model(nonsense=1)
    undocumented = [name for name, info in model.model_fields.items() if not info.description]
    assert undocumented in ([], ["limits", "network", "security", "repository", "mounts", "git", "output"])


def test_a_repository_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert RepositoryMount(path=Path("sub")).path == tmp_path / "sub"
    assert RepositoryMount(path=Path("~/sub")).path == Path("/home/ada/sub")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("10", 10),
        ("10b", 10),
        ("1k", 1024),
        ("1K", 1024),
        ("1kb", 1024),
        ("1KiB", 1024),
        ("0.5k", 512),
        ("2t", 2**41),
    ],
)
def test_sizes_are_read_as_docker_reads_them(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "m", "1x", "1 2m", "-1m", "1e3", "0x10", "1,5g", "١m", "1.m", "inf", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="such as 512m"):
        SandboxConfig.from_options(memory=text)


@given(st.integers(0, 2**50), st.sampled_from(["", "b", "k", "m", "g", "t", "KiB", "MB"]))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str) -> None:
    factor = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}[unit[:1].lower()]
    if number < 2**53 // factor:
        assert parse_size_bytes(f"{number}{unit}") == number * factor


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,30}(\.[0-9]{1,30})? ?[bkmgt]?", fullmatch=True))
def test_any_text_is_a_size_or_a_configuration_error(text: str) -> None:
    with suppress(ConfigurationError):
        assert SMALLEST_MEMORY_BYTES <= SandboxConfig.from_options(memory=text).limits.memory_bytes <= 2**60


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("1.5m", 90), ("2min", 120), ("1h", 3600), ("250ms", 0.25), ("1 H", 3600)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1d", "-1s", "1:30", "forever"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30s"):
        parse_duration_s(text)
