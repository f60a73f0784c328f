"""The mirror: the notebook's own interpreter and packages, mounted read-only into an image that is otherwise empty.

What imports in the notebook imports in the sandbox, with no registry, download or build. Mounted are the system
libraries, the interpreter's prefixes, and its site-packages, each at its own path. Left out is everything else: home
folders, secrets of ``/etc``, sockets, and folders that ``.pth`` files of editable installs point to (unless they lie
inside one of the above). Files in the prefixes that hold credentials by custom are empty inside.
"""

# Links matter here, and pathlib can't make a path absolute without following them.
# ruff: noqa: PTH100, PTH110, PTH112, PTH114, PTH115, PTH116, PTH118, PTH120

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import site
import stat
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..errors import ImageError
from .base import HOME, WORKSPACE, Mount

REPOSITORY = "chorus-nb/mirror"
"""The name of the empty image; its tag is a digest of its content."""

IMAGE_LABEL = "chorus-nb.image"
"""The label of images that this package made, and that can be removed and made again."""

NOBODY = 65534

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/fonts", "/etc/mime.types"),
    *("/etc/localtime", "/etc/timezone", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/ca-trust/extracted"),
)
"""What programs need of the system, where it exists: no passwords, keys or machine settings."""

_SECRETS = (
    *("pip.conf", "uv.toml", "condarc", ".condarc", ".env", ".netrc", ".pypirc", ".git-credentials"),
    *(f"etc/jupyter/jupyter_{kind}_config.{form}" for kind in ("server", "notebook") for form in ("json", "py")),
    "etc/jupyter/jupyterhub_config.py",
)
"""Files in an interpreter's prefix that may hold passwords and tokens: of package indexes, and of Jupyter's server."""

_NOTHING = "/dev/null"
"""What is mounted over them, as engines themselves do with files of ``/proc``."""

_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_SITE_NAMES = ("site-packages", "dist-packages")
_SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Mirror:
    """What it takes to run the notebook's interpreter elsewhere on this machine.

    Attributes
    ----------
    interpreter : str
        The interpreter's path, the same inside; a virtual environment is found by it.
    mounts : tuple of Mount
        What is mounted, read-only.
    links : mapping of str to str
        Symbolic links of the system (``/lib`` to ``usr/lib``) that the image holds itself.
    environment : mapping of str to str
        ``PATH``, ``LANG``, and where the user's own packages are.
    world_readable : bool
        Whether any user can read the interpreter and its packages.
    """

    interpreter: str
    mounts: tuple[Mount, ...]
    links: Mapping[str, str]
    environment: Mapping[str, str]
    world_readable: bool


def find_mirror() -> Mirror:
    """Describe the running interpreter.

    Raises
    ------
    ImageError
        If its prefix is ``/`` or a home folder: mounting that would lay open what the sandbox must not see.
    """
    links = {path: os.readlink(path) for path in _SYSTEM if os.path.islink(path)}
    system = [Mount(path, path) for path in _SYSTEM if os.path.exists(path) and path not in links]
    own = [mount for path in _own_folders() for mount in _at_both_names(path)]
    mounts = _without_duplicates([*system, *own])
    mounts += [mount for mount in _executable_files() if not _is_under(mount.target, (m.target for m in mounts))]
    mounts += _inner_mounts(mounts)
    mounts += _masks(mounts)
    return Mirror(_interpreter(), tuple(mounts), links, _environment(), _world_readable(own))


def _interpreter() -> str:
    folder, name = os.path.split(sys.executable)
    return os.path.join(_plain(folder), name)


def _plain(path: str) -> str:
    """Return the path without ``..``, as from ``../.venv/bin/python``: what such a name goes up from is not mounted."""
    plain = os.path.abspath(path)
    real = os.path.realpath(path)
    return plain if os.path.realpath(plain) == real else real


