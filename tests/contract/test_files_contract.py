"""Files and folders of a sandbox: looked at, changed, and copied in and out, on every engine."""

from __future__ import annotations

import array
import errno
import hashlib
import os
import socket
import stat
import subprocess
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
from sandboxes import InterruptedCellError, opened, start_cell

from chorus_nb.copying import Transfer
from chorus_nb.engines.base import Engine
from chorus_nb.errors import ChorusError, SandboxFileError, TransferConflictError, TransferError
from chorus_nb.file_batches import KnownFile, NewFile
from chorus_nb.files import files_below
from chorus_nb.sandbox import Sandbox

LARGE = 9 * 2**20 + 17
LONG_AGO_NS = 10**18 + 1_000

NAMES = ["a\nb", "\x1b]0;title\x07", "-rf", "*", " ", "ünï", "日本" * 40, "n" * 255, os.fsdecode(b"\xff\xfe")]


@pytest.fixture
def inside(sandbox: Sandbox) -> str:
    """An empty folder in the sandbox."""
    folder = "/tmp/inside"
    sandbox.files.remove(folder, recursive=True, missing_ok=True)
    sandbox.files.mkdir(folder)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of the host with all that may be copied."""
    folder = tmp_path / "tree"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o750)
    (folder / "a.txt").write_text("a")
    (folder / "a.txt").chmod(0o755)
    (folder / "sub" / "large.bin").write_bytes(os.urandom(LARGE))
    (folder / "sub" / "deep" / "nothing").touch(mode=0o600)
    for name in NAMES:
        (folder / name).write_text(repr(name))
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    return folder


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return the mode, time and content of all that is in a folder."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *folder.rglob("*")]
    }


def reasons(done: Transfer) -> dict[str, str]:
    return {each.path.rpartition("/")[2]: each.reason for each in done.skipped}


# One file at a time


def test_a_file_is_written_with_its_mode_and_time(sandbox: Sandbox, inside: str) -> None:
    files, path = sandbox.files, f"{inside}/x"
    files.write(path, b"five!", mode=0o640, modified_ns=LONG_AGO_NS)
    found = files.stat(path)
    assert (found.kind, found.size_bytes, found.mode, found.modified_ns) == ("file", 5, 0o640, LONG_AGO_NS)
    assert (found.path, found.name) == (path, "x")
    files.write(path, b"six!!!")
    assert (files.stat(path).mode, files.stat(path).size_bytes) == (0o640, 6)
    files.chmod(path, 0o600)
    assert files.stat(path).mode == 0o600
    assert files.digest(path) == hashlib.sha256(b"six!!!").hexdigest()


def test_any_name_is_a_name(sandbox: Sandbox, inside: str) -> None:
    for name in NAMES:
        sandbox.files.write(f"{inside}/{name}", name.encode("utf-8", "surrogateescape"))
    assert sorted(entry.name for entry in sandbox.files.list(inside)) == sorted(NAMES)
    for name in NAMES:
        assert sandbox.files.read(f"{inside}/{name}") == name.encode("utf-8", "surrogateescape")
    with pytest.raises(SandboxFileError) as caught:
        sandbox.files.write(f"{inside}/{'n' * 256}", b"")
    assert caught.value.errno == errno.ENAMETOOLONG
    assert "255 bytes" in caught.value.next_step


def test_folders_are_made_walked_renamed_and_removed(sandbox: Sandbox, inside: str) -> None:
    files = sandbox.files
    files.mkdir(f"{inside}/a/b", parents=True)
    files.mkdir(f"{inside}/a/b", parents=True, exist_ok=True)
    files.write(f"{inside}/a/b/c", b"c")
    files.symlink(f"{inside}/a/loop", "..")
    found = [(entry.path, entry.kind, entry.target) for entry in files.walk(inside)]
    assert found == [
        ("a", "directory", ""), ("a/b", "directory", ""), ("a/b/c", "file", ""), ("a/loop", "link", ".."),
    ]  # fmt: skip
    assert [entry.path for entry in files.walk(inside, max_depth=2)] == ["a", "a/b", "a/loop"]
    files.rename(f"{inside}/a/b/c", f"{inside}/c")
    files.remove(f"{inside}/a/b")
    for refused in (
        lambda: files.mkdir(f"{inside}/a"),
        lambda: files.mkdir(f"{inside}/x/y"),
        lambda: files.mkdir(f"{inside}/c", exist_ok=True),
        lambda: files.remove(f"{inside}/a"),
        lambda: files.remove(f"{inside}/missing"),
        lambda: files.walk(inside, max_entries=2),
        lambda: files.walk(f"{inside}/c"),
    ):
        with pytest.raises(SandboxFileError):
            refused()
    files.remove(f"{inside}/a", recursive=True)
    assert [entry.path for entry in files.list(inside)] == ["c"]


def test_a_folder_of_many_and_one_that_is_deep(sandbox: Sandbox, inside: str) -> None:
    deep = "/".join(["d" * 100] * 100)  # Longer than a call of the kernel takes at once.
    sandbox.files.mkdir(f"{inside}/{deep}", parents=True)
    sandbox.files.write(f"{inside}/{deep}/bottom", b"deep")
    sandbox.run(
        f"import os\nos.mkdir('{inside}/many')\nfor n in range(4500): open(f'{inside}/many/{{n}}', 'x').close()"
    )
    found = {entry.path for entry in sandbox.files.walk(inside)}
    assert len(found) == 100 + 1 + 1 + 4500
    assert f"{deep}/bottom" in found
    assert sandbox.files.read(f"{inside}/{deep}/bottom") == b"deep"
    sandbox.files.remove(inside, recursive=True)
    assert not sandbox.files.exists(inside)


def test_a_stream_writes_and_reads_in_pieces(sandbox: Sandbox, inside: str) -> None:
    path = f"{inside}/stream"
    with sandbox.files.open(path, "wb") as file:
        for number in range(200_000):
            file.write(b"%049d\n" % number)
        assert not sandbox.files.exists(path)
    with sandbox.files.open(path) as file:
        assert file.seek(-50, os.SEEK_END) == 199_999 * 50
        assert int(file.read()) == 199_999
        file.seek(0)
        assert sum(int(line) for line in file) == sum(range(200_000))
    with suppress(ZeroDivisionError), sandbox.files.open(path, "wb") as file:
        file.write(b"half")
        _ = 1 / 0
    assert sandbox.files.stat(path).size_bytes == 200_000 * 50
    assert [entry.name for entry in sandbox.files.list(inside)] == ["stream"]
    for wrong in (lambda: sandbox.files.open(inside), lambda: sandbox.files.open(f"{inside}/no")):
        with pytest.raises(SandboxFileError):
            wrong()


def test_a_path_may_be_one_of_pathlib(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    files, folder = sandbox.files, PurePosixPath(inside)
    files.mkdir(folder / "sub")
    files.write(folder / "a", b"x", mode=0o600)
    files.chmod(folder / "a", 0o640)
    files.symlink(folder / "link", PurePosixPath("a"))
    files.rename(folder / "a", folder / "b")
    with files.open(folder / "a", "wb") as stream:
        stream.write(b"y")
    assert (files.read(folder / "a"), files.open(folder / "b").read(), files.read(os.fsencode(folder / "link"))) == (
        *(b"y", b"x"),
        b"y",
    )
    assert [entry.path for entry in files.list(folder)] == [entry.path for entry in files.walk(folder)]
    assert files.stat(folder / "b").mode == 0o640
    assert files.digest(folder / "b") == hashlib.sha256(b"x").hexdigest()
    assert files.get(folder / "b", tmp_path / "b").files == files.put(tmp_path / "b", folder / "sub").files == 1
    files.remove(folder / "b")
    assert not files.exists(folder / "b")


def test_paths_may_begin_at_another_folder(sandbox: Sandbox, inside: str) -> None:
    below = files_below(sandbox.files, inside)
    below.write("a", b"one")
    below.rename("a", "b")
    below.mkdir("folder")
    below.many.write([NewFile("folder/c", b"two", 0o600, LONG_AGO_NS), NewFile("d", b"three", 0o600, LONG_AGO_NS)])
    below.many.make_links([("link", "folder/c")])
    below.many.chmod([("d", 0o640)])
    below.many.remove(["b"])
    assert [each.path for each in below.walk()] == ["d", "folder", "folder/c", "link"]
    assert [each.path for each in sandbox.files.walk(inside)] == ["d", "folder", "folder/c", "link"]
    assert sandbox.files.read(f"{inside}/folder/c") == below.read("link") == b"two"
    assert below.read(f"{inside}/d") == b"three"
    assert below.stat("d").mode == 0o640
    assert below.many.digests([KnownFile("d", 5)]) == {"d": hashlib.sha256(b"three").digest()}
    with below.open("streamed", "wb") as file:
        file.write(b"four")
    assert sandbox.files.read(f"{inside}/streamed") == b"four"


def test_what_is_written_are_bytes_all_of_them(sandbox: Sandbox, inside: str) -> None:
    numbers = array.array("d", [0.5]) * 2**20
    sandbox.files.write(f"{inside}/a", numbers)
    assert sandbox.files.read(f"{inside}/a") == numbers.tobytes()
    with pytest.raises(TypeError, match=r"text\.encode\(\)"):
        sandbox.files.write(f"{inside}/text", "text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="TextIOWrapper"):
        sandbox.files.open(f"{inside}/text", "w")  # type: ignore[arg-type]
    assert not sandbox.files.exists(f"{inside}/text")


def test_a_place_that_is_read_only_says_where_to_write(docker_sandbox: Sandbox) -> None:
    with pytest.raises(SandboxFileError, match=r"Read-only file system.*/tmp") as caught:
        docker_sandbox.files.write("/usr/x", b"")
    assert caught.value.errno == errno.EROFS


@pytest.fixture(scope="module")
def docker_sandbox(docker_engine: Engine) -> object:
    with opened(docker_engine, tmp="32m") as sandbox:
        yield sandbox


# Many


def test_what_goes_in_comes_out_as_it_was(sandbox: Sandbox, inside: str, tree: Path, tmp_path: Path) -> None:
    done = sandbox.files.put(tree, inside)
    assert (done.files, done.folders, done.skipped) == (3 + len(NAMES), 4, [])
    back = sandbox.files.get(f"{inside}/tree", tmp_path / "back")
    assert state(tmp_path / "back") == state(tree)
    assert (back.files, back.size_bytes) == (done.files, done.size_bytes)
    again = sandbox.files.get(f"{inside}/tree/.", tmp_path / "back")
    assert (again.files, again.unchanged, str(again)) == (back.files, back.files, str(back))


@pytest.mark.parametrize(
    ("sources", "dst", "there"),
    [
        ("a.txt", "new", {"new"}),
        ("a.txt", "folder", {"folder/a.txt"}),
        ("a.txt", "folder/", {"folder/a.txt"}),
        ("a.txt", "made/too/", {"made/too/a.txt"}),
        ("a.txt", ".", {"a.txt"}),
        (["a.txt", "b.txt"], "folder", {"folder/a.txt", "folder/b.txt"}),
        ("?.txt", "made/", {"made/a.txt", "made/b.txt"}),
        ("d", "new", {"new/x", "new/sub/y"}),
        ("d", "folder", {"folder/d/x", "folder/d/sub/y"}),
        ("d/", "folder", {"folder/d/x", "folder/d/sub/y"}),
        ("d/.", "folder", {"folder/x", "folder/sub/y"}),
        ("d/.", "new", {"new/x", "new/sub/y"}),
        ("**/[xy]", "made/", {"made/x", "made/y"}),
        ("link", "new", {"new"}),
        ("[1].txt", "new", {"new"}),
    ],
)
def test_things_go_where_cp_puts_them(
    sandbox: Sandbox,
    inside: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sources: str | list[str],
    dst: str,
    there: set[str],
) -> None:
    here, back = tmp_path / "here", tmp_path / "back"
    for path in ("a.txt", "b.txt", "d/x", "d/sub/y", "d/.hidden.txt", "[1].txt"):
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(path)
    (here / "d" / ".hidden.txt").unlink()
    (here / "link").symlink_to("a.txt")
    monkeypatch.chdir(here)
    sandbox.files.mkdir(f"{inside}/folder")
    sandbox.files.put(sources, f"{inside}/{dst}")
    assert {entry.path for entry in sandbox.files.walk(inside) if entry.kind == "file"} == there

    (back / "folder").mkdir(parents=True)
    sandbox.files.remove(inside, recursive=True)
    sandbox.files.put(".", inside)
    sandbox.files.write(f"{inside}/link", b"named")
    paths = [sources] if isinstance(sources, str) else sources
    sandbox.files.get([f"{inside}/{path}" for path in paths], f"{back}/{dst}")
    assert {str(path.relative_to(back)) for path in back.rglob("*") if path.is_file()} == there


def test_what_can_not_be_meant_is_refused(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for path in ("a/x", "b/x", "file"):
        (tmp_path / path).write_text(path)
    put = sandbox.files.put
    wrong: list[tuple[Callable[[], object], str]] = [
        (lambda: put([tmp_path / "a", tmp_path / "b"], f"{inside}/new"), "is no folder"),
        (lambda: put([tmp_path / "a" / "x", tmp_path / "b" / "x"], inside), "replace the other"),
        (lambda: put([f"{tmp_path}/a/.", f"{tmp_path}/b/."], inside), "replace the other"),
        (lambda: put(tmp_path / "missing", inside), "No such file"),
        (lambda: put(str(tmp_path / "*.nothing"), inside), "matches"),
        (lambda: put("", inside), "empty"),
        (lambda: put([], inside), "no file"),
        (lambda: put(tmp_path / "a", f"{inside}/no/such/folder"), "No such file"),
        (lambda: sandbox.files.get(f"{inside}/*", tmp_path / "out"), "matches"),
        (lambda: sandbox.files.get(f"{inside}/no", tmp_path / "out"), "No such file"),
    ]
    for call, reason in wrong:
        with pytest.raises(ChorusError, match=reason):
            call()
    put(tmp_path / "file", f"{inside}/a")
    with pytest.raises(SandboxFileError):  # A folder in place of a file, and the other way round.
        put(tmp_path / "a", inside)
    sandbox.files.mkdir(f"{inside}/file")
    with pytest.raises(SandboxFileError):
        put(tmp_path / "file", inside)
    assert {entry.path for entry in sandbox.files.walk(inside)} == {"a", "file"}


def test_what_is_no_file_stays_out_and_is_told(
    sandbox: Sandbox, inside: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "up").symlink_to("../../secret")
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "sub" / "fine").symlink_to("../a.txt")
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tree)  # The path of a socket may have 107 bytes.
        listening.bind("socket")
    done = sandbox.files.put(tree, inside)
    out, other = "a link that leads out of the folder", "neither a file nor a folder"
    assert reasons(done) == {"up": out, "absolute": out, "fifo": other, "socket": other}
    assert done.links == 1
    assert sandbox.files.read(f"{inside}/tree/sub/fine") == b"a"
    with pytest.raises(TransferError, match="neither"):
        sandbox.files.put(tree / "fifo", inside)


def test_links_and_devices_do_not_come_out(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    sandbox.run(
        f"import os, socket\nos.chdir('{inside}')\nopen('good', 'w').write('good')\nos.symlink('good', 'link')\n"
        "os.symlink('/etc/shadow', 'out')\nos.mkfifo('fifo')\nsocket.socket(socket.AF_UNIX).bind('socket')\n"
        "os.symlink('.', 'loop')\nos.mkdir('closed', 0)\nos.chdir('/')"
    )
    done = sandbox.files.get(inside, tmp_path / "back")
    told = reasons(done)
    assert {told[name] for name in ("link", "out", "loop")} == {"a link"}
    assert {told[name] for name in ("fifo", "socket")} == {"neither a file nor a folder"}
    assert [path.name for path in (tmp_path / "back").rglob("*") if path.is_file()] == ["good"]
    assert sandbox.files.get(f"{inside}/link", tmp_path / "named").files == 1
    with pytest.raises(TransferError, match="neither"):
        sandbox.files.get(f"{inside}/fifo", tmp_path / "fifo")


def test_a_pattern_stands_for_what_can_be_copied(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    """As in a folder, one link that leads nowhere does not keep the rest from being copied."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "good").write_text("good")
    (here / "named").symlink_to("good")
    (here / "nowhere").symlink_to("missing")
    os.mkfifo(here / "fifo")
    done = sandbox.files.put(f"{here}/*", f"{inside}/in/")
    assert (done.files, reasons(done)) == (
        2,
        {"nowhere": "a link that leads nowhere", "fifo": "neither a file nor a folder"},
    )
    sandbox.files.symlink(f"{inside}/in/nowhere", "missing")
    sandbox.run(f"import os; os.mkfifo('{inside}/in/fifo')")
    done = sandbox.files.get(f"{inside}/in/*", f"{tmp_path}/out/")
    assert (done.files, reasons(done)) == (2, {"nowhere": "a link", "fifo": "neither a file nor a folder"})
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {"good": "good", "named": "good"}
    only = sandbox.files.put(f"{here}/no*", f"{inside}/in/")
    assert (only.files, len(only.skipped)) == (0, 1)


