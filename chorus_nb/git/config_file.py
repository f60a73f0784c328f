"""Files in the syntax of git's configuration (git-config(1), "CONFIGURATION FILE"): read, cleared of secrets, written.

Read here, not by git: what a sandbox may see of such a file must not depend on whether this machine has git.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

MASK = "masked-by-chorus-nb"
"""What stands in a sanitised file in the place of a secret."""

_HEADER = re.compile(r'\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\\n]|\\.)*)")?\s*\]')
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_BLANK = re.compile(r"(?:\s|[#;][^\n]*)*")
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", "\\": "\\", '"': '"'}

# What is before the last "@" of the part that names the host: with HTTP, a user's name is as often a token.
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/?#\s]*)@")
_QUERY = re.compile(r"([?&][^=&#\s]*(?:token|key|secret|pass|auth|sig)[^=&#\s]*=)[^&#\s]+", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(pass|passwd|password|passphrase|token|secret|apikey|extraheader|cookiefile)$")


class GitConfigError(ValueError):
    """This is no configuration that git would read."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of it.

    Attributes
    ----------
    section, name : str
        In lower case, as git compares them.
    subsection : str or None
    value : str or None
        None where there is no ``=``, which git takes for true.
    """

    section: str
    subsection: str | None
    name: str
    value: str | None

    @property
    def key(self) -> str:
        """``section.name``, without the subsection."""
        return f"{self.section}.{self.name}"


def parse_config(text: str) -> list[Setting]:
    """Read a file. Raises :class:`GitConfigError` where git would not."""
    settings: list[Setting] = []
    section: tuple[str, str | None] | None = None
    at = _after(_BLANK, text, 1 if text.startswith("\ufeff") else 0)
    while at < len(text):
        if text[at] == "[":
            section, at = _header(text, at)
        else:
            setting, at = _setting(text, at, section)
            settings.append(setting)
        at = _after(_BLANK, text, at)
    return settings


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _header(text: str, at: int) -> tuple[tuple[str, str | None], int]:
    found = _HEADER.match(text, at)
    if not found:
        raise GitConfigError("a section without an end")
    name, dot, rest = found[1].partition(".")
    if found[2] is not None:
        return (found[1].lower(), re.sub(r"\\(.)", r"\1", found[2])), found.end()
    return (name.lower(), rest.lower() if dot else None), found.end()


def _setting(text: str, at: int, section: tuple[str, str | None] | None) -> tuple[Setting, int]:
    found = _NAME.match(text, at)
    if not found or section is None:
        raise GitConfigError("a line that is no setting")
    at = _after(re.compile(r"[ \t\r]*"), text, found.end())
    if text[at : at + 1] == "=":
        value, at = _value(text, at + 1)
        return Setting(*section, found[0].lower(), value), at
    if text[at : at + 1] not in ("", "\n", "#", ";"):
        raise GitConfigError("a line that is no setting")
    return Setting(*section, found[0].lower(), None), at


def _value(text: str, at: int) -> tuple[str, int]:
    """Read up to the end of the line: quotes, escapes, comments, lines that go on, blanks at both ends."""
    pieces: list[str] = []
    kept, quoted = 0, False
    while at < len(text) and text[at] != "\n":
        char = text[at]
        if char == "\\":
            char, at = _escaped(text, at)
            pieces.append(char)
            kept = len(pieces) if char else kept
            continue
        at += 1
        if char == '"':
            quoted = not quoted
            kept = len(pieces)
        elif char in "#;" and not quoted:
            at = _after(re.compile(r"[^\n]*"), text, at)
        elif quoted or not char.isspace() or kept:
            pieces.append(char)
            kept = len(pieces) if quoted or not char.isspace() else kept
    if quoted:
        raise GitConfigError("a quote without an end")
    return "".join(pieces[:kept]), at


def _escaped(text: str, at: int) -> tuple[str, int]:
    found = re.compile(r"\\(\r?\n|\Z)").match(text, at)
    if found:
        return "", found.end()
    char = text[at + 1 : at + 2]
    if char not in _ESCAPES:
        raise GitConfigError("an escape that git does not know")
    return _ESCAPES[char], at + 2


def format_config(settings: Iterable[Setting]) -> str:
    """Write a file that reads as ``settings``."""
    lines, last = [], None
    for each in settings:
        if (each.section, each.subsection) != last:
            last = (each.section, each.subsection)
            sub = "" if each.subsection is None else f' "{_quoted(each.subsection)}"'
            lines.append(f"[{each.section}{sub}]")
        lines.append(f"\t{each.name}" if each.value is None else f'\t{each.name} = "{_quoted(each.value, value=True)}"')
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str, *, value: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return text.replace("\n", "\\n").replace("\t", "\\t").replace("\b", "\\b") if value else text


def without_secrets(settings: Iterable[Setting]) -> list[Setting]:
    """Return settings with user names and passwords of URLs, headers that log in, and the like taken out."""
    return [_sanitised(each) for each in settings]


def _sanitised(setting: Setting) -> Setting:
    subsection = setting.subsection and clear_url(setting.subsection)
    value = setting.value and clear_url(setting.value)
    # A helper is a program, or one with the password in its line: neither works inside, nor is it to be seen there.
    if setting.value and (_SECRET_NAME.search(setting.name) or setting.key == "credential.helper"):
        value = "" if setting.section == "credential" else MASK
    return replace(setting, subsection=subsection, value=value)


def clear_url(text: str) -> str:
    """Return text with what may be a secret taken out of the URLs in it; ``ssh://git@host`` keeps its user."""

    def clear(found: re.Match[str]) -> str:
        user = found["user"].partition(":")[0]
        is_web = found["scheme"].lower().startswith(("http", "ftp"))
        return found["scheme"] + ("" if is_web or not user else f"{user}@")

    return _QUERY.sub(rf"\g<1>{MASK}", _USER.sub(clear, text))


def value_of(settings: Iterable[Setting], key: str) -> str | None:
    """Return what holds of ``section.name``: the last; None where it is not set, ``true`` for one without a value."""
    values = [
        "true" if each.value is None else each.value for each in settings if each.key == key and not each.subsection
    ]
    return values[-1] if values else None
