"""All that is mounted into a sandbox besides its image: the repository, folders of the host, volumes, and masks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .config import RepositoryMount, SandboxConfig
from .config.mounts import HostMount
from .engines.base import VOLUME_PREFIX, WORKSPACE, EngineCapabilities, Mask, Mount, ResolvedImage, Volume
from .errors import ConfigurationError
from .refusals import refuse_engine_sockets, refuse_folder
from .selection import Selection, secret_on_the_way, select

_SELECTING, _MOUNTING = ("include", "exclude", "respect_gitignore"), ("mount", "volume")
_NEXT = "Mount another folder."


class Mounted(NamedTuple):
    """In the words of a :class:`~chorus_nb.engines.base.ContainerSpec`."""

    mounts: tuple[Mount, ...]
    volumes: tuple[Volume, ...]
    masks: tuple[Mask, ...]
    repositories: tuple[str, ...] = ()
    """Of the repository, the folders that may be git repositories too (:class:`~chorus_nb.selection.Selection`)."""


def mounted(
    config: SandboxConfig, repository: Path | None, image: ResolvedImage, capabilities: EngineCapabilities
) -> Mounted:
    """Return what is mounted, for an engine that mounts, with the image's own mounts first.

    The view of ``repo=overlay`` is not among the mounts, but what is masked of it is among the masks.

    Raises
    ------
    ConfigurationError
        Something can't be had: it is not there, or two are at the same place.
    PolicyRefusedError
        A folder is a home or system folder, or holds the socket of an engine.
    """
    if not capabilities.repository_mounts:
        _refuse_asked(config, capabilities)
        return Mounted(image.mounts, (), ())
    seen = _selection(repository, config.repository)
    # Before anything else is said of them: a socket is no file either.
    sources = (Path(os.path.realpath(each.source)) for each in config.mounts.mounts)
    refuse_engine_sockets(sources, capabilities.host, _NEXT)
    mode, extra = config.repository.mode, [_resolved(each) for each in config.mounts.mounts]
    _refuse_places(config, image, seen, [(each.target, Path(each.source).is_dir()) for each in extra])
    mounts, masks = image.mounts, seen.masks(WORKSPACE) if seen else ()
    if repository and mode in ("ro", "rw"):
        mounts += (Mount(str(repository), WORKSPACE, read_only=mode == "ro"),)
    for each in extra:
        mounts += (Mount(*each),)
        masks += _secrets_in(each, config.repository)
    volumes = (Volume(each.target, VOLUME_PREFIX + each.name, each.read_only) for each in config.mounts.volumes)
    return Mounted(mounts, tuple(volumes), masks, seen.repositories if seen else ())


def _selection(repository: Path | None, wanted: RepositoryMount) -> Selection | None:
    if repository is None:
        return None
    _refuse_secret("repo_path", repository, wanted)
    return select(repository, wanted, whole_tree=wanted.mode == "rw")


def _refuse_asked(config: SandboxConfig, capabilities: EngineCapabilities) -> None:
    copied = config.repository.mode == "overlay"  # What is not to be seen is left out of the copy.
    if asked := [name for name in (*_MOUNTING, *(() if copied else _SELECTING)) if config.option(name)]:
        raise ConfigurationError(
            f"{', '.join(asked)} can't be had of the {capabilities.name} engine, which mounts nothing.",
            next_step="Leave it out, or use a real engine.",
        )


def _resolved(mount: HostMount) -> HostMount:
    """Follow links once, here; raise for what is not there, or not to be mounted."""
    source, what = Path(os.path.realpath(mount.source)), f"mount={mount.source!r}"
    refuse_folder(source, _NEXT)
    try:
        kind = stat.S_IFMT(source.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(
            f"{what} can't be had: {error.strerror}.", next_step="Name a file or folder that is there."
        ) from None
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise ConfigurationError(f"{what} is neither a file nor a folder.", next_step="Name one of these.")
    return mount._replace(source=str(source))


def _secrets_in(mount: HostMount, wanted: RepositoryMount) -> tuple[Mask, ...]:
    source = Path(mount.source)
    _refuse_secret("mount", source, wanted)
    if not source.is_dir():
        return ()
    return select(source, wanted, whole_tree=not mount.read_only, patterns=False).masks(mount.target)


def _refuse_secret(option: str, path: Path, wanted: RepositoryMount) -> None:
    """Raise where a path leads to secrets: in there, nothing would have a name that tells."""
    if name := secret_on_the_way(path, wanted.show_secrets):
        raise ConfigurationError(
            f"{option}={str(path)!r} leads to what is likely a secret, by the name {name!r}.",
            next_step=f"Leave it out; or if the code is to have it, add --show-secrets {name!r}.",
        )


# Where things are in the container


def _refuse_places(
    config: SandboxConfig, image: ResolvedImage, seen: Selection | None, folders: Iterable[tuple[str, bool]]
) -> None:
    """Raise where an engine would have to make a place in a folder of the host, or two things are at one place."""
    asked = [*folders, *((each.target, True) for each in config.mounts.volumes)]
    taken = [*(each.target for each in image.mounts), *(each.path for each in config.security.tmpfs_folders)]
    for number, (target, is_folder) in enumerate(asked):
        others = [*taken, *(each for each, _ in asked[:number])]
        if other := next((each for each in others if _touch(each, target)), None):
            raise ConfigurationError(
                f"{target!r} and {other!r} can't both be mounted: one lies in the other.",
                next_step=f"Choose another place than {target!r}.",
            )
        if seen and target.startswith(f"{WORKSPACE}/"):
            _refuse_missing_place(seen, target, is_folder)


def _touch(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _refuse_missing_place(seen: Selection, target: str, is_folder: bool) -> None:
    path = target.removeprefix(f"{WORKSPACE}/")
    place = seen.folder / path
    # First what is hidden: a folder that is closed to this user is.
    links = seen.hides(path) or any(each.is_symlink() for each in _below(seen.folder, place))
    if links or not (place.is_dir() if is_folder else place.is_file()):
        kind = "folder" if is_folder else "file"
        raise ConfigurationError(
            f"Nothing can be mounted at {target!r}: the repository has no {kind} {path!r} that is seen there.",
            next_step="Make one in the repository, or choose a place elsewhere, such as /data.",
        )


def _below(folder: Path, place: Path) -> Iterator[Path]:
    while place != folder:
        yield place
        place = place.parent