def test_a_folder_that_can_not_be_read_is_listed_beside_the_rest(docker_sandbox: Sandbox, tmp_path: Path) -> None:
    """On the fake engine the code may be root, whom nothing is closed to."""
    made = docker_sandbox.command(["sh", "-c", "mkdir -p /tmp/in/closed; touch /tmp/in/good; chmod 0 /tmp/in/closed"])
    assert made.exit_code == 0
    done = docker_sandbox.files.get("/tmp/in/*", f"{tmp_path}/out/")
    assert (done.files, reasons(done)) == (1, {"closed": "Permission denied"})
    assert reasons(docker_sandbox.files.get("/tmp/in", f"{tmp_path}/all")) == {"closed": "Permission denied"}
    with pytest.raises(SandboxFileError, match="Permission denied"):
        docker_sandbox.files.get("/tmp/in/closed", tmp_path)


def test_permissions_come_over_and_no_more(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("#!")
    (tmp_path / "s").chmod(0o4755)
    sandbox.files.put(tmp_path / "s", inside)
    assert sandbox.files.stat(f"{inside}/s").mode == 0o755
    sandbox.files.chmod(f"{inside}/s", 0o4777)
    old = os.umask(0o027)
    try:
        sandbox.files.get(f"{inside}/s", tmp_path / "back")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "back").stat().st_mode) == 0o750


