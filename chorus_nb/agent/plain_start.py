"""What ``python -I -S`` leaves out at its start, done later: so that a fork of the supervisor can become the template.

The supervisor runs isolated and without site-packages; the template and its workers are an interpreter like any other.
Its environment variables are read before the first line of Python runs, and can't be caught up on.
"""

import collections
import os
import sys

_HARMLESS = {
    # Ours (chorus_nb.launch, chorus_nb.engines.mirror).
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONUSERBASE",
    # No interpreter's: what the official images tell of themselves.
    "PYTHON_VERSION",
    "PYTHON_SHA256",
    "PYTHON_PIP_VERSION",
    "PYTHON_SETUPTOOLS_VERSION",
    "PYTHON_GET_PIP_URL",
    "PYTHON_GET_PIP_SHA256",
}

_FLAGS = {"isolated": 0, "ignore_environment": 0, "no_site": 0, "no_user_site": 0, "safe_path": False}


def is_needed() -> bool:
    """Whether only an interpreter of its own does what the environment asks for."""
    return any(name.startswith("PYTHON") and name not in _HARMLESS for name in os.environ)


def catch_up() -> None:
    """Make this interpreter one that was started without options."""
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    # multiprocessing starts its children with the flags that it finds here.
    sys.flags = _plain_flags()  # type: ignore[assignment]
    import site  # noqa: F401  # Now that nothing forbids it, this finds the packages and runs what is to run at the start.


def _plain_flags() -> object:
    names = [name for name in dir(sys.flags) if not name.startswith(("_", "n_")) and name not in ("count", "index")]
    values = {name: getattr(sys.flags, name) for name in names}
    values.update((name, value) for name, value in _FLAGS.items() if name in values)
    values["dont_write_bytecode"] = int(sys.dont_write_bytecode)
    return collections.namedtuple("flags", names)(**values)
