"""What a sandbox sees of a repository's git: the mounts that make it work there, hide its secrets and protect it.

The repository is at ``/workspace``. A git directory outside of it, of a linked worktree or a submodule, is mounted at
:data:`OUTSIDE`, never at a path that the repository names. Where a ``.git`` file then names another place, or a
configuration another worktree, a generated file lies over it, and likewise over a configuration with secrets in it.

With ``repo=rw`` the host's git later runs what settings and hooks name, so they are mounted read-only, and each folder
between the git directory and them is mounted onto itself: a mount point can't be renamed (rename(2), ``EBUSY``), nor
can then another one be put into its place. What does not exist can't be protected so: see ``docs/security.md``.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..engines.base import GIT_DIRECTORY, WORKSPACE, Mask, Mount, Volume
from ..errors import ConfigurationError
from .config_file import GitConfigError, Setting, format_config, parse_config, without_secrets
from .directory import GitDirectory, NoGitDirectoryError, git_directory, is_git_directory, read_text

OUTSIDE = GIT_DIRECTORY

_MAX_MODULES = 20_000
"""How many git directories of submodules there may be in one; more are an error, too."""
_MAX_DIRECTORIES = 40
"""How many submodules, or worktrees, are protected each by itself; the folder of more takes no writes at all."""

_MAX_REPOSITORIES = 100
"""How many repositories in the repository there may be; more are not looked at, and that is an error in any mode."""
_MAX_DEPTH = 20

_NOTHING = "/dev/null"
_CONFIGS = ("config", "config.worktree")
_FIXED = (*_CONFIGS, "hooks", "info", "commondir", "gitdir")
"""What in a git directory has the host's git run programs, or look for them elsewhere."""


@dataclass(frozen=True, slots=True)
class GitView:
    """What of it there is.

    Attributes
    ----------
    mounts : tuple of Mount
        Of the host's files and folders.
    generated : tuple of (str, str)
        Path inside and text of files to be mounted there, read-only.
    worktrees : tuple of str
        The worktrees, and bare repositories, by their paths inside.
    notes : tuple of str
        What does not work, and why, for people.
    fixed : tuple of str
        Paths on the host of what is to stay as it is in ``rw``, also of files that are not there
        (:class:`chorus_nb.git.guard.GitGuard`).
    """

    mounts: tuple[Mount, ...] = ()
    generated: tuple[tuple[str, str], ...] = ()
    worktrees: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    def beside(self, others: Iterable[Mount | Volume | Mask]) -> GitView:
        """Return what of it is seen where these are mounted or masked, too: nothing below them, or in their place."""
        places = [each.path if isinstance(each, Mask) else each.target for each in others]
        taken = tuple(place for place in places if place != WORKSPACE)

        def is_seen(path: str) -> bool:
            return not any(path == place or path.startswith(f"{place}/") for place in taken)

        return replace(
            self,
            mounts=tuple(mount for mount in self.mounts if is_seen(mount.target)),
            generated=tuple(file for file in self.generated if is_seen(file[0])),
            worktrees=tuple(filter(is_seen, self.worktrees)),
        )

    @property
    def outside(self) -> Path | None:
        """The git directory of the host that is at :data:`OUTSIDE`."""
        return next((Path(mount.source) for mount in self.mounts if mount.target == OUTSIDE), None)

    def hides(self, path: str, place: str = WORKSPACE) -> bool:
        """Whether nothing is to be seen of a file, by its path in the folder that is at ``place``."""
        return any(mount.source == _NOTHING and mount.target == f"{place}/{path}" for mount in self.mounts)

    def texts(self, place: str = WORKSPACE) -> dict[str, str]:
        """Return what files are to say in place of what they say on the host, by their paths in such a folder."""
        start = f"{place}/"
        return {path.removeprefix(start): text for path, text in self.generated if path.startswith(start)}


def with_git(root: Path) -> tuple[Path, ...]:
    """Return a repository's folder, and its git directory where that lies outside of it and is mounted as well."""
    outside = git_view(root, "ro", ()).outside
    return (root, outside) if outside else (root,)


def git_view(root: Path, mode: str, nested: Iterable[str], protect: bool = True) -> GitView:
    """Find out what the sandbox has to see of the git of a repository, nested ones included.

    Parameters
    ----------
    root : Path
        The folder that is mounted, with links resolved.
    mode : str
        ``ro``, ``rw`` or ``overlay``.
    nested : iterable of str
        Folders in it that may be repositories too, relative to it: what :func:`chorus_nb.selection.select` has met.
    protect : bool
        Whether settings and hooks are to be read-only in ``rw``.

    Raises
    ------
    ConfigurationError
        There are too many.
    """
    view = _View(root, mode, protect and mode == "rw")
    view.add_repositories(nested)
    return view.result()


