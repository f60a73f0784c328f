"""Tab completion of the magic lines: options, their values, subcommands and the names of sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import OPTIONS, choices
from .errors import ChorusError
from .magic_line import MATRIX_OPTIONS
from .options import flag
from .settings import PROFILES, user_configuration

if TYPE_CHECKING:
    from .magics import SandboxMagics

_HINTS = {"image": ["mirror"], "memory": ["256m", "512m", "1g", "2g"]}
_VALUES = {
    **{flag(name): [*choices(name), *_HINTS.get(name, [])] for name in OPTIONS},
    "--gauge": ["on", "off"],
    "--lang": ["python", "sh"],
    "--timeout": [],
    "--matrix": [f"{option}=" for option in MATRIX_OPTIONS],
}
_FLAGS = ["--fresh", "--bg", "-i", "-o"]
_REPEATABLE = {"--matrix", *(flag(name) for name, option in OPTIONS.items() if option.many)}
_TAKE_NAME = {"status", "start", "stop", "restart", "interrupt", "kill", "logs", "config"}


class Completions:
    """The hook that IPython asks for the words that may come next."""

    def __init__(self, magics: SandboxMagics) -> None:
        self._magics = magics

    def install(self, shell: Any) -> None:
        """Register for both magics."""
        for name in ("%%sandbox", "%sandbox"):
            shell.set_hook("complete_command", self._complete, str_key=name)

    def _complete(self, shell: Any, event: Any) -> list[str]:
        text = event.text_until_cursor.split("\n")[-1]
        words = text.split()
        before = words if text.endswith(" ") or not words else words[:-1]
        return self.words(before) if before else []

    def words(self, before: list[str]) -> list[str]:
        """Return what may follow the words of the line so far, the magic itself included."""
        magic, *rest = before
        names = [session.name for session in self._magics.manager.sessions()]
        if magic == "%sandbox":
            if not rest:
                return self._magics.commands.names
            for table in (self._magics.commands.review, self._magics.commands.transfer):
                if rest[0] in table.table:
                    return table.completions(rest)
            if rest[0] not in ("start", "on"):
                return names if len(rest) == 1 and rest[0] in _TAKE_NAME else []
            rest = rest[1:]
        if rest and rest[-1] == "--profile":
            return _profiles()
        if rest and rest[-1] in _VALUES:
            return _VALUES[rest[-1]]
        unused = [option for option in [*_VALUES, "--profile", *_FLAGS] if option not in rest or option in _REPEATABLE]
        return unused if rest else names + unused


def _profiles() -> list[str]:
    try:
        return user_configuration().profile_names
    except ChorusError:
        return list(PROFILES)
