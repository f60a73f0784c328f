"""Which files of a folder a sandbox sees: secrets and what the user leaves out are masked.

The folder is looked through once, when a sandbox starts, by names: what is put there later is not masked. Nothing is
left out that could not be looked at: where that is so, the folder is masked as a whole, or nothing starts. It is the
only look of a start that takes as long as there are files, the first one in a process (:mod:`chorus_nb.listings`), so
it notes on its way where git repositories are, too.
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

from pathspec import GitIgnoreSpec

from .config import RepositoryMount
from .config.patterns import gitignore_pattern
from .engines.base import Mask
from .errors import ConfigurationError
from .likely_secrets import is_public, may_name_secret, names_secret
from .listings import Entry, Listing, Listings
from .mountinfo import mount_points_below, own_mounts

Why = Literal["secret", "excluded", "not included", "ignored by git", "no file", "out of reach"]

MAX_ENTRIES = 2_000_000
MAX_SCAN_S = 60.0
MAX_MASKS = 1000
"""Each is a mount: a thousand of them cost an engine a quarter of a second."""
MAX_MASKED_PATH_BYTES = 192 * 1024
"""All their paths: the agent's list of mounts has to stay below its limit, also with each byte written as four."""

_MAX_PATH_BYTES = 3000  # What an engine puts before a path has to fit into PATH_MAX, too (limits.h).
_MAX_DEPTH = 300
_MAX_IGNORE_BYTES = 1 << 20
_MAX_IGNORE_PATTERNS = 1000

_IN_GIT_DIRECTORY = ("HEAD", "objects", "refs")
_OF_REPOSITORIES = frozenset({".git", *_IN_GIT_DIRECTORY})


class Masked(NamedTuple):
    """A path that the sandbox does not see, and why. ``path`` is relative to the folder, with ``/``."""

    path: str
    kind: Literal["file", "directory", "link"]
    why: Why


@dataclass(frozen=True)
class Selection:
    """What of a folder is masked.

    Attributes
    ----------
    folder : Path
        On the host, with links resolved.
    masked : tuple of Masked
        Sorted by path, none within another.
    repositories : tuple of str
        Paths of folders further down that are seen and may be git repositories: they have a ``.git`` of whatever kind,
        or what a git directory has (``HEAD``, ``objects``, ``refs``). Sorted.
    """

    folder: Path
    masked: tuple[Masked, ...] = ()
    repositories: tuple[str, ...] = ()
    _paths: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_paths", frozenset(each.path for each in self.masked))

    def hides(self, path: str) -> bool:
        """Whether a path, relative to the folder, is masked or lies in a masked folder: a copy leaves it out."""
        return path in self._paths or any(parent in self._paths for parent in _parents(path))

    def masks(self, target: str) -> tuple[Mask, ...]:
        """Return the masks where the folder is mounted at ``target``.

        Raises
        ------
        ConfigurationError
            There are more than can be had.
        """
        found = [each for each in self.masked if each.kind != "link"]
        if len(found) > MAX_MASKS or sum(len(each.path.encode()) for each in found) > MAX_MASKED_PATH_BYTES:
            raise _too_many(self.folder, found)
        return tuple(Mask(f"{target}/{each.path}", each.kind == "directory") for each in found)


def select(folder: Path, wanted: RepositoryMount, *, whole_tree: bool, patterns: bool = True) -> Selection:
    """Look through a folder, and say what of it is masked.

    Parameters
    ----------
    folder : Path
        With links resolved.
    wanted : RepositoryMount
        ``include``, ``exclude``, ``respect_gitignore`` and ``show_secrets``.
    whole_tree : bool
        Whether file systems that are mounted further down are seen as well. Else what lies below their mount points
        can't be looked at from here, and is masked.
    patterns : bool
        Whether the patterns count, which are the repository's; else secrets are masked alone.

    Raises
    ------
    ConfigurationError
        It can't be looked through, or what is to be masked can't be.
    """
    scan = _Scan(folder, wanted if patterns else RepositoryMount(show_secrets=wanted.show_secrets), whole_tree)
    seen = Selection(folder, tuple(_topmost(folder, scan.run())))
    return replace(seen, repositories=tuple(path for path in sorted(scan.repositories) if not seen.hides(path)))


def secret_on_the_way(path: Path, shown: tuple[str, ...]) -> str | None:
    """Return the name in a path that says that it leads to secrets; None for none, and where the user shows it."""
    for number, name in enumerate(path.parts[1:], start=2):
        here, is_folder = Path(*path.parts[:number]), number < len(path.parts) or path.is_dir()
        if names_secret(str(here), is_folder) and (is_folder or not is_public(here)):
            return None if GitIgnoreSpec.from_lines(shown).match_file(str(path)[1:]) else name
    return None


class _Rules(NamedTuple):
    """The ``.gitignore`` of one folder: ``start`` is how many characters of a path lead there."""

    start: int
    spec: GitIgnoreSpec


