"""The mirror: what is mounted of the notebook's Python, and what never is."""

from __future__ import annotations

import io
import json
import os
import site
import sys
import tarfile
from pathlib import Path

import pytest

from chorus_nb.engines import mirror
from chorus_nb.engines.base import HOME, WORKSPACE, Mount
from chorus_nb.engines.mirror import build_image, find_mirror, site_folders
from chorus_nb.errors import ImageError


def covers(mounts: tuple[Mount, ...], path: str) -> bool:
    return any(path == mount.target or path.startswith(mount.target + "/") for mount in mounts)


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment as the interpreter sees one: ``sys.prefix`` with a link to the program and packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "venv" / "lib" / version / "site-packages"
    (packages / "package").mkdir(parents=True)
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "venv" / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "exec_prefix", str(tmp_path / "venv"))
    return tmp_path / "venv"


def test_the_interpreter_and_its_packages_are_there_under_their_own_paths() -> None:
    found = find_mirror()
    for path in (sys.executable, os.path.realpath(sys.executable), sys.prefix, sys.base_prefix, *site_folders()):
        assert covers(found.mounts, path), path
    assert found.interpreter == sys.executable
    assert found.environment["PATH"].split(":")[0] == os.path.dirname(sys.executable)


def test_an_interpreter_that_was_started_by_a_name_with_dots_is_there(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    named = f"{tmp_path}/work/../venv"
    monkeypatch.setattr(sys, "executable", f"{named}/bin/python")
    monkeypatch.setattr(sys, "prefix", named)
    monkeypatch.setattr(sys, "exec_prefix", named)
    found = find_mirror()
    assert found.interpreter == str(prefix / "bin" / "python")
    assert covers(found.mounts, found.interpreter)
    assert found.environment["PATH"].split(":")[0] == str(prefix / "bin")
    assert not any(".." in mount.target for mount in found.mounts)


def test_dots_behind_a_link_lead_to_where_the_kernel_goes(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(prefix / "lib")
    monkeypatch.setattr(sys, "executable", f"{tmp_path}/elsewhere/link/../bin/python")
    monkeypatch.setattr(sys, "prefix", f"{tmp_path}/elsewhere/link/..")
    found = find_mirror()
    assert found.interpreter == os.path.realpath(prefix / "bin") + "/python"
    assert covers(found.mounts, found.interpreter)


def test_everything_is_read_only() -> None:
    assert all(mount.read_only for mount in find_mirror().mounts)


def test_nothing_is_mounted_twice() -> None:
    targets = [mount.target for mount in find_mirror().mounts]
    assert len(targets) == len(set(targets))
    assert not any(inner.startswith(outer + "/") for inner in targets for outer in targets)


def test_homes_and_secrets_stay_outside() -> None:
    sources = [mount.source for mount in find_mirror().mounts]
    for secret in (str(Path.home()), "/etc/shadow", "/etc/ssh", "/etc/ssl/private", "/run", "/var", "/proc", "/dev"):
        for source in sources:
            assert not secret.startswith(source.rstrip("/") + "/"), f"{source} shows {secret}"
            assert source != secret


@pytest.mark.parametrize("folder", ["/", "/home", "/root", "/etc", "~"])
def test_a_prefix_that_would_lay_open_too_much_is_refused(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.path.expanduser(folder)
    monkeypatch.setattr(sys, "prefix", path)
    # A folder that does not exist on this machine is not mounted, so it is not refused either.
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    with pytest.raises(ImageError, match="itself") as caught:
        find_mirror()
    assert path in str(caught.value)
    assert "venv" in caught.value.next_step


def test_a_link_to_a_home_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(Path.home())
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "link"))
    with pytest.raises(ImageError):
        find_mirror()


def test_a_virtual_environment_elsewhere_is_mounted(prefix: Path) -> None:
    assert Mount(str(prefix), str(prefix)) in find_mirror().mounts


def test_a_prefix_behind_a_link_is_there_under_both_names(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "current").symlink_to(prefix)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "current"))
    mounts = find_mirror().mounts
    assert Mount(str(prefix), str(prefix)) in mounts
    assert Mount(str(prefix), str(tmp_path / "current")) in mounts


