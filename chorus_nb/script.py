"""A shell script as a cell: ``%%sandbox --lang sh``."""

from __future__ import annotations

import signal

from .config import ResourceLimits
from .errors import CommandError, ConfigurationError, ExecutionError, ExecutionInterruptedError, OutOfMemoryError
from .execution import Outcome


class Script(str):
    """The text of a cell that is a shell script, wherever a cell's text is handed on."""

    __slots__ = ()


MAX_SCRIPT_BYTES = 128 * 1024 - 1
"""What Linux takes as one argument of a program (``MAX_ARG_STRLEN``, execve(2)), without its final null byte."""

# Before it starts anything: the kernel then takes what the script runs, not the process with the Python variables.
_OFFER = '{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null; exec "$@"'


def script_argv(script: str) -> list[str]:
    """Return the program that runs a cell: ``sh -c``, or the shell that its first line names after ``#!``.

    As an argument, the script leaves the standard input free, which is empty: a program that reads it gets its end.

    Raises
    ------
    ConfigurationError
        No shell could take it: it is too long, has a null character, or names a program that is no shell.
    """
    script = script.replace("\r\n", "\n")
    if "\0" in script:
        raise ConfigurationError(
            f"Line {script[: script.index(chr(0))].count(chr(10)) + 1} of the script has a null character.",
            next_step="A shell can't read one; write it as \\0 for printf.",
        )
    if (size := len(script.encode("utf-8", "surrogatepass"))) > MAX_SCRIPT_BYTES:
        raise ConfigurationError(
            f"The script has {size} bytes; a shell takes {MAX_SCRIPT_BYTES}.",
            next_step="Put its data into a file of the repository, which is at /workspace.",
        )
    return ["sh", "-c", _OFFER, "sh", *_shell(script), "-c", script]


def _shell(script: str) -> list[str]:
    first = script.partition("\n")[0]
    words = first[2:].split() if first.startswith("#!") else []
    if not words:
        return ["sh"]
    if not any(word.endswith("sh") for word in words):
        raise ConfigurationError(
            f"The script's first line is {first[:80]!r}, and --lang sh runs shells only.",
            next_step="Leave that line out for sh, or name a shell such as #!/bin/bash; for Python leave --lang out.",
        )
    return words


def script_error(outcome: Outcome, limits: ResourceLimits) -> ExecutionError | CommandError | OutOfMemoryError | None:
    """Return what a script that failed is to raise in the notebook."""
    code = outcome.exit_code
    if outcome.interrupted:
        return ExecutionInterruptedError("KeyboardInterrupt", "the script was interrupted", [])
    if code and outcome.usage.oom_kills:
        return _out_of_memory(outcome, limits)
    return CommandError(_how(code), exit_code=code) if code else None


def _out_of_memory(outcome: Outcome, limits: ResourceLimits) -> OutOfMemoryError:
    limit = limits.memory_bytes
    return OutOfMemoryError(
        f"The script reached the memory limit of {limit >> 20} MiB, and the kernel killed one of its processes "
        f"(exit status {outcome.exit_code}).",
        next_step=f"Use less, or give it more: --fresh --memory {2 * limit >> 20}m.",
        limit_bytes=limit,
        peak_bytes=outcome.usage.memory_peak_bytes,
    )


def _how(code: int) -> str:
    """Say how it ended: below 0 by the signal that ended the shell, above 128 by what the shell says of a program."""
    number = -code if code < 0 else code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"The script ended with exit status {code}."
    who = "The script" if code < 0 else f"The script ended with exit status {code}: its last program"
    return f"{who} was ended by signal {number} ({name})."
