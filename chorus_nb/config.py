"""What a user may ask of a sandbox, checked before anything is created.

Every model is frozen and refuses unknown fields. Sizes and durations are taken as people write them (``512m``, ``30s``)
and kept as plain numbers with their unit in the name. A value that can't be had raises
:class:`~chorus_nb.errors.ConfigurationError`, which names the option, what was given and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from .errors import ConfigurationError

MIRROR = "mirror"
"""The image name that stands for the notebook's own interpreter and packages, mounted read-only."""

SMALLEST_MEMORY_BYTES = 48 * 2**20
"""Below this the agent and IPython do not start: they need about 30 MiB, and the kernel some room to reclaim."""

_SIZE = re.compile(r"(?P<number>\d{1,18}(\.\d{1,18})?)\s*(?P<unit>[bkmgt]?)(ib|b)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>ms|s|m|min|h)?", re.IGNORECASE)
_DURATION_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_size_bytes(value: object) -> object:
    """Read ``512m`` as 536870912, with Docker's binary units (``b``, ``k``, ``m``, ``g``, ``t``); numbers pass."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError("a size such as 512m or 1.5g")
    return int(float(match["number"]) * _SIZE_UNITS[match["unit"].lower()])


def parse_duration_s(value: object) -> object:
    """Read ``30s``, ``1.5m`` or ``2h`` as seconds; a bare number is seconds."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if not match:
        raise ValueError("a duration such as 30s, 5m or 1h")
    return float(match["number"]) * _DURATION_UNITS[(match["unit"] or "s").lower()]


SizeBytes = Annotated[int, BeforeValidator(parse_size_bytes), Field(le=2**60)]
DurationS = Annotated[float, BeforeValidator(parse_duration_s), Field(gt=0, allow_inf_nan=False)]


_DURATION_S: TypeAdapter[float] = TypeAdapter(DurationS)


