"""Files: of the host through the mirror, of the repository in ``ro``, and those that the host fetches."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from attempts import REAL_ENGINES, assert_refused, engine_of
from sandboxes import opened, value

import chorus_nb
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.mirror import site_folders
from chorus_nb.errors import SandboxFileError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

SECRET = secrets.token_hex(16)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the host that no sandbox has any business with, though everybody may read it."""
    folder = tmp_path_factory.mktemp("outside")
    folder.chmod(0o755)
    (folder / "secret.txt").write_text(SECRET)
    return folder / "secret.txt"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, outside: Path) -> Path:
    """A repository that anybody may read and write, with links in it that lead out."""
    folder = tmp_path_factory.mktemp("repository")
    folder.chmod(0o777)
    (folder / "file.txt").write_text("of the repository\n")
    (folder / "file.txt").chmod(0o666)
    (folder / "folder").mkdir(mode=0o777)
    (folder / "passwd").symlink_to("/etc/passwd")
    (folder / "shadow").symlink_to("/etc/shadow")
    (folder / "absolute").symlink_to(outside)
    (folder / "relative").symlink_to(Path("../" * 12) / outside.relative_to("/"))
    (folder / "way out").symlink_to(outside.parent, target_is_directory=True)
    return folder


@pytest.fixture(scope="module", params=REAL_ENGINES)
def kept(request: pytest.FixtureRequest, repository: Path) -> Iterator[Sandbox]:
    with opened(engine_of(request, request.param), repo="ro", repo_path=repository, pids=64) as sandbox:
        yield sandbox


