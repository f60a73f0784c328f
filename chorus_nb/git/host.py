"""Calls of the host's git, none of which may do what a repository says.

In a repository that is not trusted git must not be asked for more than a setting: ``status`` and the like run what
``core.fsmonitor``, filters and hooks name. ``git config --get-regexp`` runs nothing: no pager where its output is none
of a terminal's, and no alias can have its name (git-config(1)).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

CONFIG_TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 2**16
# What of the environment git may be told where it is: all else that it reads by the name GIT_ could lead it elsewhere.
_KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH")

_SPECIAL = re.compile(r"[][.$*+?(){}|]")  # Of extended regular expressions, but for what no bracket can hold alone.


def git_program() -> str | None:
    """Return the path of the host's git, or None where it has none."""
    return shutil.which("git")


def git_environment(**changes: str) -> dict[str, str]:
    """Return the environment for a call that asks nobody: no terminal, no window, and of ``GIT_*`` what is harmless."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    own.pop("SSH_ASKPASS", None)
    return {**own, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8", **changes}


def run_git(
    arguments: Iterable[str],
    folder: Path,
    environment: Mapping[str, str],
    input_data: bytes = b"",
    timeout_s: float = CONFIG_TIMEOUT_S,
) -> bytes | None:
    """Run the host's git; return what it prints, or None where it fails, takes too long or prints too much.

    It has a session of its own, so no terminal, and all of it is ended with it.
    """
    program = git_program()
    if program is None:
        return None
    try:
        process = subprocess.Popen(
            [program, *arguments],
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None
    with process:
        try:
            output, _ = process.communicate(input_data, timeout_s)
        except subprocess.TimeoutExpired:
            output = b""
        finally:
            _end(process)
    return output if process.returncode == 0 and len(output) <= _MAX_ANSWER_BYTES else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of its process group: a helper that waits for somebody to click."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def settings_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return what the host's git has for settings in a repository, by the names as they were given.

    Parameters
    ----------
    folder : Path
        The repository. What its own configuration says goes before the user's, as with git itself.
    names : iterable of str
        Those that are not set are left out of the result.
    """
    asked = {_normal(name): name for name in names}
    if not asked:
        return {}
    pattern = "|".join(f"^{_literal(name)}$" for name in asked)
    output = run_git(["config", "-z", "--get-regexp", pattern], folder, git_environment()) or b""
    found: dict[str, str] = {}
    for record in os.fsdecode(output).split("\0")[:-1]:
        name, newline, value = record.partition("\n")
        if name in asked:
            found[asked[name]] = value if newline else "true"
    return found


def _literal(name: str) -> str:
    return _SPECIAL.sub(r"[\g<0>]", name)


def _normal(name: str) -> str:
    """Return a name as git prints it: section and last part in lower case."""
    section, _, rest = name.partition(".")
    subsection, dot, last = rest.rpartition(".")
    return f"{section.lower()}.{subsection}{dot}{last.lower()}"