class _Scan:
    """One look through a folder, by names alone: no file is opened but ``.gitignore`` and ``*.pem``.

    Attributes
    ----------
    repositories : set of str
        See :class:`Selection`; also those that are masked.
    """

    def __init__(self, folder: Path, wanted: RepositoryMount, whole_tree: bool) -> None:
        self._folder = folder
        self._root = os.fspath(folder)
        self._include = GitIgnoreSpec.from_lines(wanted.include) if wanted.include else None
        self._exclude = GitIgnoreSpec.from_lines(wanted.exclude) if wanted.exclude else None
        self._shown = GitIgnoreSpec.from_lines(wanted.show_secrets) if wanted.show_secrets else None
        self._by_git = wanted.respect_gitignore
        self._has_patterns = bool(wanted.include or wanted.exclude or wanted.respect_gitignore)
        mounts = own_mounts()
        self._mount_points = frozenset() if whole_tree else mount_points_below(self._root, mounts)
        # By their names: with patterns, and below a mount point, any file may be one to mask.
        all_count = self._has_patterns or bool(self._mount_points)
        is_remarkable = (lambda _: True) if all_count else _is_remarkable
        self._listings = Listings(self._root, is_remarkable, mounts, remember=not all_count)
        self.repositories: set[str] = set()
        self._masked: list[Masked] = []
        self._entries = self._patterns = 0
        self._by_top: Counter[str] = Counter()
        self._give_up_s = time.monotonic() + MAX_SCAN_S

    def run(self) -> list[Masked]:
        """Return all that is masked, in no order."""
        rules = self._rules(".git/info/exclude", 0) if self._by_git else ()
        self._look_into("", rules, 0)
        self._listings.remember()
        return self._masked

    def _look_into(self, folder: str, rules: tuple[_Rules, ...], depth: int) -> bool:
        """Note what is masked in a folder, whose path ends with ``/``. Return whether a file of it is to be seen."""
        if depth > _MAX_DEPTH or len(os.fsencode(folder)) > _MAX_PATH_BYTES:
            return self._mask(folder[:-1], "directory", "out of reach")
        try:
            found = self._listings.of(folder)
        except OSError as error:
            if not folder:
                raise _unreadable(self._folder, error) from None
            if isinstance(error, FileNotFoundError):
                return False  # Gone by now.
            return self._mask(folder[:-1], "directory", "out of reach")
        if self._by_git and any(entry.name == ".gitignore" for entry in found.entries):
            rules = (*self._rules(f"{folder}.gitignore", len(folder)), *rules)
        before, visible = len(self._masked), False
        self._count(folder, found.number)
        self._note_repository(folder[:-1], found)
        for entry in found.entries:
            visible |= self._look_at(entry, folder + entry.name, rules, depth)
        if self._include and folder and not visible:
            del self._masked[before:]
            self._mask(folder[:-1], "directory", "not included")
        return visible

    def _look_at(self, entry: Entry, path: str, rules: tuple[_Rules, ...], depth: int) -> bool:
        is_folder, is_link = entry.kind == "directory", entry.kind == "link"
        kind = "file" if entry.kind == "other" else entry.kind
        matched = f"{path}/" if is_folder else path
        if path in self._mount_points:
            return self._mask(path, kind, "out of reach")
        if self._has_patterns:
            self._refuse_if_late()  # At each name: they come from the repository, and take their time.
        if self._exclude and self._exclude.match_file(matched):
            return self._mask(path, kind, "excluded")
        if entry.name == ".git":
            if is_folder:
                self._look_for_sockets(path)
            return True
        if self._is_secret(entry, path, is_folder, is_link):
            return self._mask(path, kind, "secret")
        if rules and _is_ignored(matched, rules):
            return self._mask(path, kind, "ignored by git")
        if is_folder:
            return self._look_into(f"{path}/", rules, depth + 1)
        if entry.kind == "other":
            return self._mask(path, kind, "no file")
        if self._include and not self._include.match_file(path):
            return self._mask(path, kind, "not included")
        return True

    def _note_repository(self, folder: str, found: Listing) -> None:
        names = {entry.name for entry in found.entries if entry.name in _OF_REPOSITORIES}
        if folder and (".git" in names or names.issuperset(_IN_GIT_DIRECTORY)):
            self.repositories.add(folder)

    def _mask(self, path: str, kind: Literal["file", "directory", "link"], why: Why) -> bool:
        self._masked.append(Masked(path, kind, why))
        return False

    def _is_secret(self, entry: Entry, path: str, is_folder: bool, is_link: bool) -> bool:
        """Tell by the name; of a link with such a name what it leads to is masked as well."""
        is_named_so = may_name_secret(entry.name) and names_secret(path, is_folder)
        if not is_named_so or (self._shown and self._shown.match_file(path + "/" * is_folder)):
            return False
        here = f"{self._root}/{path}"
        real = Path(os.path.realpath(here) if is_link else here)
        if is_public(real):
            return False
        if is_link:
            self._mask_target(real)
        return True

    def _mask_target(self, real: Path) -> None:
        """Mask what a link leads to; where that is in a folder that is closed to this user, the folder."""
        if real != self._folder and real.is_relative_to(self._folder):
            try:
                is_folder = stat.S_ISDIR(real.stat().st_mode)
                self._mask(real.relative_to(self._folder).as_posix(), "directory" if is_folder else "file", "secret")
            except PermissionError:  # Code of this user may be able to open it.
                self._mask_target(real.parent)
            except OSError:
                pass  # It leads nowhere.

    def _look_for_sockets(self, path: str) -> None:
        """Git's own folder is seen whole; what a daemon of Git listens on is no part of it."""
        left = [path]
        while left:
            folder = left.pop()
            try:
                found = self._listings.of(folder + "/")
            except OSError:
                continue  # Closed to this user, and so to the sandbox.
            self._count(path, found.number)
            for entry in found.entries:
                if entry.kind == "directory":
                    left.append(f"{folder}/{entry.name}")
                elif entry.kind == "other":
                    self._mask(f"{folder}/{entry.name}", "file", "no file")

    def _rules(self, path: str, start: int) -> tuple[_Rules, ...]:
        """Read a file of patterns. What can't be read hides nothing; a pattern that can't be kept to is an error."""
        place = Path(self._root, path)
        lines = [line for line in _lines(place) if line.strip() and not line.startswith("#")]
        self._patterns += len(lines)
        if self._patterns > _MAX_IGNORE_PATTERNS:
            raise _bad_ignore(place, f"there are more than {_MAX_IGNORE_PATTERNS} patterns")
        try:
            return (_Rules(start, GitIgnoreSpec.from_lines([gitignore_pattern(line) for line in lines])),)
        except ValueError as error:
            raise _bad_ignore(place, f"{error} was expected") from None

    def _count(self, folder: str, entries: int) -> None:
        self._entries += entries
        self._by_top[folder.partition("/")[0] or "."] += entries
        if self._entries > MAX_ENTRIES:
            raise _too_large(self._folder, self._by_top)
        self._refuse_if_late()

    def _refuse_if_late(self) -> None:
        if time.monotonic() > self._give_up_s:
            raise _too_large(self._folder, self._by_top)