class _View:
    def __init__(self, root: Path, mode: str, protect: bool) -> None:
        self._root = root
        self._outside: Path | None = None
        self._mode = mode
        self._protect = protect
        self._mounts: dict[str, Mount] = {}
        self._generated: dict[str, str] = {}
        self._worktrees: list[str] = []
        self._notes: list[str] = []
        self._done: set[Path] = set()
        self._fixed: dict[str, None] = {}

    def result(self) -> GitView:
        covered = self._generated
        mounts = [mount for mount in self._mounts.values() if mount.target not in covered]
        return GitView(
            tuple(mounts), tuple(covered.items()), tuple(self._worktrees), tuple(self._notes), tuple(self._fixed)
        )

    def add_repositories(self, nested: Iterable[str]) -> None:
        if self._protect:
            # The host's `git status` goes into each submodule that has one.
            for place in ("", *_submodules(self._root)):
                self._fixed[str(self._root / place / ".git")] = None
        if self._add_repository(self._root):
            self._notes.append("a bare repository: it has no worktree, so `git status` fails")
        for number, path in enumerate(nested):
            if number == _MAX_REPOSITORIES:
                raise _too_many(self._root, _MAX_REPOSITORIES)
            self._add_repository(self._root / path)
        for folder in list(self._done):
            self._add_inner(folder, self._protect)

    def _add_repository(self, folder: Path) -> bool:
        """Add one; return whether it is bare."""
        is_bare = not os.path.lexists(folder / ".git") and is_git_directory(folder)
        try:
            if is_bare:
                self._add_bare(folder)
            else:
                self._add_worktree(folder)
        except NoGitDirectoryError as error:
            self._notes.append(f"{self._name(folder if is_bare else folder / '.git')} {error}")
        return is_bare

    def _add_bare(self, folder: Path) -> None:
        _refuse_no_text(folder)
        self._worktrees.append(str(self._inside(folder)))
        self._add_directory(folder, None, self._protect)

    # One worktree

    def _add_worktree(self, worktree: Path) -> None:
        found = git_directory(worktree, self._root)
        if found is None:
            return
        _refuse_no_text(found.worktree, found.path)
        self._find_place(found)
        self._worktrees.append(str(self._inside(worktree)))
        self._add_file(found)
        for folder in dict.fromkeys((found.common, found.path)):
            self._add_directory(folder, found if folder == found.path else None, self._protect)

    def _find_place(self, found: GitDirectory) -> None:
        if self._inside(found.common) is not None:
            return
        if found.worktree != self._root:
            raise NoGitDirectoryError("names a git directory outside of what is mounted")
        self._outside = found.common
        self._mounts[OUTSIDE] = Mount(str(found.common), OUTSIDE, read_only=self._mode != "rw")
        if read_text(found.common / "objects/info/alternates"):
            self._notes.append("objects that this repository shares with another one are not there")

    def _add_file(self, found: GitDirectory) -> None:
        """Have the ``.git`` file name the place inside; one that does already only stays as it is."""
        file = found.worktree / ".git"
        if not file.is_file():
            return
        target, place = f"{self._inside(found.worktree)}/.git", str(self._inside(found.path))
        named = (read_text(file) or "").removeprefix("gitdir: ").rstrip("\r\n")
        if posixpath.normpath(posixpath.join(posixpath.dirname(target), named)) != place:
            self._generated[target] = f"gitdir: {place}\n"
        elif self._protect:
            self._fix(file, target)

    # One git directory

    def _add_directory(self, folder: Path, of: GitDirectory | None, protect: bool) -> None:
        if folder in self._done:
            return
        self._done.add(folder)
        place = str(self._inside(folder))
        for name in _CONFIGS:
            self._add_config(folder / name, f"{place}/{name}", of)
        for name in _hidden(folder):
            self._mounts[f"{place}/{name}"] = Mount(_NOTHING, f"{place}/{name}")
        if protect:
            self._fix_directory(folder, place)

    def _add_inner(self, folder: Path, protect: bool) -> None:
        """Add the git directories of its submodules, and those of its linked worktrees."""
        for kind, found in (("modules", _modules(folder)), ("worktrees", _folders(folder / "worktrees"))):
            few = len(found) <= _MAX_DIRECTORIES
            if protect and not few:
                self._pin(folder, str(self._inside(folder)))
                self._fix(folder / kind, f"{self._inside(folder)}/{kind}")
            for each in found:
                self._add_directory(each, None, protect and few)
                self._add_inner(each, protect and few)

    def _add_config(self, file: Path, target: str, of: GitDirectory | None) -> None:
        text = read_text(file)
        if text is None:
            return
        try:
            settings = parse_config(text)
        except GitConfigError as error:
            self._notes.append(f"{self._name(file)} can't be read, so it is empty: it has {error}")
            self._generated[target] = ""
            return
        shown = [self._moved(each, of) for each in without_secrets(settings)]
        if shown != settings:
            self._generated[target] = format_config(shown)

    def _moved(self, setting: Setting, of: GitDirectory | None) -> Setting:
        """Have ``core.worktree`` name the place inside, for the worktree that is there."""
        if of is None or setting.key != "core.worktree" or not setting.value:
            return setting
        place, worktree = str(self._inside(of.path)), str(self._inside(of.worktree))
        leads_to = posixpath.normpath(posixpath.join(place, setting.value))
        return setting if leads_to == worktree else replace(setting, value=worktree)

    # Protection

    def _fix_directory(self, folder: Path, place: str) -> None:
        self._pin(folder, place)
        for name in ("hooks", "info") if (folder / "objects").is_dir() else ():
            _make_folder(folder / name)
        for name in _FIXED:
            self._fix(folder / name, f"{place}/{name}")

    def _fix(self, source: Path, target: str) -> None:
        self._fixed[str(source)] = None
        if source.is_symlink():
            self._notes.append(f"{self._name(source)} is a link, and so not protected")
        elif source.exists():
            self._mounts.setdefault(target, Mount(str(source), target))

    def _pin(self, folder: Path, place: str) -> None:
        """Mount a git directory, and the folders above it up to the outermost ``.git``, onto themselves."""
        tops, is_within = (WORKSPACE, OUTSIDE), True
        while place not in tops and is_within:
            self._mounts.setdefault(place, Mount(str(folder), place, read_only=False))
            folder, place = folder.parent, posixpath.dirname(place)
            is_within = ".git" in Path(place).parts or place.startswith(f"{OUTSIDE}/")

    # Names

    def _inside(self, path: Path) -> Path | None:
        """Return where a path of the host is in the sandbox, or None where it is not."""
        for top, place in ((self._root, WORKSPACE), (self._outside, OUTSIDE)):
            if top is not None and path.is_relative_to(top):
                return Path(place) / path.relative_to(top)
        return None

    def _name(self, path: Path) -> str:
        return repr(os.fspath(path.relative_to(self._root)) if path.is_relative_to(self._root) else os.fspath(path))