def test_files_of_the_host_are_replaced_when_that_is_asked_for(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    for name in ("same", "other", "longer"):
        sandbox.files.write(f"{inside}/{name}", b"sandbox")
    here = tmp_path / "inside"
    here.mkdir()
    (here / "same").write_text("sandbox")
    (here / "other").write_text("notebk!")
    (here / "longer").write_text("the notebook's")
    before = state(tmp_path)
    with pytest.raises(TransferConflictError, match="Nothing was copied") as caught:
        sandbox.files.get(inside, tmp_path)
    assert caught.value.paths == (str(here / "longer"), str(here / "other"))
    assert state(tmp_path) == before
    sandbox.files.get(inside, tmp_path, overwrite=True)
    assert {path.read_text() for path in here.iterdir()} == {"sandbox"}
    (here / "same").unlink()
    (here / "same").mkdir()
    with pytest.raises(TransferConflictError):
        sandbox.files.get(inside, tmp_path, overwrite=True)


def test_no_link_of_the_host_is_followed(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    sandbox.files.mkdir(f"{inside}/sub")
    sandbox.files.write(f"{inside}/sub/x", b"new")
    (tmp_path / "outside").mkdir()
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "sub").symlink_to(tmp_path / "outside")
    for overwrite in (False, True):
        with pytest.raises(TransferConflictError):
            sandbox.files.get(f"{inside}/.", tmp_path / "back", overwrite=overwrite)
    assert list((tmp_path / "outside").iterdir()) == []
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "x").symlink_to("mine")
    with pytest.raises(TransferConflictError):
        sandbox.files.get(f"{inside}/sub/x", tmp_path / "x")
    sandbox.files.get(f"{inside}/sub/x", tmp_path / "x", overwrite=True)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "x").is_symlink()


