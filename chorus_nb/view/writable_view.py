"""The view of the repository that a session with ``--repo overlay`` writes to, from its first start to its end."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from ..changes.review import Review
from ..config import SandboxConfig
from ..engines.base import WORKSPACE, ContainerSpec, Engine, EngineCapabilities
from ..errors import ConfigurationError, RepositoryNotFoundError, UnappliedChangesError, VolumeMountError
from ..files import SandboxFiles, files_below
from ..git import OUTSIDE, GitView, git_view, with_git
from ..host_tree import parents
from ..repository import resolve_repository
from ..selection import select
from ..working_copy import WorkingCopy
from .overlay_folder import views_folder, why_unfit
from .places import FolderPlace, OverlayPlace, Place, VolumePlace


class WritableView:
    """Holds it for a session; there is none where the session asks for none.

    Parameters
    ----------
    config, engine, folder
        As of :class:`~chorus_nb.session.Session`.
    files : SandboxFiles
        Of the session, through which a copy is read.

    Attributes
    ----------
    why_copied : str
        Why it is a copy and no overlay; empty where it is none.
    """

    def __init__(self, config: SandboxConfig, engine: Engine, folder: Path, files: SandboxFiles) -> None:
        self.why_copied = ""
        self._review: Review | None = None
        self._covered: frozenset[str] = frozenset()
        self._covered_outside: frozenset[str] = frozenset()
        self._mount = config.repository
        self._engine = engine
        self._folder = folder
        self._files = files
        self._place: Place | None = None
        self._lock = threading.RLock()
        self._closed = self._is_used = False

    @property
    def copy(self) -> WorkingCopy | None:
        """The view, once the session has started."""
        return self._place.copy if self._place else None

    @property
    def grows(self) -> tuple[Path, ...]:
        """The folders of the host that grow as the sandbox writes."""
        return self._place.grows if self._place else ()

    def put_into(self, spec: ContainerSpec, capabilities: EngineCapabilities) -> ContainerSpec:
        """Return the container with the view in it; makes that at the first time. Raises ``ChorusError``."""
        with self._lock:
            if self._mount.mode != "overlay" or self._closed:  # Nothing is ever started for a session that is closed.
                return spec
            self._place = self._place or self._made(spec, capabilities)
            self._covered, self._covered_outside = _mounted_over(spec, WORKSPACE), _mounted_over(spec, OUTSIDE)
            return self._place.put_into(spec)

    def _made(self, spec: ContainerSpec, capabilities: EngineCapabilities) -> Place:
        repository = resolve_repository(self._mount, self._folder, capabilities.host)
        assert repository is not None
        if capabilities.repository_mounts:
            self.why_copied = self.why_copied or _why_no_overlay(spec, capabilities, repository)
            if not self.why_copied:
                return OverlayPlace(*with_git(repository))
        git, hides = self._selected(repository)
        if not capabilities.repository_mounts:
            return FolderPlace(repository, spec, self._files, lambda path: hides(path) or path in git.texts())
        return VolumePlace(repository, self._engine, spec, self._files, hides, git)

    def _selected(self, repository: Path) -> tuple[GitView, Callable[[str], bool]]:
        """Return what a copy has of git, and what tells the paths that it leaves out: what is masked, also of git, and
        where views are."""
        selection = select(repository, self._mount, whole_tree=True)
        git = git_view(repository, self._mount.mode, selection.repositories)
        views = os.path.relpath(views_folder().resolve(), repository)
        return git, lambda path: path == views or selection.hides(path) or git.hides(path)

    def use_copy(self, refusal: VolumeMountError) -> None:
        """Have the next start use a copy, as the kernel takes no overlay of these folders.

        Raises
        ------
        VolumeMountError
            It is no overlay, or the kernel took it before and the code has changed it.
        """
        with self._lock:
            if not isinstance(self._place, OverlayPlace) or self.has_changes():
                raise refusal
            self.why_copied = refusal.message
        self._remove()

    def settle(self) -> None:
        """Note what a later look at it needs; called with a new container, before any code runs in it."""
        if self._place:
            self._place.settle()
        self._is_used = True

    def give_up(self) -> None:
        """Remove it where no code has ever run with it: who could not start a session need not close it."""
        if not self._is_used:
            self._remove()

    def has_changes(self) -> bool:
        """Whether a file in it is not as in the repository, as what was discarded is. Raises ``ChorusError``."""
        if self._place is None or not self._place.readable:
            return False
        try:
            return self.copy is not None and self._review_of(self.copy).has_changes()
        except RepositoryNotFoundError:
            return False  # Nothing can be applied any more.

    def review(self, name: str) -> Review:
        """Return what has changed in it, and what of that a user has seen, for the session of that name.

        Raises
        ------
        ConfigurationError
            There is no view.
        """
        if self.copy is None:
            raise _no_view(name, self._mount.mode)
        return self._review_of(self.copy)

    def _review_of(self, copy: WorkingCopy) -> Review:
        with self._lock:
            if self._review is None or self._review.copy is not copy:
                outside = self._place.outside if self._place else None
                git = Review(outside, lambda path: _is_in(self._covered_outside, path)) if outside else None
                self._review = Review(
                    copy, lambda path: _is_in(self._covered, path), git, files_below(self._files, OUTSIDE)
                )
            return self._review

    def refuse_to_lose(self, name: str) -> None:
        """Raise ``UnappliedChangesError`` where the end of the session of that name would lose changes."""
        if self.has_changes():
            raise UnappliedChangesError(
                f"The session {name!r} has changed its view of the repository, and would lose that.",
                next_step=f"`%sandbox diff --session {name}` shows it; apply what you want, and discard the rest: "
                f"`%sandbox discard --session {name}`.",
            )

    def close(self) -> None:
        """Remove it with all that was not applied; the session's container is gone."""
        with self._lock:
            self._closed = True
        self._remove()

    def _remove(self) -> None:
        with self._lock:
            place, self._place = self._place, None
        if place:
            place.remove(self._engine)


