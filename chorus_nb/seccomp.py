"""A seccomp profile of the user's own: read from its file here, because the engine takes its text."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from .config import SecurityPolicy
from .config.security import DEFAULT, UNCONFINED
from .errors import ConfigurationError

MAX_PROFILE_BYTES = 2**20
_LETS_PASS = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY")
_NEXT = "Docker's own profile, at github.com/moby/profiles, is one to begin with; seccomp='default' is what it does."


def seccomp_profile(security: SecurityPolicy) -> str:
    """Return the JSON text of the profile (``LinuxSeccomp`` in the OCI runtime specification); empty for the words.

    Raises
    ------
    ConfigurationError
        Where the file is none, can't be read, is too large, or allows everything.
    """
    if security.seccomp in (DEFAULT, UNCONFINED):
        return ""
    path = Path(security.seccomp)
    profile = _parsed(path)
    if _denies_nothing(profile):
        raise ConfigurationError(
            f"The seccomp profile {path} forbids nothing.", next_step="Where that is meant, say seccomp='unconfined'."
        )
    return json.dumps(profile, separators=(",", ":"))


def _parsed(path: Path) -> dict[str, Any]:
    try:
        profile = json.loads(_text(path))
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no seccomp profile {path}.",
            next_step="Give the path of a file, or one of the words default and unconfined.",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"The seccomp profile {path} can't be read: {reason}.", next_step=_NEXT) from None
    if not (isinstance(profile, dict) and str(profile.get("defaultAction")).startswith("SCMP_ACT_")):
        raise ConfigurationError(
            f"{path} is no seccomp profile: it is no JSON object with a 'defaultAction'.", next_step=_NEXT
        )
    if not isinstance(profile.get("syscalls", []), list):
        raise ConfigurationError(f"{path} is no seccomp profile: its 'syscalls' is no list.", next_step=_NEXT)
    return profile


def _text(path: Path) -> str:
    # A pipe or a device of this name would be read for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        data = file.read(MAX_PROFILE_BYTES + 1)
    if len(data) > MAX_PROFILE_BYTES:
        raise ValueError(f"it is larger than {MAX_PROFILE_BYTES >> 20} MiB")
    return data.decode()


def _denies_nothing(profile: dict[str, Any]) -> bool:
    actions = [profile["defaultAction"]]
    actions += [rule.get("action") for rule in profile.get("syscalls") or () if isinstance(rule, dict)]
    return all(action in _LETS_PASS for action in actions)