def _too_many(root: Path, limit: int) -> ConfigurationError:
    return ConfigurationError(
        f"{str(root)!r} holds more than {limit} git repositories: too many to hide the secrets of each.",
        next_step="Leave some out with `--exclude 'FOLDER/'`, give one of them with repo_path, or use repo='none'.",
    )


def _modules(folder: Path) -> list[Path]:
    """Return the git directories of submodules below ``modules``: a submodule's name may have slashes."""
    found: list[Path] = []
    waiting = _folders(folder / "modules")
    while waiting:
        path = waiting.pop()
        if len(found) == _MAX_MODULES:
            raise _too_many(folder, _MAX_MODULES)
        if is_git_directory(path):
            found.append(path)
        elif len(path.parts) - len(folder.parts) < _MAX_DEPTH:
            waiting += _folders(path)
    return found


def _submodules(root: Path) -> list[str]:
    """Return where a repository says that it has submodules, below its folder (gitmodules(5)); checked out or not."""
    try:
        settings = parse_config(read_text(root / ".gitmodules") or "")
    except GitConfigError:
        return []
    paths = [each.value for each in settings if each.section == "submodule" and each.name == "path" and each.value]
    return [path for path in paths[:_MAX_REPOSITORIES] if not path.startswith("/") and ".." not in path.split("/")]


def _hidden(folder: Path) -> list[str]:
    """Return what in a git directory is not to be seen: passwords, and sockets, which take no part in read-only."""
    try:
        with os.scandir(folder) as entries:
            kinds = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in entries}
    except OSError:
        return []
    return [
        name for name, mode in kinds.items() if stat.S_ISSOCK(mode) or (name == "credentials" and stat.S_ISREG(mode))
    ]


def _refuse_no_text(*paths: Path) -> None:
    """Refuse what an engine can't be told."""
    if any("\ud800" <= char <= "\udfff" for path in paths for char in str(path)):
        raise NoGitDirectoryError("is in a folder whose name is no UTF-8")


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _make_folder(path: Path) -> None:
    """Make an empty folder where there is none, so that something can be mounted there, for the repository's owner."""
    try:
        path.mkdir()
        owner = path.parent.stat()
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(path, owner.st_uid, owner.st_gid)
    except OSError:
        pass  # It is there, or this user may not write here, and neither may the sandbox.
