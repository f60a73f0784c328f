"""Folders of the host and named volumes besides the repository, on each engine that mounts."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from attempts import REAL_ENGINES, assert_refused, engine_of
from sandboxes import opened, value

from chorus_nb.engines.base import VOLUME_LABEL, VOLUME_PREFIX
from chorus_nb.engines.dialect import DOCKER
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.named_volumes import remove_volume, volumes_in_use
from chorus_nb.errors import ConfigurationError, PolicyRefusedError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module", params=REAL_ENGINES)
def mounting(request: pytest.FixtureRequest) -> DockerEngine:
    found: DockerEngine = engine_of(request, request.param)
    return found


@pytest.fixture(scope="module")
def volume(mounting: DockerEngine) -> Iterator[str]:
    """A name that no volume has; what is made under it is removed."""
    name = f"test-{secrets.token_hex(4)}"
    yield name
    remove_volume(mounting, VOLUME_PREFIX + name)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that anybody may look into, and one that anybody may write to."""
    folder = tmp_path_factory.mktemp("mounts")
    for name in ("repository/out", "data/deep", "out"):
        (folder / name).mkdir(parents=True)
    for path in [*folder.parents[:2], folder, *folder.rglob("*")]:
        path.chmod(0o755)
    (folder / "out").chmod(0o777)
    (folder / "data" / "table.csv").write_text("1,2")
    (folder / "data" / "deep" / ".env").write_text("secret")
    (folder / "one.txt").write_text("one")
    return folder


@pytest.fixture(scope="module")
def kept(mounting: DockerEngine, host: Path, volume: str) -> Iterator[Sandbox]:
    mounts = [f"{host}/data:/data", f"{host}/out:/workspace/out:rw", f"{host}/one.txt:/srv/one.txt"]
    volumes = [f"{volume}:/cache", f"{volume}:/seen:ro"]
    with opened(mounting, repo="ro", repo_path=host / "repository", mount=mounts, volume=volumes) as sandbox:
        yield sandbox


def test_a_folder_can_be_read_and_not_written(sandbox: Sandbox) -> None:
    assert value(sandbox, "open('/data/table.csv').read() + open('/srv/one.txt').read()") == "'1,2one'"
    for attempt in ("write('/data/table.csv')", "open('/data/new', 'w')", "write('/srv/one.txt')"):
        assert_refused(sandbox, attempt)


def test_a_secret_in_it_is_masked(sandbox: Sandbox) -> None:
    assert value(sandbox, "open('/data/deep/.env').read()") == "''"


def test_a_folder_in_a_read_only_repository_can_be_the_one_to_write_to(sandbox: Sandbox, host: Path) -> None:
    assert value(sandbox, "open('out/made.txt', 'w').write('made')") == "4"
    made = host / "out" / "made.txt"
    assert made.read_text() == "made"
    assert (made.stat().st_uid, stat.S_IMODE(made.stat().st_mode)) == (os.getuid(), 0o644)
    assert list((host / "repository" / "out").iterdir()) == []
    assert_refused(sandbox, "open('elsewhere', 'w')")


def test_what_is_mounted_is_among_the_controls(kept: Sandbox) -> None:
    found = {each.name: (each.requested, each.enforced) for each in kept._session.controls if "mount " in each.name}
    assert found == {
        "mount /data": ("read-only", "read-only"),
        "mount /workspace/out": ("writable", "writable"),
        "mount /srv/one.txt": ("read-only", "read-only"),
        "mount /cache": ("writable", "writable"),
        "mount /seen": ("read-only", "read-only"),
    }


def test_a_volume_outlives_the_sandbox(sandbox: Sandbox, mounting: DockerEngine, volume: str) -> None:
    value(sandbox, "open('/cache/kept', 'w').write('kept')")
    assert value(sandbox, "open('/seen/kept').read()") == "'kept'"
    assert_refused(sandbox, "write('/seen/kept')")
    with opened(mounting, volume=f"{volume}:/other") as other:
        assert value(other, "open('/other/kept').read()") == "'kept'"
        if mounting.dialect is DOCKER:  # Podman gives it to the first user alone, and this one may be another.
            assert value(other, "import os; os.access('/other', os.W_OK)") == "True"
    assert volumes_in_use(mounting)[VOLUME_PREFIX + volume]
    assert not remove_volume(mounting, VOLUME_PREFIX + volume), "the first sandbox uses it"
    assert mounting.client.inspect_volume(VOLUME_PREFIX + volume)["Labels"] == {VOLUME_LABEL: volume}


def test_a_volume_that_is_not_ours_is_left_alone(mounting: DockerEngine) -> None:
    name = f"test-{secrets.token_hex(4)}"
    mounting.client.create_volume(VOLUME_PREFIX + name)
    try:
        with (
            pytest.raises(ConfigurationError, match="was not made by a sandbox"),
            opened(mounting, volume=f"{name}:/cache"),
        ):
            pass
        assert VOLUME_PREFIX + name not in volumes_in_use(mounting)
    finally:
        mounting.client.remove_volume(VOLUME_PREFIX + name)


