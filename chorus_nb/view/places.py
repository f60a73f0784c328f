"""Where a session's view of the repository can be: an overlay, a copy in a volume, or one in a folder."""

from __future__ import annotations

import secrets
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..engines.base import OWNER_LABEL, SESSION_LABEL, WORKSPACE, ContainerSpec, Engine, Volume
from ..engines.owner import owner_alive, owner_label
from ..errors import EngineError, SandboxFileError, WorkingCopyError
from ..files import SandboxFiles, files_below
from ..git import OUTSIDE, GitView
from ..progress import Progress
from ..sanitize import printable_line
from ..working_copy import WorkingCopy
from .overlay_folder import OverlayFolder
from .repository_archive import RepositoryArchive
from .volume_copy import VolumeCopy


class Place(ABC):
    """Where it is, from its making to its end; containers come and go meanwhile, one at a time.

    Attributes
    ----------
    copy : WorkingCopy
    outside : WorkingCopy or None
        Of the git directory, where that lies outside of the repository and is there.
    grows : tuple of Path
        The folders of the host that what the sandbox writes is added to.
    readable : bool
        False where it can't be read, and so nothing of it can be taken over: a copy in an image without Python.
    """

    copy: WorkingCopy
    outside: WorkingCopy | None = None
    grows: tuple[Path, ...] = ()
    readable = True

    @abstractmethod
    def put_into(self, spec: ContainerSpec) -> ContainerSpec:
        """Return a container with the view in it."""

    @abstractmethod
    def settle(self) -> None:
        """Note what a later look at it needs; called with a new container, before any code runs in it."""

    @abstractmethod
    def remove(self, engine: Engine) -> None:
        """Remove it; no container has it any more. What can't be removed now is left to the next start."""


class OverlayPlace(Place):
    """An overlay over the repository itself: nothing is copied but what the code writes to."""

    def __init__(self, *folders: Path) -> None:
        """Make it of the repository, and of its git directory where that lies outside (``chorus_nb.git.with_git``)."""
        self._folders = [OverlayFolder.made_for(folder) for folder in folders]
        self.copy = self._folders[0].copy
        self.outside = self._folders[1].copy if len(self._folders) > 1 else None
        self.grows = tuple(folder.upper for folder in self._folders)

    def put_into(self, spec: ContainerSpec) -> ContainerSpec:
        for folder in self._folders:
            folder.refuse_if_moved()
        places = zip((WORKSPACE, OUTSIDE), self._folders, strict=False)
        volumes = tuple(replace(folder.volume, target=place) for place, folder in places)
        covered = {volume.target for volume in volumes}
        mounts = tuple(mount for mount in spec.mounts if mount.target not in covered)
        return replace(spec, mounts=mounts, volumes=(*spec.volumes, *volumes))

    def settle(self) -> None:
        pass  # What is in its folder is what was touched.

    def remove(self, engine: Engine) -> None:
        for folder in self._folders:
            folder.remove(engine)


class _CopyPlace(Place):
    copy: VolumeCopy
    outside: VolumeCopy | None = None

    def settle(self) -> None:
        try:
            self.copy.note_settled()
            if self.outside:
                self.outside.note_settled()
        except SandboxFileError:  # Before any code ran, so that nothing but a lack of Python explains it.
            self.readable = False