def _own_folders() -> list[str]:
    """Return the interpreter's prefixes and its folders of packages, each checked."""
    prefixes = [sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix]
    folders = dict.fromkeys(_plain(path) for path in (*prefixes, *site_folders()) if os.path.isdir(path))
    for folder in folders:
        _refuse_open_folder(folder)
        _refuse_open_folder(os.path.realpath(folder))
    return list(folders)


def site_folders() -> list[str]:
    """Return the folders of installed packages that this interpreter uses, the user's own among them."""
    known = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return list(dict.fromkeys(path for path in (*known, *sys.path) if Path(path).name in _SITE_NAMES))


def _refuse_open_folder(folder: str) -> None:
    if _is_under(folder, ("/usr", "/opt")):
        return
    homes = {os.path.realpath(Path.home()), os.path.abspath(Path.home())}
    if folder in ("/root", "/etc", "/run", "/var") or any(_is_under(home, (folder,)) for home in ("/home", *homes)):
        raise ImageError(
            f"The notebook's Python is installed in {folder} itself; mounting it would show the sandbox all of it.",
            next_step="Use a Python in a folder of its own (`python3 -m venv`), or an image: `--image python:3-slim`.",
        )


def _at_both_names(path: str) -> list[Mount]:
    """Mount a folder where it is and, if links lead to it, where it is called: either may be compiled in."""
    real = os.path.realpath(path)
    return [Mount(real, target) for target in dict.fromkeys((real, path))]


def _without_duplicates(mounts: list[Mount]) -> list[Mount]:
    """Leave out each mount that shows nothing but what another one shows there already."""
    kept: list[Mount] = []
    for mount in sorted(dict.fromkeys(mounts), key=lambda mount: (mount.target.count("/"), mount.target)):
        if not any(_shows(outer, mount) for outer in kept):
            kept.append(mount)
    return kept


def _shows(outer: Mount, inner: Mount) -> bool:
    if not _is_under(inner.target, (outer.target,)):
        return False
    return os.path.normpath(os.path.join(outer.source, os.path.relpath(inner.target, outer.target))) == inner.source


def _executable_files() -> Iterator[Mount]:
    """Yield each name on the way from the interpreter along its links to the program, as a file to mount."""
    program, name = os.path.realpath(sys.executable), _interpreter()
    yield Mount(program, program)
    while os.path.islink(name):
        yield Mount(program, name)
        name = os.path.normpath(os.path.join(os.path.dirname(name), os.readlink(name)))
    yield Mount(program, name)


def _inner_mounts(mounts: list[Mount]) -> list[Mount]:
    """Return the file systems mounted below what is mounted: read-only does not reach into them, so they are added."""
    inner = []
    for point in _mount_points():
        for mount in mounts:
            if point != mount.source and _is_under(point, (mount.source,)):
                inner.append(Mount(point, os.path.join(mount.target, os.path.relpath(point, mount.source))))
    return list(dict.fromkeys(inner))


def _masks(mounts: list[Mount]) -> list[Mount]:
    """Return what hides the files of :data:`_SECRETS`, wherever they are seen."""
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, "/usr/local")
    files = {os.path.realpath(os.path.join(prefix, name)) for prefix in prefixes for name in _SECRETS}
    return [
        Mount(_NOTHING, os.path.normpath(os.path.join(mount.target, os.path.relpath(file, mount.source))))
        for file in sorted(filter(os.path.isfile, files))
        for mount in mounts
        if _is_under(file, (mount.source,))
    ]


