"""The options that hold for a sandbox and its cells, each with where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..config import OPTIONS, SandboxConfig
from ..errors import ConfigurationError
from ..options import CELL_OPTIONS

NAMES = (*OPTIONS, *CELL_OPTIONS)
"""Every option that has a value; ``profile`` only says where they start from."""


@dataclass(frozen=True, slots=True)
class Source:
    """What gave an option its value.

    Attributes
    ----------
    label : str
        For a table: short, and the same on every machine where it can be.
    full : str
        For messages: with the whole path.
    own : bool
        Whether it is the user's word: False for what comes with a repository or a notebook.
    """

    label: str
    full: str = ""
    own: bool = True

    def __str__(self) -> str:
        return self.full or self.label


BUILT_IN = Source("default")
"""Where an option comes from that nobody has set."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that holds for a sandbox and its cells.

    Attributes
    ----------
    config : SandboxConfig
        How the sandbox is made.
    gauge : str
        ``on`` or ``off``: the strip above each cell's output.
    profile : str
        The profile that the values started from.
    sources : mapping of str to Source
        Where options come from that are not the built-in defaults.
    """

    config: SandboxConfig = field(default_factory=SandboxConfig)
    gauge: str = "on"
    profile: str = "default"
    sources: Mapping[str, Source] = field(default_factory=dict, compare=False)

    def changed(self, options: Mapping[str, Any], source: Source) -> Settings:
        """Return it with options put in. Variables of ``env`` add to those that are there.

        Raises
        ------
        ConfigurationError
            For an option that is not there, or a value that is not allowed.
        """
        flat = {name: value for name, value in options.items() if name not in CELL_OPTIONS}
        if isinstance(flat.get("env"), Mapping):
            flat["env"] = {**self.config.environment, **flat["env"]}
        sources = {**self.sources, **dict.fromkeys(options, source)}
        changed = replace(self, config=SandboxConfig.from_options(self.config, **flat), sources=sources)
        if "gauge" in options:
            changed = replace(changed, gauge=_gauge(options["gauge"]))
        return changed

    def tightened(
        self,
        options: Mapping[str, Any],
        source: Source,
        pass_over: Callable[[str, Settings], bool],
        refuse: Callable[[str], Exception],
    ) -> Settings:
        """Return it with options put in as far as they are no looser than what holds.

        Parameters
        ----------
        pass_over : callable
            Takes the name of an option that would loosen, and the settings with all of them in. True leaves the option
            as it was; False refuses.
        refuse : callable
            Makes the error for the name of an option that would loosen.
        """
        asked = self.changed(options, source)
        looser = [name for name in options if not no_looser(name, asked, self)]
        for name in looser:
            if not pass_over(name, asked):
                raise refuse(name)
        tighter = [name for name in options if name not in looser and asked.value(name) != self.value(name)]
        return self.changed({name: options[name] for name in tighter}, source)

    def value(self, name: str) -> Any:
        """Return the value of an option."""
        if name in OPTIONS:
            return self.config.option(name)
        return self.gauge if name == "gauge" else self.profile

    def text(self, name: str) -> str:
        """Return the value of an option as people write it."""
        return self.config.option_text(name) if name in OPTIONS else str(self.value(name))

    def source(self, name: str) -> Source:
        """Return where the value of an option comes from."""
        return self.sources.get(name, BUILT_IN)


def no_looser(name: str, new: Settings, old: Settings) -> bool:
    """Whether an option has a value in ``new`` that gives the code no more than the one in ``old``."""
    return name == "gauge" or OPTIONS[name].tighter(new.value(name), old.value(name))


def _gauge(value: object) -> str:
    if value not in ("on", "off"):
        raise ConfigurationError(f"gauge={value!r} is not allowed.", next_step="Allowed: on or off.")
    return str(value)