def _is_remarkable(name: str) -> bool:
    """Whether a plain file has to be looked at where there are no patterns: of nearly all the name says nothing."""
    return may_name_secret(name) or name in _OF_REPOSITORIES


def _is_ignored(path: str, rules: tuple[_Rules, ...]) -> bool:
    """Ask the nearest ``.gitignore`` first: the first that says anything decides (gitignore(5))."""
    for start, spec in rules:
        if (said := spec.check_file(path[start:]).include) is not None:
            return said
    return False


def _lines(path: Path) -> list[str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # As Git reads it.
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(_MAX_IGNORE_BYTES + 1)
    except OSError:
        return []
    if len(text) > _MAX_IGNORE_BYTES:
        raise _bad_ignore(path, f"it is larger than {_MAX_IGNORE_BYTES >> 20} MiB")
    return text.decode(errors="surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n").split("\n")


def _topmost(folder: Path, masked: Iterable[Masked]) -> Iterator[Masked]:
    """Yield what is masked, none within another; where a name is no text, the folder around it in its place."""
    chosen: dict[str, Masked] = {}
    for each in masked:
        path, kind = each.path, each.kind
        while path and not _is_text(path):
            path, kind = path.rpartition("/")[0], "directory"
        if not path:
            raise _unnameable(folder, each.path)
        chosen[path] = each if path not in chosen and path == each.path else Masked(path, kind, each.why)
    for path in sorted(chosen):
        if not any(parent in chosen for parent in _parents(path)):
            yield chosen[path]


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _is_text(path: str) -> bool:
    try:
        return bool(path.encode())
    except UnicodeEncodeError:
        return False


# What goes wrong

_LEAVE_OUT = "Leave out what the code does not need: `--exclude 'FOLDER/'`, another --repo-path, or `--repo none`."


def _too_many(folder: Path, found: list[Masked]) -> ConfigurationError:
    tops = Counter(each.path.rpartition("/")[0] or "." for each in found)
    most, number = tops.most_common(1)[0]
    return ConfigurationError(
        f"In {str(folder)!r} there are more than {MAX_MASKS} files to mask, most of them in {most!r} ({number}).",
        next_step="Mask that folder as a whole with `--exclude 'FOLDER/'`; or show what is no secret: `--show-secrets "
        "'FOLDER/*.pem'`.",
    )


def _too_large(folder: Path, by_top: Counter[str]) -> ConfigurationError:
    most, number = by_top.most_common(1)[0]
    return ConfigurationError(
        f"{str(folder)!r} is too large to be looked through for secrets: at most {MAX_ENTRIES} files and folders, in "
        f"at most {MAX_SCAN_S:.0f} s. Most were in {most!r} ({number} until then).",
        next_step=_LEAVE_OUT,
    )


def _unreadable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{str(folder)!r} can't be looked through for secrets: {error.strerror}.", next_step=_LEAVE_OUT
    )


def _unnameable(folder: Path, path: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path!r} in {str(folder)!r} is to be masked, and its name can't be given to an engine: it is no UTF-8.",
        next_step="Rename it, or move it into a folder.",
    )


def _bad_ignore(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{str(path)!r} can't be kept to: {what}.",
        next_step="Mend the file, or use respect_gitignore=False and --exclude.",
    )
