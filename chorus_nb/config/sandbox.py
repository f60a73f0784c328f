"""Everything that makes one sandbox, and the flat options that people set it by."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ..errors import ConfigurationError, PolicyRefusedError
from .git import GitPolicy
from .limits import ResourceLimits
from .mounts import MountPolicy
from .network import NetworkPolicy
from .option import Option, Policy, free, options_of
from .output import OutputPolicy
from .repository import RepositoryMount
from .rules import REFUSED, refuse_outright, refused_option
from .security import SecurityPolicy
from .units import DurationS, size_text

MIRROR = "mirror"
"""The image name that stands for the notebook's own interpreter and packages, mounted read-only."""

_DURATION_S: TypeAdapter[float] = TypeAdapter(DurationS)

_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Value = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_NAMES_AND_TEXTS = "names of letters, digits and underscores, no digit first, each with a text without null characters"


class SandboxConfig(Policy):
    """Everything that makes one sandbox. Two equal configurations are interchangeable."""

    # An image gives its code no rights: it is locked like any other, and never pulled.
    image: Annotated[
        str,
        Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]*$"),
        Option("image", "mirror, or the name of an image, such as python:3.11-slim", free),
    ] = MIRROR
    """``mirror``, or a local image with CPython 3.8 or later, by tag or digest."""
    limits: ResourceLimits = ResourceLimits()
    network: NetworkPolicy = NetworkPolicy()
    security: SecurityPolicy = SecurityPolicy()
    repository: RepositoryMount = RepositoryMount()
    mounts: MountPolicy = MountPolicy()
    git: GitPolicy = GitPolicy()
    output: OutputPolicy = OutputPolicy()
    environment: Annotated[Mapping[_Name, _Value], Option("env", _NAMES_AND_TEXTS, many=True)] = Field(
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
            refuse_outright(name, value)
            section, field = _place(name)
            (values[section] if section else values)[field] = value
        if "network" in options:
            values["network"] = NetworkPolicy.of_mode(values["network"], {_place(name)[1] for name in options})
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
        value, field = self.option(name), _place(name)[1]
        if value is None or value in ({}, ()):
            return "none"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, Mapping | tuple):
            return ",".join(map(str, value))
        if field.endswith("_s"):
            return f"{value:g}s"
        return size_text(value) if field.endswith("_bytes") else str(value)


def _declared() -> Iterator[tuple[str, str, Option]]:
    """Yield section, field and option of every field, section by section."""
    sections = [(name, info.annotation) for name, info in SandboxConfig.model_fields.items()]
    top = dict(options_of(SandboxConfig))
    for section, model in sections:
        if section in top:
            yield "", section, top[section]
        elif isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((section, field, option) for field, option in options_of(model))


OPTIONS: Mapping[str, Option] = {option.name: option for _, _, option in _declared()}
"""Every flat option, by name."""

_PLACES: Mapping[str, tuple[str, str]] = {option.name: (section, field) for section, field, option in _declared()}

SECTIONS: Mapping[str, tuple[str, ...]] = {
    section: tuple(name for name, place in _PLACES.items() if place[0] == section)
    for section in dict.fromkeys(section for section, _ in _PLACES.values())
}
"""The names of the options by the part of the configuration that they are of; ``""`` for the sandbox as a whole."""


def choices(name: str) -> tuple[str, ...]:
    """Return all values that an option can have, as people type them; none where there is no end of them."""
    annotation: Any = _field(name).annotation
    if annotation is bool:
        return "true", "false"
    return tuple(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ()


def meaning(name: str) -> str:
    """Return what an option is about, in plain text."""
    text = re.sub(r":\w+:`([^`]*)`", r"\1", _field(name).description or "")
    return " ".join(text.replace("``", "").split())


def _field(name: str) -> FieldInfo:
    section, field = _place(name)
    info = SandboxConfig.model_fields[section or field]
    model: Any = info.annotation
    found: FieldInfo = model.model_fields[field] if section else info
    return found


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
    if name not in _PLACES:
        raise unknown_option(name, OPTIONS)
    return _PLACES[name]


def unknown_option(name: str, known: Iterable[str]) -> ConfigurationError:
    """Return what to raise for a name that is none of the options: with the one that was probably meant.

    A name that Docker has and that a sandbox never gets is refused by its rule (:data:`chorus_nb.config.REFUSED`).
    """
    if name in REFUSED:
        return refused_option(name)
    near = difflib.get_close_matches(name, list(known), n=1)
    meant = f"Did you mean {near[0]!r}? " if near else ""
    return ConfigurationError(f"There is no option {name!r}.", next_step=f"{meant}The options are {', '.join(known)}.")


def _explain(error: ValidationError) -> ConfigurationError:
    """Put pydantic's first finding into the words of the option that the user typed."""
    finding = error.errors(include_url=False)[0]
    if isinstance(refusal := finding.get("ctx", {}).get("error"), PolicyRefusedError):
        return refusal  # It names the rule, which is more than what is allowed.
    location = tuple(str(part) for part in finding["loc"])
    name = next((name for name, place in _PLACES.items() if location[: 2 if place[0] else 1] == _path(place)), None)
    if name is None:  # It is about several fields, and speaks for itself.
        return ConfigurationError(finding["msg"].removeprefix("Value error, "))
    key = f"[{location[1]!r}]" if name == "env" and len(location) == 2 else ""
    # A variable's value may be secret; what stands in its name's place is shown.
    hidden = name == "env" and location[-1] != "[key]"
    given = f"({type(finding['input']).__name__})" if hidden else repr(finding["input"])
    given = given if len(given) <= 80 else f"{given[:77]}..."
    return ConfigurationError(f"{name}{key}={given} is not allowed.", next_step=f"Allowed: {OPTIONS[name].allowed}.")


def _path(place: tuple[str, str]) -> tuple[str, ...]:
    return place if place[0] else place[1:]
