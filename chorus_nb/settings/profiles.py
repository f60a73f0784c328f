"""The profiles that come with the package: named sets of options for one purpose each.

A profile is whole: what it does not name has its built-in default, whatever the user's configuration says. So
``--profile strict`` means the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Own code, to look at what it does with next to nothing: a script that should need no files, a regular expression, a
# student's exercise. Text alone comes back. 64 threads are what OpenBLAS may start on a big machine.
_STRICT = {
    "repo": "none",
    "output": "text",
    "memory": "512m",
    "cpus": 0.5,
    "pids": 64,
    "open_files": 256,
    "tmp": "32m",
    "max_output": "256k",
    "timeout": "30s",
    "idle": "30m",
}

# A notebook that must show the same next year, on any machine, under nbval. Hashes of strings and the order of sums
# over several threads differ from run to run, the clock's zone from machine to machine. Time and memory are for slow
# machines: a tutorial that runs into a limit is no reference.
_TUTORIAL = {
    "memory": "2g",
    "timeout": "10m",
    "env": {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
}

# Code of a stranger or of a model that may well be hostile, and is to be of use all the same: plots and tables show,
# in a frame where they can act, and data comes in by hand. None of the user's files is there to be read, and what it
# left running behind its cells ends with the session, half an hour after the last one.
_UNTRUSTED = {
    "repo": "none",
    "memory": "512m",
    "pids": 64,
    "open_files": 512,
    "tmp": "128m",
    "max_output": "2m",
    "timeout": "2m",
    "idle": "30m",
}

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "strict": _STRICT,
    "tutorial": _TUTORIAL,
    "untrusted": _UNTRUSTED,
}
"""The options of each profile, by its name; ``default`` is what holds where nobody says anything."""

PURPOSES: Mapping[str, str] = {
    "default": "the locked defaults",
    "strict": "next to nothing: no repository, text alone, small limits, 30 s a cell",
    "tutorial": "the same result next year: fixed hashes, threads and time zone, time and memory for slow machines",
    "untrusted": "code of a stranger or of a model: no repository, low limits, 2 min a cell",
}
"""What each is for, in a line."""