def test_holes_stay_holes(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**28)
        file.seek(2**27)
        file.write(b"middle")
    sandbox.files.put(tmp_path / "sparse", inside)
    assert int(str(sandbox.run(f"import os; os.stat('{inside}/sparse').st_blocks").result)) * 512 < 2**24
    sandbox.files.get(f"{inside}/sparse", tmp_path / "back")
    found = (tmp_path / "back").stat()
    assert (found.st_size, found.st_blocks * 512 < 2**24) == (2**28, True)
    with (tmp_path / "back").open("rb") as file:
        file.seek(2**27)
        assert file.read(7) == b"middle\0"


def test_files_of_proc_come_out(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.files.get("/proc/cpuinfo", tmp_path / "cpuinfo")
    assert b"processor" in (tmp_path / "cpuinfo").read_bytes()
    assert sandbox.files.put("/proc/cpuinfo", "/tmp/cpuinfo").size_bytes > 0


def test_it_works_while_a_cell_runs(sandbox: Sandbox, inside: str, tree: Path, tmp_path: Path) -> None:
    running = start_cell(sandbox, "while True: print('flood')")
    sandbox.files.put(tree, inside)
    sandbox.files.get(f"{inside}/tree", tmp_path / "back")
    assert sandbox._session.state == "busy"
    sandbox.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join()
    assert state(tmp_path / "back") == state(tree)


def test_a_large_file_needs_little_memory(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    block = os.urandom(2**20)
    with (tmp_path / "large").open("wb") as file:
        for _ in range(48):
            file.write(block)
    tracemalloc.start()
    try:
        sandbox.files.put(tmp_path / "large", inside)
        sandbox.files.get(f"{inside}/large", tmp_path / "back")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * 2**20
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    sandbox.files.remove(inside, recursive=True)


def test_what_was_interrupted_goes_on_or_says_that_it_starts_again(
    sandbox: Sandbox, inside: str, tmp_path: Path
) -> None:
    data = os.urandom(LARGE)
    sandbox.files.write(f"{inside}/x", data)
    sandbox.files.get(f"{inside}/x", tmp_path / "first")
    part = interrupted(sandbox, inside, tmp_path)
    assert part.read_bytes() == data[: part.stat().st_size]
    done = sandbox.files.get(f"{inside}/x", tmp_path / "x")
    assert [note for note in done.notes if "goes on where it was interrupted" in note]
    assert (tmp_path / "x").read_bytes() == data
    (tmp_path / "x").unlink()
    part = interrupted(sandbox, inside, tmp_path)
    part.write_bytes(b"another file's".ljust(5_000_000))
    done = sandbox.files.get(f"{inside}/x", tmp_path / "x")
    assert [note for note in done.notes if "starts again" in note]
    assert (tmp_path / "x").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "x"]


def interrupted(sandbox: Sandbox, inside: str, folder: Path) -> Path:
    """Have a copy end in its middle, as by Ctrl-C; return what is kept of it."""
    original, count = os.pwrite, 0

    def interrupt(*arguments: object) -> int:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:
            sandbox.files.get(f"{inside}/x", folder / "x")
    assert "goes on from there" in caught.value.__notes__[0]
    assert not (folder / "x").exists()
    (part,) = folder.glob(".chorus-nb-*")
    return part


def test_a_place_that_is_full_is_told_on_either_side(docker_sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(range(256)) * 2**18)  # 64 MiB
    before = docker_sandbox.files.list("/tmp")
    with pytest.raises(SandboxFileError, match="No space left") as caught:
        docker_sandbox.files.put(tmp_path / "large", "/tmp/")
    assert caught.value.errno == errno.ENOSPC
    assert docker_sandbox.files.list("/tmp") == before
    small = tmp_path / "small"
    small.mkdir()
    docker_sandbox.files.write("/tmp/x", os.urandom(8 * 2**20))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        with pytest.raises(TransferError, match="No space left on device"):
            docker_sandbox.files.get("/tmp/x", small)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_more_than_may_come_is_refused_before_any_of_it(sandbox: Sandbox, inside: str, tmp_path: Path) -> None:
    sandbox.files.write(f"{inside}/x", bytes(1000))
    with pytest.raises(TransferError, match="more than 999 B"):
        sandbox.files.get(f"{inside}/x", tmp_path / "x", max_bytes=999)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.docker
def test_podman_does_the_same(podman_engine: Engine, tree: Path, tmp_path: Path) -> None:
    with opened(podman_engine) as sandbox:
        sandbox.files.put(tree, "/tmp/")
        sandbox.files.get("/tmp/tree", tmp_path / "back")
    assert state(tmp_path / "back") == state(tree)


def test_a_link_that_the_sandbox_made_in_the_repository_leads_nowhere(
    sandbox: Sandbox, inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repository is mounted with ``rw``: the code in the sandbox may put links there, and the user names them."""
    repository = sandbox._session.repository
    assert repository is not None
    (tmp_path / "secret").write_text("the host's")
    sandbox.files.write(f"{inside}/x", b"x")
    sandbox.run(
        f"import os\nos.symlink({str(tmp_path)!r}, 'way')\nos.symlink({str(tmp_path / 'secret')!r}, 'file')\n"
        "os.makedirs('real/sub')"
    )
    for path in ("way/secret", "file", "way/.", "way"):
        with pytest.raises(TransferError, match="leads out of a folder that the sandbox may write to"):
            sandbox.files.put(repository / path if path != "way/." else f"{repository}/way/.", inside)
    for path in ("way", "way/", "way/new/", "way/../way/new"):
        with pytest.raises(TransferError, match="leads out"):
            sandbox.files.get(f"{inside}/x", f"{repository}/{path}")
    monkeypatch.chdir(repository)
    with pytest.raises(TransferError, match="leads out"):
        sandbox.files.put("way/*", inside)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    sandbox.files.get(f"{inside}/x", "real/sub/")
    assert (repository / "real" / "sub" / "x").read_text() == "x"
    sandbox.files.put("real", inside)
    assert sandbox.files.read(f"{inside}/real/sub/x") == b"x"
    done = sandbox.files.put(".", f"{inside}/all/")
    assert {"way", "file"} <= set(reasons(done))
    sandbox.run("import os, shutil\nos.unlink('way'); os.unlink('file'); shutil.rmtree('real')")
