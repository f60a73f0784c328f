"""What a sandbox sees besides the repository: folders of the host, and volumes of the engine that outlive it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from .folders import plain_path
from .option import Option, Policy
from .rules import NO_HOST_VOLUME, NO_KERNEL_FOLDER

_KERNELS = ("/proc", "/sys", "/dev")
_SYSTEM = ("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/run", "/sbin", "/usr", "/var/run")
_OWN = ("/chorus-nb.sock", "/home/sandbox", "/tmp", "/workspace")  # noqa: S108
_MANY = 32


def at_home(text: str, folder: Path) -> str:
    """Return a mount with a source that is relative to a folder, or to the home folder, made absolute."""
    mount = host_mount_of(text)
    return str(mount._replace(source=str(folder / Path(mount.source).expanduser())))


class HostMount(NamedTuple):
    """A file or folder of the host, seen at ``target``."""

    source: str
    target: str
    read_only: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.target}:{'ro' if self.read_only else 'rw'}"


class NamedVolume(NamedTuple):
    """A volume of the engine, by the name that the user has given it, seen at ``target``."""

    name: str
    target: str
    read_only: bool

    def __str__(self) -> str:
        return f"{self.name}:{self.target}:{'ro' if self.read_only else 'rw'}"


def host_mount_of(text: str) -> HostMount:
    """Read ``SRC:DST[:ro|rw]``, read-only where it does not say. Raises ``ValueError`` for what is none."""
    source, target, mode = _parts("mount", text)
    return HostMount(source, target, mode != "rw")


def named_volume_of(text: str) -> NamedVolume:
    """Read ``NAME:/PATH[:ro|rw]``, to be written to where it does not say. Raises ``ValueError`` for what is none."""
    name, target, mode = _parts("volume", text)
    if name.startswith((".", "/", "~")) or "/" in name:
        raise NO_HOST_VOLUME.refusal(f"volume={text!r}", "For a folder of this machine use --mount SRC:DST.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ValueError("a name")
    return NamedVolume(name, target, mode == "ro")


def _parts(option: str, text: str) -> tuple[str, str, str]:
    place, mode = text.rsplit(":", 1) if text.endswith((":ro", ":rw")) else (text, "")
    source, colon, target = place.rpartition(":")
    if not colon or not source or "\0" in source:
        raise ValueError("two paths")
    # A shell that completes names ends those of folders in a slash.
    return source, _target(target.rstrip("/") or target, f"{option}={text!r}"), mode


def _target(path: str, what: str) -> str:
    if _is_in(path, _KERNELS):
        raise NO_KERNEL_FOLDER.refusal(what, "Choose another path.")
    if path in _OWN or _is_in(path, _SYSTEM):
        raise ValueError("a path that is none of the sandbox's own")
    return plain_path(path)


def _is_in(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _mount_text(value: object) -> str:
    """Return a mount as it is kept: with an absolute source, so that it means the same wherever it is read."""
    if not isinstance(value, str):
        raise ValueError("a text")
    mount = host_mount_of(value)
    return str(mount._replace(source=str(Path(mount.source).expanduser().absolute())))


def _volume_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return str(named_volume_of(value))


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _sorted(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _no_more(new: Iterable[Any], old: Iterable[Any]) -> bool:
    return set(new) <= set(old)


_Mount = Annotated[str, BeforeValidator(_mount_text)]
_Volume = Annotated[str, BeforeValidator(_volume_text)]
_MOUNT = (
    "SRC:DST, SRC:DST:ro or SRC:DST:rw, such as ~/data:/data, with an absolute path that is none of the sandbox's own"
)
_VOLUME = "NAME:/PATH, with :ro or :rw, such as cache:/cache, with a path that is none of the sandbox's own"


class MountPolicy(Policy):
    """What a sandbox sees besides the repository."""

    mount: Annotated[
        tuple[_Mount, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Field(max_length=_MANY),
        Option("mount", _MOUNT, _no_more, many=True),
    ] = ()
    """Files and folders of the host, read-only where ``rw`` does not follow. Secrets in them are masked."""
    volume: Annotated[
        tuple[_Volume, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Field(max_length=_MANY),
        Option("volume", _VOLUME, _no_more, many=True),
    ] = ()
    """Volumes that the engine keeps under a name, also when the sandbox is gone; made when they are first used."""

    @property
    def mounts(self) -> tuple[HostMount, ...]:
        """The mounts, taken apart."""
        return tuple(map(host_mount_of, self.mount))

    @property
    def volumes(self) -> tuple[NamedVolume, ...]:
        """The volumes, taken apart."""
        return tuple(map(named_volume_of, self.volume))

    @property
    def writable(self) -> tuple[Path, ...]:
        """The files and folders of the host that the code may write to."""
        return tuple(Path(each.source) for each in self.mounts if not each.read_only)