def _mount_points() -> list[str]:
    """Return the mount points that this process sees: field 5 of ``mountinfo`` (proc(5)), where spaces are octal."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), line.split()[4]) for line in lines]


def _environment() -> dict[str, str]:
    programs = (os.path.dirname(_interpreter()), os.path.join(sys.base_prefix, "bin"), *_SYSTEM_PATH)
    environment = {"PATH": ":".join(dict.fromkeys(programs)), "LANG": "C.UTF-8"}
    if site.ENABLE_USER_SITE and site.getusersitepackages() in sys.path:
        environment["PYTHONUSERBASE"] = site.getuserbase()
    return environment


def _world_readable(own: list[Mount]) -> bool:
    """Whether others may read the folders, from each mounted one down to the program and the packages, by sample."""
    roots = [mount.source for mount in own]
    places = [os.path.dirname(sys.executable), sys.executable, sysconfig.get_path("stdlib"), *site_folders()]
    inside = [real for place in places for real in _up_to(os.path.realpath(place), roots)]
    samples = [entry.path for folder in site_folders() if os.path.isdir(folder) for entry in _sample(folder)]
    return all(_others_may_read(path) for path in (*roots, *inside, *samples))


def _up_to(path: str, roots: list[str]) -> Iterator[str]:
    # Folders above a mounted one are not passed on the way to it in the container, whatever their modes.
    while _is_under(path, roots):
        yield path
        path = os.path.dirname(path)


def _sample(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from islice(entries, _SAMPLE)
    except PermissionError:
        return


def _others_may_read(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return True  # A dangling link, or a prefix without that folder.
    except PermissionError:
        return False
    needed = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
    return mode & needed == needed


def _is_under(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


@dataclass(frozen=True, slots=True)
class MirrorImage:
    """The empty image: its name, and the archive that ``docker load`` takes."""

    reference: str
    archive: bytes


def build_image(links: Mapping[str, str], architecture: str, uid: int, gid: int) -> MirrorImage:
    """Make the image that the mirror is mounted into. The same content always has the same image id.

    Parameters
    ----------
    links : mapping of str to str
        Symbolic links to put in, by absolute path.
    architecture : str
        The engine's, in Go's names (``amd64``).
    uid, gid : int
        The notebook's user, who gets the name ``sandbox``.
    """
    layer = _layer(links, uid, gid)
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",  # Fixed: two processes that make the image at once make the same one.
        "config": {"Labels": {IMAGE_LABEL: "mirror"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "chorus-nb"}],
    }
    encoded = json.dumps(config, sort_keys=True).encode()
    name = f"{hashlib.sha256(encoded).hexdigest()}.json"
    reference = f"{REPOSITORY}:{name[:12]}"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]).encode()
    return MirrorImage(reference, _tar([("layer.tar", layer), (name, encoded), ("manifest.json", manifest)]))


def _layer(links: Mapping[str, str], uid: int, gid: int) -> bytes:
    """Pack the root file system: users, empty folders to mount onto, the system's links."""
    shell, ids = "/bin/sh", {"root": (0, 0), "nobody": (NOBODY, NOBODY)}
    if uid not in (0, NOBODY):
        ids["sandbox"] = (uid, gid)
    groups = {"root": 0, "nogroup": NOBODY} | ({} if gid in (0, NOBODY) else {"sandbox": gid})
    # Everybody lives in the sandbox's home: there is no other folder to write to.
    passwd = "".join(f"{name}:x:{user}:{group}:{name}:{HOME}:{shell}\n" for name, (user, group) in ids.items())
    group = "".join(f"{name}:x:{number}:\n" for name, number in groups.items())
    lookup = "passwd: files\ngroup: files\nhosts: files dns\n"
    folders = ("etc", "home", HOME.strip("/"), "tmp", "var", "var/tmp", WORKSPACE.strip("/"))
    files = [("etc/passwd", passwd), ("etc/group", group), ("etc/nsswitch.conf", lookup)]
    return _tar([(name, text.encode()) for name, text in files], folders, links)


def _tar(
    files: Iterable[tuple[str, bytes]], folders: Iterable[str] = (), links: Mapping[str, str] | None = None
) -> bytes:
    """Pack an archive with nothing of the clock or the user in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for folder in folders:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder.endswith("tmp") else 0o755
            archive.addfile(entry)
        for path, target in sorted((links or {}).items()):
            entry = tarfile.TarInfo(path.strip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
