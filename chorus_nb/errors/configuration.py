"""What was asked for can't be had, or may not be."""

from __future__ import annotations

from .base import ChorusError


class ConfigurationError(ChorusError, ValueError):
    """A value that was asked for can't be had: names the field, what was given and what is allowed."""

    category = "configuration"


class PolicyLoosenedError(ConfigurationError):
    """What came with a notebook or its repository asks for more than the user allows.

    Attributes
    ----------
    option : str
        The option it wanted to loosen.
    """

    category = "policy"

    def __init__(self, message: str, *, next_step: str = "", option: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.option = option


class PolicyRefusedError(ConfigurationError):
    """What was asked for is never given, whoever asks: it would end the isolation.

    Attributes
    ----------
    rule : str
        The rule that forbids it: a name of :mod:`chorus_nb.config.rules`.
    """

    category = "policy"

    def __init__(self, message: str, *, next_step: str = "", rule: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.rule = rule


class RepositoryNotFoundError(ConfigurationError, FileNotFoundError):
    """The folder to mount as the repository does not exist."""


class PolicyNotEnforcedError(ChorusError, RuntimeError):
    """A control that was asked for is not in force inside the container; the sandbox was ended.

    Attributes
    ----------
    controls : tuple of str
        The controls that are missing.
    """

    category = "policy"

    def __init__(self, message: str, *, next_step: str = "", controls: tuple[str, ...] = ()) -> None:
        super().__init__(message, next_step=next_step)
        self.controls = controls
