"""How a container is locked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .capabilities import added_capability, dropped_capability
from .devices import Device, device_of, device_text
from .folders import Tmpfs, plain_path, tmpfs_of, tmpfs_text
from .option import Option, Policy, in_order, same

NOBODY = "65534:65534"
DEFAULT, UNCONFINED, DISABLE = "default", "unconfined", "disable"
_MANY = 64


def _same_or_nobody(new: object, old: object) -> bool:
    return new in (old, NOBODY)


def _no_more(new: Iterable[Any], old: Iterable[Any]) -> bool:
    return set(new) <= set(old)


def _no_fewer(new: Iterable[Any], old: Iterable[Any]) -> bool:
    return set(new) >= set(old)


def _same_or_confined(new: object, old: object) -> bool:
    return new == old or old in (UNCONFINED, (DISABLE,))


def _listed(value: object) -> object:
    """Take one for a list of one, as somebody types it who needs no more."""
    return (value,) if isinstance(value, str | int) else value


def _sorted(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two lists of the same are equal, in whichever order they were given."""
    return tuple(sorted(set(values)))


def _profile(value: object) -> object:
    """Keep a word; a path becomes absolute, so that it means the same wherever the sandbox is started."""
    if isinstance(value, Path) or (isinstance(value, str) and value.strip() and value not in (DEFAULT, UNCONFINED)):
        return str(Path(value).expanduser().absolute())
    return value


def _group(value: object) -> object:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:20])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("a number")


_Added = Annotated[str, BeforeValidator(added_capability)]
_Dropped = Annotated[str, BeforeValidator(dropped_capability)]
_Device = Annotated[str, BeforeValidator(device_text)]
_Tmpfs = Annotated[str, BeforeValidator(tmpfs_text)]
_Path = Annotated[str, BeforeValidator(plain_path)]
_Group = Annotated[int, BeforeValidator(_group), Field(ge=0, lt=2**32 - 1)]
_Label = Annotated[str, Field(pattern=r"^(disable|(user|role|type|level):[A-Za-z0-9_.:,-]{1,200})$")]

_LABELS = "disable, or user:, role:, type: or level: with a value, such as type:container_t"
_PATHS = "an absolute path inside the container, and none of the folders that everything needs"
_TMPFS = "PATH, PATH:SIZE or PATH:SIZE,exec, such as /scratch:64m; not /tmp and the home folder, whose size is tmp"


class SecurityPolicy(Policy):
    """How the container is locked. All capabilities are dropped, but for those that are added by name."""

    user: Annotated[
        Annotated[str, Field(pattern=r"^\d{1,10}:\d{1,10}$")] | None,
        Option("user", "UID:GID in numbers, such as 1000:1000", _same_or_nobody),
    ] = None
    """``UID:GID`` to run as; None picks the notebook's own user, or nobody where that is root and need not be."""
    group_add: Annotated[
        tuple[_Group, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Field(max_length=_MANY),
        Option("group_add", "numbers of groups, such as 44", _no_more, many=True),
    ] = ()
    """Groups that the user is in besides its own, by number."""
    cap_add: Annotated[
        tuple[_Added, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Option("cap_add", "names of capabilities, such as NET_RAW", _no_more, many=True),
    ] = ()
    """Capabilities that the code has (capabilities(7)), with ``CAP_`` or without. Docker gives them to root alone."""
    cap_drop: Annotated[
        tuple[_Dropped, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Option("cap_drop", "names of capabilities, such as NET_RAW, or ALL", _no_fewer, many=True),
    ] = ()
    """What of ``cap_add`` the code has not, wherever that was added. ``ALL`` are dropped to begin with."""
    no_new_privileges: Annotated[bool, Option("no_new_privileges", "True or False", in_order(True, False))] = True
    """Whether programs with the set-user-ID bit or file capabilities give no rights (``PR_SET_NO_NEW_PRIVS``)."""
    seccomp: Annotated[
        Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")],
        BeforeValidator(_profile),
        Option("seccomp", "default, the path of a profile, or unconfined", _same_or_confined),
    ] = DEFAULT
    """System calls that are allowed: the engine's ``default``, those of a profile in a file, or ``unconfined``: all."""
    apparmor: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,200}$")],
        Option("apparmor", "default, the name of a loaded profile, or unconfined", _same_or_confined),
    ] = DEFAULT
    """The AppArmor profile, on hosts that have AppArmor: the engine's ``default``, a name, or ``unconfined``."""
    selinux: Annotated[
        tuple[_Label, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Field(max_length=4),
        Option("selinux", _LABELS, _same_or_confined, many=True),
    ] = ()
    """Parts of the SELinux label, on hosts that have SELinux; ``disable`` is none. The engine's own when left out."""
    userns: Annotated[
        Literal["default", "private"], Option("userns", "default or private", in_order("private", "default"))
    ] = "default"
    """``private``: only in a user namespace of its own, where root inside is nobody outside (``userns-remap``, rootless
    engines). ``default``: as the engine does it."""
    read_only_root: Annotated[bool, Option("read_only_root", "True or False", in_order(True, False))] = True
    """Mount the image read-only; only ``/tmp`` and the home folder take writes."""
    tmpfs: Annotated[
        tuple[_Tmpfs, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Field(max_length=_MANY),
        Option("tmpfs", _TMPFS, _no_more, many=True),
    ] = ()
    """More folders in memory that take writes; as large as ``/tmp`` where no size is given. No programs can be run from
    there without ``exec``, and none with set-user-ID rights and no devices be used."""
    masked_paths: Annotated[
        tuple[_Path, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Field(max_length=_MANY),
        Option("masked_paths", _PATHS, _no_fewer, many=True),
    ] = ()
    """Files and folders that are empty for the code, besides those that the engine masks anyway."""
    read_only_paths: Annotated[
        tuple[_Path, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Field(max_length=_MANY),
        Option("read_only_paths", _PATHS, _no_fewer, many=True),
    ] = ()
    """Files and folders that take no writes, besides those that the engine protects anyway."""
    devices: Annotated[
        tuple[_Device, ...],
        BeforeValidator(_listed),
        AfterValidator(_sorted),
        Field(max_length=_MANY),
        Option("devices", "/dev/NAME, /dev/NAME:/dev/OTHER or /dev/NAME:/dev/OTHER:rw", _no_more, many=True),
    ] = ()
    """Devices of the host; to be read and written where no ``r``, ``w`` or ``m`` says otherwise."""
    runtime: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] | None,
        Option("runtime", "the name of a runtime that the engine has, such as runc, crun, runsc or kata-runtime", same),
    ] = None
    """What starts the container, by the engine's name for it; None takes the engine's own choice."""

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What is added and not dropped again."""
        return tuple(name for name in self.cap_add if name not in self.cap_drop)

    @property
    def tmpfs_folders(self) -> tuple[Tmpfs, ...]:
        """The folders in memory, taken apart."""
        return tuple(map(tmpfs_of, self.tmpfs))

    @property
    def device_list(self) -> tuple[Device, ...]:
        """The devices, taken apart."""
        return tuple(map(device_of, self.devices))

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if DISABLE in self.selinux and len(self.selinux) > 1:
            raise ValueError("selinux='disable' leaves no label that could have other parts. Give one or the other.")
        paths = [folder.path for folder in self.tmpfs_folders]
        if twice := [path for path in dict.fromkeys(paths) if paths.count(path) > 1]:
            raise ValueError(f"tmpfs has two folders at {twice[0]!r}. Give one size for each.")
        return self