class VolumePlace(_CopyPlace):
    """A copy in a volume of the engine's: for engines elsewhere, and for those that can't mount an overlay.

    The git directory of a worktree, which lies outside of the repository, is copied into a volume of its own.
    """

    def __init__(
        self,
        repository: Path,
        engine: Engine,
        spec: ContainerSpec,
        files: SandboxFiles,
        hides: Callable[[str], bool],
        git: GitView,
    ) -> None:
        archives = {WORKSPACE: RepositoryArchive(repository, spec.user, hides, git.texts())}
        if git.outside:
            with suppress(WorkingCopyError):  # It is larger than what may be copied: then there is no git inside.
                archives[OUTSIDE] = _git_archive(git.outside, spec.user, git)
        self._hides = hides
        self._volumes = tuple(Volume(place, f"chorus-nb-copy-{secrets.token_hex(8)}") for place in archives)
        labels = {OWNER_LABEL: owner_label(), SESSION_LABEL: spec.session_name}
        try:
            for volume in self._volumes:
                pieces = _with_bar(archives[volume.target])
                engine.make_volume(volume.name, labels, spec.user, spec.image, pieces)
        except EngineError as error:
            self.remove(engine)
            raise _not_read(error) or error from error
        self.copy = VolumeCopy(repository, archives[WORKSPACE], files)
        if git.outside and OUTSIDE in archives:
            self.outside = VolumeCopy(git.outside, archives[OUTSIDE], files_below(files, OUTSIDE))

    def put_into(self, spec: ContainerSpec) -> ContainerSpec:
        # What is masked was left out: a mask over it would have to be made a place.
        masks = tuple(each for each in spec.masks if not self._hides(each.path.removeprefix(f"{WORKSPACE}/")))
        covered = {volume.target for volume in self._volumes}
        mounts = tuple(mount for mount in spec.mounts if mount.target not in covered)
        return replace(spec, mounts=mounts, volumes=(*spec.volumes, *self._volumes), masks=masks)

    def remove(self, engine: Engine) -> None:
        for volume in self._volumes:
            with suppress(EngineError):
                engine.remove_volume(volume.name)


def _git_archive(folder: Path, user: str, git: GitView) -> RepositoryArchive:
    return RepositoryArchive(folder, user, lambda path: git.hides(path, OUTSIDE), git.texts(OUTSIDE))


class FolderPlace(_CopyPlace):
    """A copy in a folder of this user's: for an engine whose code works where the files lie."""

    def __init__(
        self, repository: Path, spec: ContainerSpec, files: SandboxFiles, hides: Callable[[str], bool]
    ) -> None:
        archive = RepositoryArchive(repository, spec.user, hides)
        self._folder = OverlayFolder.made_for(repository)
        self.grows = (self._folder.upper,)
        _unpack(_with_bar(archive), self._folder.upper)
        self.copy = VolumeCopy(repository, archive, files)

    def put_into(self, spec: ContainerSpec) -> ContainerSpec:
        return replace(spec, working_dir=str(self._folder.upper))

    def remove(self, engine: Engine) -> None:
        self._folder.remove(engine)


def sweep_volumes(engine: Engine) -> None:
    """Remove the copies whose process is provably gone, and their containers with it. Raises ``EngineError``."""
    for name, labels in engine.owned_volumes():
        if not owner_alive(labels.get(OWNER_LABEL, "")):
            engine.remove_volume(name)


def _with_bar(archive: RepositoryArchive) -> Iterator[bytes]:
    """Yield an archive; where that takes longer than a moment and somebody waits for it, with a bar."""
    waits = threading.current_thread() is threading.main_thread()
    with Progress("Copying the repository", archive.total_bytes, shown=waits) as bar:
        try:
            for piece in archive.pieces():
                bar.add(len(piece))
                yield piece
        except OSError as error:
            raise WorkingCopyError(
                f"{str(archive.folder)!r} can't be copied into a sandbox: {error.strerror}.",
                next_step="Is the folder still there? Then start the session again.",
            ) from error


def _not_read(error: BaseException | None) -> WorkingCopyError | None:
    """Return what went wrong with the archive itself, where an engine failed that was to take it."""
    while error is not None and not isinstance(error, WorkingCopyError):
        error = error.__cause__ or error.__context__
    return error


def _unpack(pieces: Iterator[bytes], folder: Path) -> None:
    """Unpack an archive of this package's own, with the system's tar(1)."""
    command = ["tar", "-x", "-p", "--no-same-owner", "-C", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as tar:
        assert tar.stdin is not None
        with suppress(BrokenPipeError):
            for piece in pieces:
                tar.stdin.write(piece)
        _, said = tar.communicate()
    if tar.returncode:
        raise WorkingCopyError(
            f"The copy of the repository can't be unpacked: {printable_line(said.decode(errors='replace'))}.",
            next_step="Free space in the folder for caches, or set XDG_CACHE_HOME to another.",
        )
