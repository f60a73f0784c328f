"""What was mounted into a container and what was masked there, compared with what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from .control import Control
from .engines.base import GIT_DIRECTORY, WORKSPACE, ContainerSpec, Mask
from .mountinfo import MountPoint, mount_at


def mount_controls(mounts: list[MountPoint], spec: ContainerSpec, own_kernel: bool) -> Iterator[Control]:
    """Compare the mounts and masks with what was asked for: one control for each mount, one for all of git's.

    Parameters
    ----------
    mounts : list of MountPoint
        As the sandbox has them.
    spec : ContainerSpec
    own_kernel : bool
        Whether its kernel is not the host's: gVisor names no root of what is mounted.
    """
    asked = {
        **{mount.target: mount.read_only for mount in spec.mounts if mount not in spec.image.mounts},
        **{volume.target: volume.read_only for volume in spec.volumes if volume.name},
    }
    controls = {path: _mount(mounts, path, read_only) for path, read_only in asked.items() if path != WORKSPACE}
    yield from (control for path, control in controls.items() if not _is_gits(path))
    if of_git := [control for path, control in controls.items() if _is_gits(path)]:
        lost = [control.name.removeprefix("mount ") for control in of_git if not control.in_force]
        yield Control("git's settings", "protected", f"all but {lost[0]!r}" if lost else "protected", not lost)
    if spec.masks:
        yield _masks(mounts, spec, own_kernel)


def _mount(mounts: list[MountPoint], path: str, read_only: bool) -> Control:
    mount = mount_at(mounts, path)
    found = "none" if mount is None or mount.path != path else "read-only" if mount.read_only else "writable"
    in_force = found == "read-only" or (found == "writable" and not read_only)
    return Control(f"mount {path}", "read-only" if read_only else "writable", found, in_force)


def _is_gits(path: str) -> bool:
    return ".git" in path.split("/") or path == GIT_DIRECTORY or path.startswith(f"{GIT_DIRECTORY}/")


def _masks(mounts: list[MountPoint], spec: ContainerSpec, own_kernel: bool) -> Control:
    """What is masked of mounted folders: each mask lies on its folder's mount, and nothing lies on the mask."""
    roots = {*(mount.target for mount in spec.mounts), *(volume.target for volume in spec.volumes)}
    folders = {mount.id for root in roots if (mount := mount_at(mounts, root)) and mount.path == root}
    covered = {mount.parent for mount in mounts}
    in_force = {
        mount.path: mount.kind == "tmpfs" and mount.read_only
        for mount in mounts
        if mount.parent in folders
        and mount.id not in covered
        and (own_kernel or is_null(mount) or mount.kind == "tmpfs")
    }
    seen = [mask for mask in spec.masks if mask.path not in in_force or (mask.is_folder and not in_force[mask.path])]
    return Control("masked files", _counted(spec.masks), _but(spec.masks, seen), not seen)


def _counted(masks: Sequence[Mask]) -> str:
    folders = sum(mask.is_folder for mask in masks)
    numbers = ((len(masks) - folders, "file"), (folders, "folder"))
    return ", ".join(f"{number} {word}{'s' * (number != 1)}" for number, word in numbers if number)


def _but(masks: Sequence[Mask], seen: Sequence[Mask]) -> str:
    """Name one that can be seen: a list of hundreds would help nobody."""
    return f"all but {len(seen)}, such as {seen[0].path!r}" if seen else _counted(masks)


def is_null(mount: MountPoint) -> bool:
    """Whether it is the null device that lies there."""
    return PurePosixPath(mount.root).name == "null" and mount.kind in ("tmpfs", "devtmpfs")
