"""What a sandbox does not see of the repository, and that nothing in it can change that, on each engine and mode."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attempts import REAL_ENGINES, assert_refused, engine_of
from sandboxes import opened, own_containers, value

from chorus_nb.engines.base import Engine
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.errors import ConfigurationError, SandboxDiedError
from chorus_nb.sandbox import Sandbox
from chorus_nb.status import describe

SECRET = secrets.token_hex(16)
FILES = (".env", "a/b/id_rsa", "a/data.csv", "odd: näme\ttab/.env", "-.key", "form\x0cfeed\x85\u2028.key")
FOLDERS = (".ssh", "build")
MODES = [
    *((name, mode) for name in REAL_ENGINES for mode in ("ro", "rw")),
    ("docker", "overlay"),
]


def make_repository(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o777)
    for name in (*FILES, *(f"{each}/x" for each in FOLDERS)):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.parent.chmod(0o777)
        place.write_text(SECRET)
    (folder / "seen.txt").write_text("seen")
    (folder / ".ssh").chmod(0o700)  # As people have it.
    (folder / "link").symlink_to(".env")
    (folder / "a" / "link").symlink_to("../.ssh/x")
    return folder


@pytest.fixture(scope="module", params=MODES, ids="-".join)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox that sees a repository with secrets, a folder and files that are excluded, and a server's socket."""
    name, mode = request.param
    folder = make_repository(tmp_path_factory.mktemp("masks") / "repository")
    here = Path.cwd()
    os.chdir(folder)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    os.chdir(here)
    (folder / "socket").chmod(0o777)
    listener.listen()
    with opened(engine_of(request, name), repo=mode, repo_path=folder, exclude=["build/", "*.csv"]) as sandbox:
        yield sandbox
    listener.close()
    # Whatever was tried: on the host all is as it was.
    assert {each: (folder / each).read_text() for each in FILES} == dict.fromkeys(FILES, SECRET)
    assert {path.name for each in FOLDERS for path in (folder / each).iterdir()} == {"x"}


@pytest.mark.docker
def test_what_is_masked_is_empty(sandbox: Sandbox) -> None:
    assert value(sandbox, f"[name for name in {(*FILES, 'link')!r} if open(name).read()]") == "[]"
    assert value(sandbox, f"import os; [os.listdir(name) for name in {FOLDERS!r}]") == "[[], []]"
    assert value(sandbox, "open('seen.txt').read()") == "'seen'"
    assert_refused(sandbox, "open('a/link')")


@pytest.mark.docker
def test_no_way_leads_around_a_mask(sandbox: Sandbox) -> None:
    """By every name of the folder, and by reading all there is below it."""
    found = f"""
import os
ways = ["/workspace", "/proc/self/root/workspace", "/proc/self/cwd", "/proc/1/root/workspace", "/proc/1/cwd/workspace"]
ways += [f"/proc/self/fd/{{os.open('.', os.O_PATH)}}", f"/dev/fd/{{os.open('/', os.O_PATH)}}/workspace"]
found = []
for way in ways:
    for folder, _, files in os.walk(way):
        for name in files:
            try:
                with open(os.path.join(folder, name)) as file:
                    found += [(folder, name)] if {SECRET!r} in file.read(1000) else []
            except OSError:
                pass
found"""
    assert value(sandbox, found) == "[]"


ATTEMPTS = {
    "connect": "socket.socket(socket.AF_UNIX).connect('socket')",
    "unlink": "os.unlink('.env')",
    "rename": "os.rename('.env', 'x')",
    "rename over it": "open('/tmp/x', 'w').close(); write('seen2', 'x'); os.rename('seen2', '.env')",
    "rename the folder": "os.rename('.ssh', 'ssh2')",
    "remove the folder": "os.rmdir('.ssh')",
    "write into the folder": "open('.ssh/new', 'w')",
    "make a link": "os.link('.env', 'hard')",
    "make a link in the folder": "os.link('.ssh/x', 'hard')",
    "mount over it": "checked(ctypes.CDLL(None, use_errno=True).mount(b'/tmp', b'/workspace/.ssh', None, 4096, None))",
    "unmount": "checked(ctypes.CDLL(None, use_errno=True).umount2(b'/workspace/.env', 2))",
    "unmount the folder": "checked(ctypes.CDLL(None, use_errno=True).umount2(b'/workspace/.ssh', 2))",
    "move the mount": "checked(ctypes.CDLL(None, use_errno=True).mount(b'/workspace/.ssh', b'/tmp', None, 8192, None))",
    "a user namespace": "checked(ctypes.CDLL(None, use_errno=True).unshare(0x10020000))",
    "chmod the folder": "os.chmod('.ssh', 0o777)",
}