def state_of(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return all that a write could change."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_nlink, status.st_mtime_ns, content)
    return found


# The host's files


def test_a_secret_of_the_host_is_nowhere(sandbox: Sandbox, outside: Path) -> None:
    """Looked for by its name in every folder but the system's programs, and through every process there is."""
    walk = f"""
import os
skipped = {{"/proc", "/sys", "/usr", *{[sys.prefix, sys.base_prefix]!r}}}
found = []
for folder, folders, files in os.walk("/"):
    folders[:] = [each for each in folders if os.path.join(folder, each) not in skipped]
    found += [os.path.join(folder, each) for each in files if each == {outside.name!r}]
for pid in os.listdir("/proc"):
    for way in ("root", "cwd"):
        found += [way for path in [f"/proc/{{pid}}/{{way}}{outside}"] if os.path.exists(path)]
found"""
    assert value(sandbox, walk) == "[]"


@pytest.mark.parametrize(
    "way", ["", "/proc/self/root", "/proc/self/cwd/../../../../..", "/proc/1/root", "/proc/9/root"]
)
def test_there_is_no_way_to_a_file_of_the_host(sandbox: Sandbox, outside: Path, way: str) -> None:
    assert_refused(sandbox, f"print(open({way + str(outside)!r}).read())")


def test_there_is_nothing_in_etc_but_what_programs_need(sandbox: Sandbox) -> None:
    allowed = """alternatives fonts group hostname hosts ld.so.cache ld.so.conf ld.so.conf.d localtime mime.types mtab
        nsswitch.conf passwd pki resolv.conf ssl timezone"""
    assert set(eval(value(sandbox, "import os; os.listdir('/etc')"))) <= set(allowed.split())
    assert value(sandbox, "[p for p in ('/etc/ssl/private', '/etc/ssl/certs/private') if os.path.exists(p)]") == "[]"


def test_the_users_of_the_sandbox_are_its_own(sandbox: Sandbox) -> None:
    names = {
        line.split(":")[0] for line in sandbox.run("print(open('/etc/passwd').read())").stdout.splitlines() if line
    }
    assert names <= {"root", "nobody", "sandbox"}


def test_credentials_in_the_environment_of_the_interpreter_are_not_seen(
    docker_engine: DockerEngine, tmp_path: Path
) -> None:
    """With a virtual environment of its own, in which pip and Jupyter keep passwords."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    names = ("pip.conf", ".condarc", "etc/jupyter/jupyter_server_config.py")
    for name in names:
        (environment / name).parent.mkdir(parents=True, exist_ok=True)
        (environment / name).write_text(f"password = {SECRET}\n")
    program = f"""
from chorus_nb.sandbox import Sandbox
with Sandbox(repo="none") as sandbox:
    print(sandbox.run("import sys; print([open(sys.prefix + '/' + name).read() for name in {names!r}])").stdout)
"""
    path = ":".join([str(Path(chorus_nb.__file__).parents[1]), *site_folders()])
    run = subprocess.run(
        [environment / "bin" / "python", "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == str([""] * len(names)), run.stderr


# The repository, read-only


WRITES = {
    "write": "write('file.txt')",
    "append": "os.open('file.txt', os.O_WRONLY | os.O_APPEND)",
    "truncate": "os.truncate('file.txt', 0)",
    "make": "os.open('new', os.O_WRONLY | os.O_CREAT)",
    "make a nameless one": "os.open('.', os.O_WRONLY | os.O_TMPFILE)",
    "make a folder": "os.mkdir('new')",
    "make a pipe": "os.mkfifo('new')",
    "make a link": "os.symlink('/etc/passwd', 'new')",
    "remove": "os.unlink('file.txt')",
    "remove a folder": "os.rmdir('folder')",
    "rename": "os.rename('file.txt', 'folder/file.txt')",
    "replace": "open('/tmp/x', 'w').close(); os.replace('/tmp/x', 'file.txt')",
    "hard link out": "os.link('file.txt', '/tmp/linked')",
    "hard link in": "open('/tmp/y', 'w').close(); os.link('/tmp/y', 'linked')",
    "hard link within": "os.link('file.txt', 'linked')",
    "mode": "os.chmod('file.txt', 0o4777)",
    "owner": "os.chown('file.txt', os.getuid(), os.getgid())",
    "times": "os.utime('file.txt', (0, 0))",
    "attributes": "os.setxattr('file.txt', 'user.x', b'1')",
    "space": "os.posix_fallocate(os.open('file.txt', os.O_RDWR), 0, 4096)",
    "by a read-only descriptor": "fd = os.open('file.txt', os.O_RDONLY); os.open(f'/proc/self/fd/{fd}', os.O_RDWR)",
    "by the root of a process": "write('/proc/self/root/workspace/file.txt')",
    "by the folder of a process": "write('/proc/self/cwd/file.txt')",
    "by shared memory": "mmap.mmap(os.open('file.txt', os.O_RDONLY), 4, prot=mmap.PROT_WRITE, flags=mmap.MAP_SHARED)",
    "by memory it was read to": "fd = os.open('file.txt', os.O_RDONLY)\n"
    "m = mmap.mmap(fd, 4, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)\n"
    "checked(_libc.mprotect(ctypes.c_void_p(int([l.split('-')[0] for l in open('/proc/self/maps')"
    " if 'file.txt' in l][0], 16)), 4096, 3))",
    "mount it again": "checked(_libc.mount(b'none', b'/workspace', None, 32, None))",
    "mount it elsewhere": "os.mkdir('/tmp/w'); checked(_libc.mount(b'/workspace', b'/tmp/w', None, 4096, None))",
    "unmount": "checked(_libc.umount2(b'/workspace', 2))",
    "in a namespace of its own": "checked(_libc.unshare(0x10000000 | 0x20000))",
    "by the new way to mount": "syscall(428, -100, b'/workspace', 1)",
    "another root": "os.chroot('/workspace')",
    "by a handle": "syscall(304, os.open('.', os.O_RDONLY), ctypes.create_string_buffer(128), os.O_RDWR)",
}


@pytest.mark.parametrize("attempt", WRITES.values(), ids=WRITES)
def test_the_repository_is_not_written_to(sandbox: Sandbox, repository: Path, attempt: str) -> None:
    before = state_of(repository)
    assert_refused(sandbox, attempt)
    assert state_of(repository) == before


@pytest.mark.parametrize("link", ["absolute", "relative", "way out/secret.txt", "shadow"])
def test_links_out_of_the_repository_lead_nowhere(sandbox: Sandbox, link: str) -> None:
    assert_refused(sandbox, f"print(open({link!r}).read())")
    with pytest.raises(SandboxFileError, match="No such file"):
        sandbox.files.read(link)


def test_an_absolute_link_is_one_of_the_sandbox(sandbox: Sandbox) -> None:
    assert sandbox.files.read("passwd") != Path("/etc/passwd").read_bytes()
    assert b"/home/sandbox" in sandbox.files.read("passwd")


def test_links_that_the_sandbox_makes_are_followed_by_the_sandbox_only(
    docker_engine: DockerEngine, tmp_path: Path, outside: Path
) -> None:
    with opened(docker_engine, repo="rw", repo_path=tmp_path) as sandbox:
        value(sandbox, f"import os; os.symlink({str(outside)!r}, 'leak'); os.symlink('/etc/hostname', 'target')")
        with pytest.raises(SandboxFileError):
            sandbox.files.read("leak")
        for path in ("leak", "target"):
            with pytest.raises(SandboxFileError):
                sandbox.files.write(path, b"overwritten")
    assert outside.read_text() == SECRET


def test_an_owner_can_not_be_given_away(docker_engine: DockerEngine, tmp_path: Path) -> None:
    """Nor can a program of the sandbox's become one that runs as somebody else on the host."""
    with opened(docker_engine, repo="rw", repo_path=tmp_path, user=f"{os.getuid()}:{os.getgid()}") as sandbox:
        assert_refused(sandbox, "open('x', 'w').close(); os.chown('x', 12345, 12345)")
        assert_refused(sandbox, "os.mknod('disk', 0o600 | stat.S_IFBLK, os.makedev(8, 0))")
        assert_refused(
            sandbox, "os.setxattr('x', 'security.capability', bytes.fromhex('0100000200000001' + '00' * 12))"
        )


# Files that the host fetches


UNREADABLE = {
    "a pipe": "os.mkfifo('/tmp/hostile')",
    "a device": "os.symlink('/dev/zero', '/tmp/hostile')",
    "a folder": "os.mkdir('/tmp/hostile')",
    "a socket": "socket.socket(socket.AF_UNIX).bind('/tmp/hostile')",
    "a link to itself": "os.symlink('hostile', '/tmp/hostile')",
    "the supervisor's memory": "os.symlink('/proc/1/mem', '/tmp/hostile')",
    "its own memory": "os.symlink('/proc/self/mem', '/tmp/hostile')",
    "a file without end": "os.symlink('/proc/self/pagemap', '/tmp/hostile')",
    "a tebibyte of nothing": "os.truncate(os.open('/tmp/hostile', os.O_RDWR | os.O_CREAT), 2**40)",
}


@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_file_of_bounded_size_is_not_read(sandbox: Sandbox, make: str) -> None:
    value(sandbox, f"import os, shutil, socket\nif os.path.isdir('/tmp/hostile'): os.rmdir('/tmp/hostile')\n"
                   f"if os.path.lexists('/tmp/hostile'): os.unlink('/tmp/hostile')\n{make}")  # fmt: skip
    with pytest.raises(SandboxFileError) as caught:
        sandbox.files.read("/tmp/hostile", max_bytes=2**23)
    assert caught.value.path == "/tmp/hostile"
    assert value(sandbox, "'usable'") == "'usable'"


def test_a_file_that_grows_while_it_is_read_ends(sandbox: Sandbox) -> None:
    grow = "import threading\nfile = open('/tmp/grows', 'wb', 0)\ndef grow():\n"
    grow += "    while file.tell() < 2**26: file.write(b'x' * 2**16)\n"
    value(sandbox, f"{grow}threading.Thread(target=grow, daemon=True).start()")
    with suppress(SandboxFileError):
        assert len(sandbox.files.read("/tmp/grows", max_bytes=2**25)) <= 2**25
    value(sandbox, "import os; os.unlink('/tmp/grows')")


def test_a_link_that_changes_while_it_is_read_gives_the_file_or_an_error(sandbox: Sandbox) -> None:
    race = """
import os, threading
open('/tmp/good', 'w').write('good')
def race():
    for n in range(10**9):
        os.symlink(('/tmp/good', '/dev/zero', '/tmp', '/proc/self/mem')[n % 4], '/tmp/next')
        os.rename('/tmp/next', '/tmp/race')
threading.Thread(target=race, daemon=True).start()
"""
    value(sandbox, race)
    for _ in range(100):
        try:
            assert sandbox.files.read("/tmp/race", max_bytes=2**20) == b"good"
        except SandboxFileError:
            pass


def test_a_full_tmp_keeps_no_cell_from_running(sandbox: Sandbox) -> None:
    full = sandbox.run("with open('/tmp/full', 'wb') as file:\n    while True: file.write(bytes(2**20))")
    assert full.error is not None
    sandbox.restart()
    value(sandbox, "import os; os.unlink('/tmp/full')")


def test_names_made_of_controls_are_data_and_errors_about_them_are_printable(sandbox: Sandbox) -> None:
    make = "import os\nos.makedirs('/tmp/names/' + 'd' * 255, exist_ok=True)\n"
    names = ["\x1b]0;title\x07", "a\nb", "\u202egnp.exe", "-rf", " ", "~", "%s", "$(id)"]
    value(sandbox, make + f"for name in {names!r}: open('/tmp/names/' + name, 'w').close()")
    value(sandbox, "open(b'/tmp/names/\\xff\\xfe', 'w').close()")
    listed = [entry.name for entry in sandbox.files.list("/tmp/names")]
    assert set(names) | {"d" * 255, "\udcff\udcfe"} == set(listed)
    with pytest.raises(SandboxFileError) as caught:
        sandbox.files.read("/tmp/names/\x1b]0;title\x07/x")
    assert str(caught.value).isprintable()


def test_an_archive_bomb_fills_the_sandbox_only(sandbox: Sandbox) -> None:
    """The host unpacks nothing, see tests/unit/test_layering.py."""
    bomb = "import io, zipfile\nbuffer = io.BytesIO()\nwith zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as z:\n"
    bomb += (
        "    for n in range(40): z.writestr(f'{n}', bytes(2**24))\nopen('/tmp/bomb.zip', 'wb').write(buffer.getvalue())"
    )
    value(sandbox, bomb)
    assert len(sandbox.files.read("/tmp/bomb.zip")) < 2**20
    result = sandbox.run("import zipfile; zipfile.ZipFile('/tmp/bomb.zip').extractall('/tmp/unpacked')")
    assert result.error is not None
    assert "No space left" in result.error.evalue
    value(sandbox, "import shutil; shutil.rmtree('/tmp/unpacked')")


def test_a_picture_that_is_large_only_when_unpacked_is_passed_on_packed(sandbox: Sandbox) -> None:
    png = """
import struct, zlib
def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
side = 30_000
png = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0))
packer = zlib.compressobj()
rows = b''.join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
display({'image/png': png + chunk(b'IDAT', rows) + chunk(b'IEND', b'')}, raw=True)
"""
    (output,) = sandbox.run(png, timeout=60).outputs
    assert len(output.data["image/png"]) < 2**20


# Sockets of the host


def test_a_socket_in_the_repository_is_reached_only_where_it_came_later(
    docker_engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the kernel's rule connecting writes to no folder: so it is masked, and of the rest docs/security.md warns."""
    folder = tmp_path / "repository"
    folder.mkdir(mode=0o755)
    monkeypatch.chdir(folder)  # The path of a socket has 107 bytes at most.
    with socket.socket(socket.AF_UNIX) as there, socket.socket(socket.AF_UNIX) as later:
        _listen(there, "host.sock")
        with opened(docker_engine, repo="ro", repo_path=folder) as sandbox:
            _listen(later, "later.sock")
            assert_refused(sandbox, "socket.socket(socket.AF_UNIX).connect('host.sock')")
            value(sandbox, "import socket; socket.socket(socket.AF_UNIX).connect('later.sock')")


def _listen(listener: socket.socket, name: str) -> None:
    listener.bind(name)
    Path(name).chmod(0o777)
    listener.listen()
