"""The rules of :mod:`chorus_nb.config.rules` where they are about files of the host: folders, sockets and devices."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from .config.devices import Device, refuse_by_name
from .config.rules import NO_ENGINE_SOCKET, NO_HOME_FOLDER, NO_HOST_DEVICE, NO_SYSTEM_FOLDER
from .engines.base import EngineHost
from .errors import ConfigurationError

# Refused with all they hold: configuration, secrets, devices and sockets of the host.
_SYSTEM_TREES = (
    "/bin /boot /dev /etc /lib /lib32 /lib64 /proc /run /sbin /sys /usr/bin /usr/lib /usr/sbin /var/lib/docker "
    "/var/run /Library /System /private/etc"
)
# Refused themselves: they hold other people's folders and sockets, but a repository may well lie below.
_SHARED_FOLDERS = (
    "/ /home /media /mnt /opt /root /srv /tmp /usr /usr/local /var /var/lib /var/tmp "
    "/Users /Volumes /private /private/tmp /private/var"
)
_SOCKETS = (
    "/var/run/docker.sock /run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock "
    "/run/crio/crio.sock /run/buildkit/buildkitd.sock /run/k3s/containerd/containerd.sock "
    "/var/run/cri-dockerd.sock /run/snap.docker/docker.sock"
)
_SOCKETS_AT_HOME = (
    ".docker/run/docker.sock .docker/desktop/docker.sock .colima/docker.sock .colima/default/docker.sock "
    ".orbstack/run/docker.sock .rd/docker.sock .lima/default/sock/docker.sock .finch/finch.sock"
)
_SOCKETS_OF_USER = "docker.sock podman/podman.sock containerd/containerd.sock"
_NEXT_FOLDER = "Move the notebook into a folder of its own, give another with repo_path, or use repo='none'."


def refuse_folder(folder: Path, next_step: str = _NEXT_FOLDER) -> None:
    """Refuse a folder that is more than a project or its data.

    Parameters
    ----------
    folder : Path
        What would be mounted, with links resolved.
    next_step : str
        What to do instead.

    Raises
    ------
    PolicyRefusedError
        It is, or holds, a home folder or a folder of the system.
    """
    what, home = f"The folder {str(folder)!r}", Path.home().resolve()
    if folder == home:
        raise NO_HOME_FOLDER.refusal(f"{what}, your home folder,", next_step)
    if folder in home.parents:
        raise NO_HOME_FOLDER.refusal(f"{what}, in which your home folder lies,", next_step)
    if str(folder) in _SHARED_FOLDERS.split():
        raise NO_SYSTEM_FOLDER.refusal(what, next_step)
    for tree in map(Path, _SYSTEM_TREES.split()):
        if folder.is_relative_to(tree) or folder.is_relative_to(tree.resolve()):
            raise NO_SYSTEM_FOLDER.refusal(f"{what}, which belongs to the system's {tree},", next_step)


def refuse_engine_sockets(paths: Iterable[Path], host: EngineHost, next_step: str = _NEXT_FOLDER) -> None:
    """Refuse mounts in which the socket of a container engine would be. Raises ``PolicyRefusedError``.

    A read-only mount is no help: a connection writes nothing to the file.
    """
    sockets = list(_sockets(host))
    for path in paths:
        for socket in sockets:
            if path == socket or path in socket.parents:
                where = "" if socket == path else f", which holds {str(socket)!r},"
                raise NO_ENGINE_SOCKET.refusal(f"A mount of {str(path)!r}{where}", next_step)


def _sockets(host: EngineHost) -> Iterator[Path]:
    """Yield where sockets of engines are, under each of their names: the engine's in use, and the usual ones."""
    known = [Path(each) for each in ([host.socket] if host.socket else []) + _SOCKETS.split()]
    known += [Path.home() / each for each in _SOCKETS_AT_HOME.split()]
    runtime_dir = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    known += [runtime_dir / each for each in _SOCKETS_OF_USER.split()]
    for path in known:
        if _exists(path):
            yield from dict.fromkeys((path, path.parent.resolve() / path.name, path.resolve()))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # In a folder that this user may not look into, and so can't mount.
        return False


def refuse_devices(devices: Iterable[Device], host: EngineHost) -> None:
    """Refuse devices that are none, and those that lead out of the sandbox, by whatever name they go.

    On an engine whose files are not this machine's, only their names are known.

    Raises
    ------
    PolicyRefusedError
        It is a disk, the host's memory, kernel, or what its people type.
    ConfigurationError
        There is no such device.
    """
    for device in devices if host.shares_files else ():
        real = Path(device.host).resolve()
        refuse_by_name(str(real), device.host)
        mode = _mode(real)
        if stat.S_ISBLK(mode):
            raise NO_HOST_DEVICE.refusal(f"devices={device.host!r} (a block device)", "Leave it out.")
        if not stat.S_ISCHR(mode):
            what = "is no device" if mode else "does not exist"
            raise ConfigurationError(
                f"devices={device.host!r}: {device.host} {what}.",
                next_step="Name each device, as `ls -l /dev` shows it.",
            )


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0
