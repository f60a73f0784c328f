"""What git in the sandbox is told by environment (``GIT_CONFIG_COUNT``, git-config(1)): it goes before any file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..config import SandboxConfig
from ..errors import ConfigurationError
from .config_file import clear_url
from .host import git_program, settings_of
from .view import GitView

IDENTITY = ("user.name", "user.email")
_MAX_VALUE_CHARS = 4096

_ALWAYS = (
    # There is no key to sign with.
    *(("commit.gpgSign", "false"), ("tag.gpgSign", "false")),
    # To forget worktrees that are not to be seen from inside, and to pack what others read, is for the host's git.
    *(("gc.auto", "0"), ("maintenance.auto", "false"), ("gc.worktreePruneExpire", "never")),
    ("core.fsmonitor", "false"),
)
_NO_CREDENTIALS = (
    '!say() { test "$1" != get || echo \'chorus-nb: this sandbox has no git credentials. To have it use those of the '
    "host, add --git-credentials and make the session anew with --fresh.' >&2; }; say"
)
"""A helper that has nothing, and so is only asked where nobody else had."""


def git_variables(config: SandboxConfig, view: GitView, repository: Path | None) -> dict[str, str]:
    """Return the environment variables for git in a sandbox.

    Parameters
    ----------
    config : SandboxConfig
    view : GitView
        What is seen of the repository.
    repository : Path or None
        The folder on the host, for the user's name and what was asked for by name.

    Raises
    ------
    ConfigurationError
        What was asked for by name can't be had.
    """
    first = _number_of_own(config.environment)
    # Of a user whose repository the sandbox does not see, it learns nothing that was not asked for.
    nowhere = Path("/") if config.git.credentials or config.git.settings else None
    folder = repository or nowhere
    settings = [*_settings(config, view), *(_carried(config, folder) if folder else ())]
    variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (key, value) in enumerate(settings, first):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _number_of_own(environment: Mapping[str, str]) -> int:
    """Return how many settings the user gives the same way; ours come after them."""
    count = environment.get("GIT_CONFIG_COUNT", "")
    return int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 0


def _settings(config: SandboxConfig, view: GitView) -> Iterator[tuple[str, str]]:
    yield from _ALWAYS
    for worktree in view.worktrees:
        yield "safe.directory", worktree
    if view.worktrees:
        # Who clones from it; and, for git 2.46 and later, repositories that code makes in it.
        yield from (("safe.directory", f"{view.worktrees[0]}/.git"), ("safe.directory", f"{view.worktrees[0]}/*"))
    if config.network.mode != "none" and not config.git.credentials:
        yield "credential.helper", _NO_CREDENTIALS


def _carried(config: SandboxConfig, folder: Path) -> Iterator[tuple[str, str]]:
    asked = config.git.settings
    if asked and git_program() is None:
        raise ConfigurationError(
            f"git_config={','.join(asked)} can't be had: this machine has no git.",
            next_step="Install git, or leave it out.",
        )
    for name, value in settings_of(folder, dict.fromkeys((*IDENTITY, *asked))).items():
        if name in IDENTITY and name not in asked:
            value = "".join(char for char in value if char.isprintable())[:_MAX_VALUE_CHARS]
        elif clear_url(name + value) != name + value or len(value) > _MAX_VALUE_CHARS:
            raise ConfigurationError(
                f"git_config={name!r} can't be had: its value holds a user name, password or token, or is too long.",
                next_step="Leave it out, or set what the sandbox needs with env.",
            )
        if os.fsencode(value).isascii() or _is_text(value):
            yield name, value


def _is_text(value: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in value)
