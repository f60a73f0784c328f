"""Linux capabilities by name (capabilities(7)), and which of them a sandbox may have."""

from __future__ import annotations

from collections.abc import Iterable

from .rules import NO_WAY_OUT

NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
"""Every capability of Linux; the place in the row is the number of its bit (``linux/capability.h``)."""

ALLOWED = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE"),
    *("NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID"),
    "SYS_CHROOT",
)
"""What may be added: rights over the sandbox's own files, processes and network, as far as its namespaces go."""

_HOSTS_CLOCK = "it sets this machine's clock, or keeps it awake"
_HOSTS_KERNEL = "it reads or changes this machine's kernel"
_HOSTS_RECORDS = "it reads or changes this machine's own records and terminals"
_OWN_LIMITS = "it lifts the limits of the sandbox"

WAYS_OUT = {
    "SYS_ADMIN": "it mounts file systems and makes namespaces: root in all but name",
    "DAC_READ_SEARCH": "it opens any file of this machine by its handle, also outside of what is mounted",
    "SYS_PTRACE": "it takes over the supervisor, which reports what the sandbox does",
    "CHECKPOINT_RESTORE": "it takes over the supervisor, which reports what the sandbox does",
    "MKNOD": "it leaves nodes of this machine's disks in a folder that others can open",
    "LINUX_IMMUTABLE": "it leaves files in the repository that nobody can change or delete",
    **dict.fromkeys(("SYS_MODULE", "SYS_RAWIO", "SYS_BOOT", "BPF", "PERFMON", "SYSLOG"), _HOSTS_KERNEL),
    **dict.fromkeys(("MAC_ADMIN", "MAC_OVERRIDE"), "it changes or passes over AppArmor and SELinux"),
    **dict.fromkeys(("SYS_RESOURCE", "SYS_NICE"), _OWN_LIMITS),
    **dict.fromkeys(("SYS_TIME", "WAKE_ALARM", "BLOCK_SUSPEND"), _HOSTS_CLOCK),
    **dict.fromkeys(("AUDIT_CONTROL", "AUDIT_READ", "SYS_PACCT", "SYS_TTY_CONFIG"), _HOSTS_RECORDS),
}
"""What may not be added, and why: by each of them code has left a container, or undone what holds it."""


def known_capability(value: object) -> str:
    """Return the name in capital letters without ``CAP_``, as the kernel's documents have it.

    Raises
    ------
    ValueError
        Where Linux has no such capability.
    """
    name = str(value).strip().upper().removeprefix("CAP_")
    if not isinstance(value, str) or name not in NAMES:
        raise ValueError("the name of a capability")
    return name


def added_capability(value: object) -> str:
    """Return the name of a capability that a sandbox may have. Raises ``PolicyRefusedError`` for one that leads out."""
    if isinstance(value, str) and value.strip().upper() == "ALL":
        raise NO_WAY_OUT.refusal("cap_add='ALL'", f"Name those that the code needs, of {', '.join(ALLOWED)}.")
    name = known_capability(value)
    if name in WAYS_OUT:
        raise NO_WAY_OUT.refusal(
            f"cap_add={name!r} ({WAYS_OUT[name]})", f"Leave it out. Capabilities to be had: {', '.join(ALLOWED)}."
        )
    return name


def dropped_capability(value: object) -> str:
    """Return the name of a capability, or ``ALL``."""
    return "ALL" if isinstance(value, str) and value.strip().upper() == "ALL" else known_capability(value)


def mask_of(names: Iterable[str]) -> int:
    """Return the set as the kernel writes it: a bit for each capability."""
    return sum(1 << NAMES.index(name) for name in set(names))


def names_of(mask: int) -> list[str]:
    """Return the names of the bits in a set; of bits that are not known here, their numbers."""
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    return [NAMES[bit] if bit < len(NAMES) else f"capability {bit}" for bit in bits]