def _why_no_overlay(spec: ContainerSpec, capabilities: EngineCapabilities, repository: Path) -> str:
    if not capabilities.overlays:
        return f"the {capabilities.name} engine can't mount an overlay of this machine's folders"
    if capabilities.overlay_owner not in ("", spec.user):
        return f"the {capabilities.name} engine gives the root of an overlay to root, and the code runs as {spec.user}"
    if not _may_write(spec, repository.stat()):
        return "the repository is another user's, who alone could change its files in an overlay"
    return why_unfit(repository)


def _may_write(spec: ContainerSpec, found: os.stat_result) -> bool:
    """Whether the permissions of a folder let the user of a container write: those of its files are often the same."""
    uid, gid = map(int, spec.user.split(":"))
    if uid == found.st_uid:
        return True
    shared = stat.S_IWGRP if found.st_gid in (gid, *spec.security.group_add) else 0
    return bool(found.st_mode & (shared | stat.S_IWOTH))


def _is_in(covered: frozenset[str], path: str) -> bool:
    """Whether something else is mounted over what the view has at a path."""
    return path in covered or not covered.isdisjoint(parents(path))


def _mounted_over(spec: ContainerSpec, place: str) -> frozenset[str]:
    """Return which paths of a folder are masked, or have something of their own mounted there."""
    targets = [
        *(each.path for each in spec.masks),
        *(each.target for each in spec.mounts),
        *(each.target for each in spec.volumes),
    ]
    start = f"{place}/"
    return frozenset(each.removeprefix(start) for each in targets if each.startswith(start))


def _no_view(name: str, mode: str) -> ConfigurationError:
    if mode == "overlay":
        return ConfigurationError(
            f"The session {name!r} has not started, so nothing has changed.", next_step="Run a cell in it."
        )
    return ConfigurationError(
        f"The session {name!r} has no view of its own of the repository: it was made with --repo {mode}.",
        next_step=f"Make one: %%sandbox {name} --fresh --repo overlay.",
    )
