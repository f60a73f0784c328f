"""What git in the sandbox gets of the host's git."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from .option import Option, Policy, in_order

_MANY = 64
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*\.([^\x00-\x20\x7f^\\]+\.)?[A-Za-z][A-Za-z0-9-]*")

# What makes git run a program or read another file, and what it logs in with (git-config(1)). Such a program is not in
# the sandbox, and a secret is not to be.
_REFUSED = (
    *("alias.*", "credential.*", "filter.*", "include.*", "includeif.*", "pager.*", "safe.*", "trace2.*", "url.*"),
    *("core.alternaterefscommand", "core.askpass", "core.attributesfile", "core.editor", "core.excludesfile"),
    *("core.fsmonitor", "core.gitproxy", "core.hookspath", "core.pager", "core.sshcommand", "core.worktree"),
    *("*.cmd", "*.command", "*.driver", "*.extraheader", "*.path", "*.program", "*.textconv", "*command"),
    *("diff.external", "init.templatedir", "interactive.difffilter", "sequence.editor", "uploadpack.packobjectshook"),
    *("http.cookiefile", "http.*.cookiefile", "http.sslcert", "http.*.sslcert", "http.sslkey", "http.*.sslkey"),
    *("imap.*", "sendemail.*", "remote.*", "*pass", "*password", "*token", "*secret", "*key"),
)


def refused_setting(name: str) -> bool:
    """Whether a setting never comes along: it runs a program, names a file, or may hold a secret."""
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in _REFUSED)


def _setting(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > 200 or refused_setting(name):
        raise ValueError("the name of a setting")
    return name


def _listed(value: object) -> object:
    """Take one for a list of one, and ``a,b`` as two: no name has a comma."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        return value
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _no_more(new: Iterable[str], old: Iterable[str]) -> bool:
    return {*new} <= {*old}


_SETTINGS = "names of git's settings, such as init.defaultBranch, but none that runs a program or may hold a secret"


class GitPolicy(Policy):
    """What git in the sandbox gets of the host's git. Name and e-mail of the user come along with the repository."""

    settings: Annotated[
        tuple[Annotated[str, AfterValidator(_setting)], ...],
        BeforeValidator(_listed),
        Field(max_length=_MANY),
        Option("git_config", _SETTINGS, _no_more, many=True),
    ] = ()
    """Settings of the host's git that hold in the sandbox, too, by name: with the value that they have in this
    repository."""
    credentials: Annotated[bool, Option("git_credentials", "True or False", in_order(False, True))] = False
    """Whether git in the sandbox gets user names and passwords from the host's ``git credential``: for hosts that the
    network lets through, for each request anew. Code in the sandbox can ask for them as well."""
    protect: Annotated[bool, Option("git_protect", "True or False", in_order(True, False))] = True
    """Whether ``repo=rw`` leaves git's settings and hooks read-only: the host's git runs what they name."""
