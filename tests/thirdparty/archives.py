"""The source archives that the notebooks come from: pinned, fetched by pip, and never built.

pip asks the build backend of every source archive for its metadata, even where it only downloads. A backend needs
packages, some a compiler, and runs code of the archive; so stand-ins answer with what the archive says of itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CACHE = REPOSITORY / ".third-party"
PINS = Path(__file__).with_name("archives.txt")
BACKENDS = ("flit_core.buildapi", "hatchling.build", "mesonpy", "setuptools.build_meta")

STAND_IN = """\
import email, pathlib, re, sys

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    text = pathlib.Path("PKG-INFO").read_text(encoding="utf-8")
    headers = email.message_from_string(text)
    name = re.sub("[-_.]+", "_", headers["Name"])
    folder = pathlib.Path(metadata_directory, f"{name}-{headers['Version']}.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(text, encoding="utf-8")
    return folder.name

__legacy__ = sys.modules[__name__]
"""


class Pin(NamedTuple):
    """One archive: its project, its version and the SHA-256 of the file."""

    project: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where the archive is kept."""
        return CACHE / f"{self.project}-{self.version}.tar.gz"

    def is_kept(self) -> bool:
        """Whether the archive is there, whole and as pinned."""
        return self.path.is_file() and hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


def read_pins() -> dict[str, Pin]:
    """Return the pins of ``archives.txt``, by project."""
    pattern = re.compile(r"^([\w-]+)==(\S+) --hash=sha256:([0-9a-f]{64})$", re.MULTILINE)
    return {match[0]: Pin(*match) for match in pattern.findall(PINS.read_text())}


def fetch() -> dict[str, Pin]:
    """Return the pins, after fetching what is not kept yet.

    Raises
    ------
    RuntimeError
        With pip's own words, which name what could not be fetched or is not what was pinned.
    """
    pins = read_pins()
    missing = [pin for pin in pins.values() if not pin.is_kept()]
    if missing:
        _download(missing)
    if wrong := [pin.path.name for pin in missing if not pin.is_kept()]:
        raise RuntimeError(f"pip fetched these third-party archives, but not as pinned: {', '.join(wrong)}")
    return pins


def _download(pins: list[Pin]) -> None:
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text("".join(f"{p.project}=={p.version} --hash=sha256:{p.sha256}\n" for p in pins))
        _make_stand_ins(Path(scratch, "backends"))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        command += [
            "--no-build-isolation",
            "--use-pep517",
            "--require-hashes",
            f"--dest={CACHE}",
            f"--requirement={requirements}",
        ]
        environment = os.environ | {"PYTHONPATH": str(Path(scratch, "backends"))}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"Third-party archives could not be fetched. pip says:\n{done.stderr}")


def _make_stand_ins(folder: Path) -> None:
    for backend in BACKENDS:
        path = folder.joinpath(*backend.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN)
        # A package with this file wins over an installed one; one without would not.
        path.with_name("__init__.py").touch()


def unpack(pin: Pin, folders: set[str], destination: Path) -> None:
    """Unpack the files of some folders of an archive below ``destination``, without the archive's top folder."""
    top = pin.path.name.removesuffix(".tar.gz") + "/"
    # File by file: Debian 12's Python has no extraction filters yet.
    with tarfile.open(pin.path) as archive:
        for entry in archive:
            name = PurePosixPath(entry.name.removeprefix(top))
            wanted = any(name.is_relative_to(folder) for folder in folders) and ".." not in name.parts
            content = archive.extractfile(entry) if wanted and entry.isfile() else None
            if content:
                (destination / name).parent.mkdir(parents=True, exist_ok=True)
                (destination / name).write_bytes(content.read())