@pytest.mark.docker
@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_a_mask_cannot_be_taken_away(kept: Sandbox, attempt: str) -> None:
    assert_refused(kept, attempt)
    assert value(kept, "open('.env').read()") == "''"


@pytest.mark.docker
def test_a_mask_goes_with_the_folder_that_it_is_in(sandbox: Sandbox) -> None:
    """In ``rw`` that can be moved; in ``ro`` and ``overlay`` not."""
    renamed = """
import os
try:
    os.rename('a', 'moved')
except OSError:
    place = 'a'
else:
    place = 'moved'
text = open(place + '/b/id_rsa').read()
os.path.exists('moved') and os.rename('moved', 'a')
text"""
    assert value(sandbox, renamed) == "''"


@pytest.mark.docker
def test_the_status_counts_them_and_they_are_in_force(kept: Sandbox) -> None:
    (control,) = [each for each in kept._session.controls if each.name == "masked files"]
    assert (control.requested, control.enforced, control.in_force) == ("7 files, 2 folders", "7 files, 2 folders", True)
    assert "masked files" in describe(kept._session)


@pytest.mark.docker
@pytest.mark.parametrize("name", REAL_ENGINES)
def test_a_thousand_masks_are_in_force(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    for number in range(999):
        (tmp_path / f"{number}.key").touch()
    (tmp_path / ".ssh").mkdir()
    with opened(engine_of(request, name), repo="ro", repo_path=tmp_path) as sandbox:
        (control,) = [each for each in sandbox._session.controls if each.name == "masked files"]
        assert (control.enforced, control.in_force) == ("999 files, 1 folder", True)


@pytest.mark.docker
def test_one_mask_too_many_starts_nothing(docker_engine: Engine, tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / f"{number}.key").touch()
    before = own_containers(docker_engine)
    with (
        pytest.raises(ConfigurationError, match="more than 1000 files to mask"),
        opened(docker_engine, repo="ro", repo_path=tmp_path),
    ):
        pass
    assert own_containers(docker_engine) == before


@pytest.mark.docker
def test_a_new_container_masks_what_has_come(docker_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with opened(docker_engine, repo="ro", repo_path=tmp_path, memory="256m") as sandbox:
        (tmp_path / ".env").write_text(SECRET)
        assert value(sandbox, "len(open('.env').read())") == str(len(SECRET)), "documented: it came later"
        sandbox._session.kill()
        with pytest.raises(SandboxDiedError):
            sandbox.run("1")
        assert value(sandbox, "open('.env').read()") == "''"


@pytest.mark.docker
def test_names_of_several_lines_are_masked(docker_engine: Engine, tmp_path: Path) -> None:
    for name in ("\r1.key", "\n2.key", '"3,.key', "4\\040.key", "5\r\n/.ssh/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(SECRET)
    with opened(docker_engine, repo="ro", repo_path=tmp_path) as sandbox:
        assert value(sandbox, "import glob; [name for name in glob.glob('*.key') if open(name).read()]") == "[]"
        assert value(sandbox, "import os; os.listdir('5\\r\\n/.ssh')") == "[]"


@pytest.mark.docker
def test_an_image_without_python_masks_and_has_the_umask_too(
    docker_engine: Engine, image_with_shell: str, tmp_path: Path
) -> None:
    folder = make_repository(tmp_path / "repository")
    with opened(docker_engine, image=image_with_shell, repo="rw", repo_path=folder, umask="077") as sandbox:
        assert sandbox.command(["sh", "-c", "cat .env; ls .ssh; echo > made"]).stdout == ""
        (control,) = [each for each in sandbox._session.controls if each.name == "masked files"]
        assert (control.enforced, control.in_force) == ("5 files, 1 folder", True)
    assert oct((folder / "made").stat().st_mode) == "0o100600"


@pytest.mark.parametrize(
    "options",
    [{"include": ["*"]}, {"exclude": ["x"]}, {"respect_gitignore": True}, {"mount": "/srv:/x"}, {"volume": "a:/x"}],
    ids=str,
)
def test_an_engine_that_mounts_nothing_masks_nothing_and_says_so(tmp_path: Path, options: dict[str, Any]) -> None:
    (name,) = options
    with (
        pytest.raises(ConfigurationError, match=rf"{name} can't be had of the fake engine"),
        opened(FakeEngine(), repo="ro", repo_path=tmp_path, **options),
    ):
        pass


def test_a_copy_has_nothing_of_what_is_masked(tmp_path: Path) -> None:
    folder = make_repository(tmp_path / "repository")
    with opened(FakeEngine(), repo="overlay", repo_path=folder, exclude=["build/", "*.csv"]) as sandbox:
        found = value(sandbox, "import os; sorted(name for _, _, names in os.walk('.') for name in names)")
    assert found == "['link', 'link', 'seen.txt']"
