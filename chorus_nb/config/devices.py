"""Devices of the host, by name: how one is asked for, and which are refused."""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from .rules import NO_HOST_DEVICE

_TEXT = re.compile(r"(?P<host>/dev/[^:\s]{1,200})(:(?P<inside>/dev/[^:\s]{1,200}))?(:(?P<access>[rwm]{1,3}))?")

_LEADING_OUT = (
    ("memory", r"mem|kmem|port|core|kcore|kmsg|nvram|crash|oldmem|snapshot|mshv.*|udmabuf|userfaultfd"),
    ("disks", r"[hsv]d[a-z]+\d*|xvd.*|nvme.*|mmcblk.*|loop.*|dm-.*|md.*|sr\d+|sg\d+|bsg|ram\d*|zram.*|nbd.*|rbd.*"),
    ("disks", r"mapper|disk|block|mtd.*|ubi.*|raw.*|pmem.*|dax.*|btrfs-control|bcache.*|fd\d+|st\d+|nst\d+|drbd.*"),
    ("kernel and machine", r"cpu|cpu_dma_latency|mei.*|ipmi.*|watchdog.*|tpm.*|rtc.*|hpet|autofs|cuse|rfkill|vga_.*"),
    ("kernel and machine", r"vfio|vhost.*|uio.*|i2c-.*|gpiochip.*|mcelog|acpi_.*|apm_bios|ppp|uhid|binder.*"),
    (
        "people at it",
        r"input|uinput|hidraw.*|console|tty\d*|tty[A-Z]?S\d+|vcs.*|pts|ptmx|fb\d+|userio|hid.*|psaux|mouse",
    ),
)
"""What each kind reaches, and the first part of its names below ``/dev`` (``devices.txt`` of the kernel's guide)."""


class Device(NamedTuple):
    """A device of the host in the container.

    ``host`` and ``inside`` are its paths in both; ``access`` is of ``r``, ``w`` and ``m`` (mknod).
    """

    host: str
    inside: str
    access: str

    def __str__(self) -> str:
        return f"{self.host}:{self.inside}:{self.access}"


def device_of(text: str) -> Device:
    """Read ``HOST[:CONTAINER[:rwm]]``. Raises ``ValueError`` for what is none."""
    match = _TEXT.fullmatch(text)
    if not match:
        raise ValueError("a device")
    host = match["host"]
    paths = (host, match["inside"] or host)
    if any(posixpath.normpath(path) != path for path in paths):
        raise ValueError("a device by its plain path")
    return Device(*paths, "".join(letter for letter in "rwm" if letter in (match["access"] or "rw")))


def device_text(value: object) -> str:
    """Return a device as it is kept, ``HOST:INSIDE:ACCESS``. Raises ``PolicyRefusedError`` for one that leads out."""
    if not isinstance(value, str):
        raise ValueError("the path of a device")
    device = device_of(value)
    refuse_by_name(device.host, device.host)
    return str(device)


def refuse_by_name(path: str, asked: str) -> None:
    """Raise ``PolicyRefusedError`` where a name below ``/dev`` is that of a device which leads out."""
    first = path.removeprefix("/dev/").partition("/")[0]
    for reached, names in _LEADING_OUT:
        if re.fullmatch(names, first):
            raise NO_HOST_DEVICE.refusal(f"devices={asked!r} (this machine's {reached})", "Leave it out.")