def test_the_mode_of_what_is_made_is_the_umasks(docker_engine: DockerEngine, host: Path) -> None:
    made = """
import os, subprocess
os.makedirs('out/folder'); open('out/file', 'w').close()
subprocess.run("echo > out/by_program", shell=True, check=True)
import threading
worker = threading.Thread(target=lambda: open('out/by_thread', 'w').close()); worker.start(); worker.join()
"""
    out = Path(tempfile.mkdtemp(dir=host))
    out.chmod(0o777)
    with opened(
        docker_engine, repo="ro", repo_path=host / "repository", mount=f"{out}:/workspace/out:rw", umask="027"
    ) as sandbox:
        value(sandbox, made)
        sandbox.files.write("out/by_host", b"x")
        sandbox.command(["sh", "-c", "echo > out/by_command"])
        sandbox.restart()
        value(sandbox, "open('out/after_restart', 'w').close()")
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in out.iterdir()}
    files = ("file", "by_program", "by_thread", "by_host", "by_command", "after_restart")
    assert modes == {"folder": "0o750", **dict.fromkeys(files, "0o640")}
    assert {path.stat().st_uid for path in out.iterdir()} == {os.getuid()}
    shutil.rmtree(out)


# What is refused, before anything is created


REFUSED = ["~", "/", "/etc", "/var/run/docker.sock", "/home", "/var/lib/docker/volumes", "/proc/self", "/srv"]


@pytest.mark.parametrize("source", REFUSED)
@pytest.mark.parametrize("way", ["{}", "link"])
def test_no_folder_of_the_system_or_home_is_mounted(
    docker_engine: DockerEngine, tmp_path: Path, source: str, way: str
) -> None:
    if way == "link":
        (tmp_path / "link").symlink_to(Path(source).expanduser())
        source = str(tmp_path / "link")
    with (
        pytest.raises(PolicyRefusedError, match="is refused by the rule 'no "),
        opened(docker_engine, mount=f"{source}:/data"),
    ):
        pass


BAD = {
    "{}/absent:/data": "absent' can't be had: No such file",
    "{}/fifo:/data": "is neither a file nor a folder",
    "{}/loop:/data": "can't be had: Too many levels",
    "{}/.ssh:/data": r"likely a secret, by the name '\.ssh'.*--show-secrets",
    "{}/data/key.pem:/data": r"likely a secret, by the name 'key\.pem'",
    "{}/data:/workspace/absent": "the repository has no folder 'absent'",
    "{}/data:/workspace/file": "the repository has no folder 'file'",
    "{}/data:/workspace/way/out": "the repository has no folder 'way/out'",
    "{}/data:/workspace/.ssh": r"no folder '\.ssh' that is seen there",
    "{}/data:/scratch/x": "can't both be mounted",
}


@pytest.mark.parametrize(("mount", "words"), BAD.items(), ids=BAD)
def test_what_cannot_be_mounted_is_named(docker_engine: DockerEngine, tmp_path: Path, mount: str, words: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for name in (".ssh", "data", "repository/.ssh"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data" / "key.pem").write_text("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "repository" / "file").touch()
    (tmp_path / "repository" / "way").symlink_to("../data")
    (tmp_path / "data" / "out").mkdir()
    options = {"repo": "ro", "repo_path": tmp_path / "repository", "tmpfs": "/scratch"}
    with (
        pytest.raises(ConfigurationError, match=words),
        opened(docker_engine, mount=mount.format(tmp_path), **options),
    ):
        pass


def test_two_things_at_one_place_are_refused(docker_engine: DockerEngine, tmp_path: Path) -> None:
    for mounts, volumes in (
        ([f"{tmp_path}:/a", f"{tmp_path}:/a/b"], []),
        ([f"{tmp_path}:/a"], ["x:/a"]),
        ([], ["x:/a/b", "y:/a"]),
    ):
        with (
            pytest.raises(ConfigurationError, match="can't both be mounted"),
            opened(docker_engine, mount=mounts, volume=volumes),
        ):
            pass
    assert not {f"{VOLUME_PREFIX}x", f"{VOLUME_PREFIX}y"} & set(volumes_in_use(docker_engine))


def test_a_volume_is_written_to_in_place_of_the_mirrors_own_folders_nowhere(docker_engine: DockerEngine) -> None:
    image = docker_engine.resolve("mirror")
    inside = next(mount.target for mount in image.mounts if mount.target.count("/") > 1)
    for target in (inside, f"{inside}/x", inside.rpartition("/")[0]):
        with pytest.raises(ConfigurationError), opened(docker_engine, volume=f"x:{target}"):
            pass