def test_a_program_outside_every_prefix_is_mounted_as_a_file_along_its_links(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_bytes(b"")
    (tmp_path / "alias").symlink_to("bin/python")
    (prefix / "bin" / "python").unlink()
    (prefix / "bin" / "python").symlink_to("../../alias")
    mounts = find_mirror().mounts
    program = str(tmp_path / "bin" / "python")
    assert Mount(program, program) in mounts
    assert Mount(program, str(tmp_path / "alias")) in mounts


def test_file_systems_mounted_further_down_are_added_read_only(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_mount_points", lambda: ["/", "/elsewhere", str(prefix / "lib")])
    assert Mount(str(prefix / "lib"), str(prefix / "lib")) in find_mirror().mounts


def test_mount_points_are_read_with_their_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/" in mirror._mount_points()
    monkeypatch.setattr(
        mirror.Path, "read_text", lambda path: "36 35 98:0 / /mnt/two\\040words rw - ext3 /dev/root rw\n"
    )
    assert mirror._mount_points() == ["/mnt/two words"]


def test_only_the_users_own_packages_come_from_the_home_folder(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "home" / ".local" / "lib" / "python" / "site-packages"
    packages.mkdir(parents=True)
    monkeypatch.setattr(site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(packages))
    monkeypatch.setattr(site, "getuserbase", lambda: str(tmp_path / "home" / ".local"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages), str(tmp_path / "home")])
    found = find_mirror()
    assert Mount(str(packages), str(packages)) in found.mounts
    assert not covers(found.mounts, str(tmp_path / "home" / "file"))
    assert found.environment["PYTHONUSERBASE"] == str(tmp_path / "home" / ".local")


@pytest.mark.parametrize("locked", [".", "bin", "lib", "lib/*/site-packages", "lib/*/site-packages/package"])
def test_packages_that_others_may_not_read(prefix: Path, locked: str) -> None:
    assert find_mirror().world_readable
    (folder,) = prefix.glob(locked) if locked != "." else [prefix]
    folder.chmod(0o750)
    assert not find_mirror().world_readable


def test_folders_above_the_prefix_need_not_be_readable(prefix: Path) -> None:
    prefix.parent.chmod(0o700)
    assert find_mirror().world_readable


def unpack(archive: bytes) -> tarfile.TarFile:
    return tarfile.TarFile(fileobj=io.BytesIO(archive))


def unpack_layer(archive: bytes) -> tarfile.TarFile:
    layer = unpack(archive).extractfile("layer.tar")
    assert layer is not None
    return unpack(layer.read())


def read(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    assert file is not None
    return file.read().decode()


def test_the_image_has_users_places_to_mount_and_links() -> None:
    layer = unpack_layer(build_image({"/lib": "usr/lib"}, "amd64", 1000, 100).archive)
    assert f"sandbox:x:1000:100:sandbox:{HOME}:/bin/sh\n" in read(layer, "etc/passwd")
    assert "sandbox:x:100:\n" in read(layer, "etc/group")
    assert {"tmp", HOME.strip("/"), WORKSPACE.strip("/")} <= set(layer.getnames())
    assert layer.getmember("lib").linkname == "usr/lib"
    assert layer.getmember("tmp").mode == 0o1777


@pytest.mark.parametrize("uid", [0, 65534])
def test_no_number_has_two_names(uid: int) -> None:
    passwd = read(unpack_layer(build_image({}, "amd64", uid, uid).archive), "etc/passwd")
    numbers = [line.split(":")[2] for line in passwd.splitlines()]
    assert sorted(numbers) == ["0", "65534"]


def test_the_same_content_has_the_same_name() -> None:
    first, second = (build_image({"/a": "b"}, "amd64", 1, 1) for _ in range(2))
    assert first == second
    others = [build_image({}, "amd64", 1, 1), build_image({"/a": "b"}, "arm64", 1, 1)]
    assert len({first.reference, *(image.reference for image in others)}) == 3


def test_the_archive_is_what_docker_load_takes() -> None:
    image = build_image({}, "amd64", 1, 1)
    archive = unpack(image.archive)
    (entry,) = json.loads(read(archive, "manifest.json"))
    assert entry["RepoTags"] == [image.reference]
    assert json.loads(read(archive, entry["Config"]))["architecture"] == "amd64"


@pytest.mark.parametrize("name", ["pip.conf", ".condarc", ".env", "etc/jupyter/jupyter_server_config.json"])
def test_files_that_hold_credentials_by_custom_are_covered(prefix: Path, name: str) -> None:
    (prefix / name).parent.mkdir(parents=True, exist_ok=True)
    (prefix / name).write_text("index-url = https://user:password@index.example/simple\n")
    assert Mount("/dev/null", str(prefix / name)) in find_mirror().mounts


def test_a_link_to_credentials_is_covered_where_they_are(prefix: Path) -> None:
    (prefix / "etc").mkdir()
    (prefix / "etc" / "real.conf").write_text("password = x\n")
    (prefix / "pip.conf").symlink_to("etc/real.conf")
    assert Mount("/dev/null", str(prefix / "etc" / "real.conf")) in find_mirror().mounts


def test_a_link_to_credentials_outside_leads_nowhere(prefix: Path) -> None:
    outside = prefix.parent / "secret.conf"
    outside.write_text("password = x\n")
    (prefix / "pip.conf").symlink_to(outside)
    assert not covers(find_mirror().mounts, str(outside))
    assert not any(mount.source == "/dev/null" for mount in find_mirror().mounts)