_Value = Annotated[str, Field(pattern=r"^[^\x00]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ResourceLimits(_Model):
    """What a sandbox may use. The engine enforces each of these through the container's cgroup or its ulimits."""

    memory_bytes: Annotated[SizeBytes, Field(ge=SMALLEST_MEMORY_BYTES)] = 2**30
    """Memory with swap included, in bytes: the container gets no swap on top (``memory.max``)."""
    cpus: Annotated[float, Field(ge=0.01, le=4096, allow_inf_nan=False)] = 1.0
    """CPU time per wall-clock time; 1.5 is one and a half cores (``cpu.max``)."""
    pids: Annotated[int, Field(ge=16, le=2**22)] = 128
    """Processes and threads at one time (``pids.max``)."""
    open_files: Annotated[int, Field(ge=64, le=2**20)] = 1024
    """Open file descriptors of one process (``RLIMIT_NOFILE``)."""
    tmp_bytes: Annotated[SizeBytes, Field(ge=2**20)] = 256 * 2**20
    """Size of ``/tmp`` and of the home folder, in bytes each; both live in memory and count against its limit."""


class NetworkPolicy(_Model):
    """What a sandbox may reach."""

    mode: Literal["none", "bridge"] = "none"
    """``none``: no interface but loopback. ``bridge``: the engine's default network, with all it reaches."""


class SecurityPolicy(_Model):
    """How the container is locked. All capabilities are dropped and no privileges can be gained, always."""

    user: Annotated[str, Field(pattern=r"^\d{1,10}:\d{1,10}$")] | None = None
    """``UID:GID`` to run as; None picks the notebook's own user, or nobody where that is root and need not be."""
    read_only_root: bool = True
    """Mount the image read-only; only ``/tmp`` and the home folder take writes."""


class RepositoryMount(_Model):
    """Which folder of the host the sandbox sees at ``/workspace``, and whether it may write there."""

    mode: Literal["ro", "rw", "none"] = "ro"
    """``ro``: read-only. ``rw``: changes go straight to the host's files. ``none``: an empty folder."""
    path: Path | None = None
    """The folder; None takes the git top level around the working directory, else the working directory."""

    @field_validator("path", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path if path is None else path.expanduser().absolute()


OutputMode = Literal["safe", "trusted", "text"]
"""In which form displays reach the notebook."""


class OutputPolicy(_Model):
    """How much of what a cell puts out reaches the notebook, and in which form."""

    mode: OutputMode = "safe"
    """``safe``: what can act is shown in a frame that reaches neither the page nor the network. ``trusted``: displays
    pass as they are, and can act in the notebook page. ``text``: only their text."""

    max_bytes: Annotated[SizeBytes, Field(ge=1024)] = 10 * 2**20
    """Bytes of text and display data of one cell; what comes after is counted and dropped, with a notice."""


class SandboxConfig(_Model):
    """Everything that makes one sandbox. Two equal configurations are interchangeable."""

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$")] = MIRROR
    """``mirror``, or a local image with CPython 3.8 or later, by tag or digest."""
    limits: ResourceLimits = ResourceLimits()
    network: NetworkPolicy = NetworkPolicy()
    security: SecurityPolicy = SecurityPolicy()
    repository: RepositoryMount = RepositoryMount()
    output: OutputPolicy = OutputPolicy()
    environment: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], _Value] = Field(
        default_factory=dict
    )
    """Environment variables of the code in the sandbox."""

    @classmethod
    def from_options(cls, base: SandboxConfig | None = None, **options: Any) -> Self:
        """Build from flat options, as ``%%sandbox`` and :class:`~chorus_nb.Sandbox` take them.

        Parameters
        ----------
        base : SandboxConfig, optional
            Where options that are not given come from; the defaults when left out.
        **options
            Any key of :data:`OPTIONS`.

        Raises
        ------
        ConfigurationError
            For an unknown option, or a value that is not allowed.
        """
        values = (base or cls()).model_dump()
        for name, value in options.items():
            section, field = _place(name)
            (values[section] if section else values)[field] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _explain(error) from None

    def option(self, name: str) -> Any:
        """Return the value of a flat option."""
        section, field = _place(name)
        return getattr(getattr(self, section) if section else self, field)

    def option_text(self, name: str) -> str:
        """Return the value of a flat option as people write it; of the environment, which may be secret, the names."""
        value = self.option(name)
        if isinstance(value, Mapping):
            return ",".join(value)
        return _size_text(value) if _place(name)[1].endswith("_bytes") else str(value)


OPTIONS: Mapping[str, tuple[str, str]] = {
    "image": ("", "image"),
    "memory": ("limits", "memory_bytes"),
    "cpus": ("limits", "cpus"),
    "pids": ("limits", "pids"),
    "open_files": ("limits", "open_files"),
    "tmp": ("limits", "tmp_bytes"),
    "network": ("network", "mode"),
    "user": ("security", "user"),
    "read_only_root": ("security", "read_only_root"),
    "repo": ("repository", "mode"),
    "repo_path": ("repository", "path"),
    "output": ("output", "mode"),
    "max_output": ("output", "max_bytes"),
    "env": ("", "environment"),
}
"""The flat name of each option, and the section and field it sets."""


def allowed(name: str) -> str:
    """Return what a flat option takes, in the words of somebody who types it."""
    _place(name)
    return _ALLOWED[name]


def duration_s(option: str, value: float | str) -> float:
    """Read a duration that is no part of the configuration, such as a cell's timeout, in seconds."""
    try:
        return _DURATION_S.validate_python(value)
    except ValidationError as error:
        raise ConfigurationError(
            f"{option}={value!r} is not allowed.",
            next_step=f"Allowed: {error.errors()[0]['msg'].removeprefix('Value error, ')}.",
        ) from None


def _place(name: str) -> tuple[str, str]:
    if name not in OPTIONS:
        raise ConfigurationError(f"There is no option {name!r}.", next_step=f"The options are {', '.join(OPTIONS)}.")
    return OPTIONS[name]


def _explain(error: ValidationError) -> ConfigurationError:
    """Put pydantic's first finding into the words of the option that the user typed."""
    finding = error.errors(include_url=False)[0]
    location = tuple(str(part) for part in finding["loc"])
    name = next(name for name, place in OPTIONS.items() if location[: 2 if place[0] else 1] == _path(place))
    key = f"[{location[1]!r}]" if name == "env" and len(location) == 2 else ""
    # A variable's value may be secret; what stands in its name's place is shown.
    hidden = name == "env" and location[-1] != "[key]"
    given = f"({type(finding['input']).__name__})" if hidden else repr(finding["input"])
    given = given if len(given) <= 80 else f"{given[:77]}..."
    return ConfigurationError(f"{name}{key}={given} is not allowed.", next_step=f"Allowed: {_ALLOWED[name]}.")


def _path(place: tuple[str, str]) -> tuple[str, ...]:
    return place if place[0] else place[1:]


_ALLOWED: Mapping[str, str] = {
    "image": "mirror, or the name of an image, such as python:3.11-slim",
    "memory": f"a size of at least {SMALLEST_MEMORY_BYTES >> 20}m, such as 512m or 1.5g",
    "cpus": "a number from 0.01 to 4096, such as 1.5",
    "pids": "a whole number from 16 to 4194304",
    "open_files": "a whole number from 64 to 1048576",
    "tmp": "a size of at least 1m, such as 256m",
    "network": "none or bridge",
    "user": "UID:GID in numbers, such as 1000:1000",
    "read_only_root": "True or False",
    "repo": "ro, rw or none",
    "repo_path": "the path of a folder",
    "output": "safe, trusted or text",
    "max_output": "a size of at least 1k, such as 100m",
    "env": "names of letters, digits and underscores, no digit first, each with a text without null characters",
}


def _size_text(size_bytes: int) -> str:
    units = (("g", 2**30), ("m", 2**20), ("k", 2**10))
    return next((f"{size_bytes // n}{unit}" for unit, n in units if size_bytes % n == 0 < size_bytes), str(size_bytes))
