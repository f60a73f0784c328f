"""What a user may ask of a sandbox, checked before anything is created.

Every model is frozen and refuses unknown fields. Sizes and durations are taken as people write them (``512m``, ``30s``)
and kept as plain numbers with their unit in the name. A value that can't be had raises
:class:`~chorus_nb.errors.ConfigurationError`, which names the option, what was given and what is allowed.
"""

from .git import GitPolicy
from .limits import SMALLEST_MEMORY_BYTES, ResourceLimits
from .mounts import MountPolicy
from .network import NetworkPolicy
from .option import Option
from .output import OutputMode, OutputPolicy
from .repository import RepositoryMount
from .rules import REFUSED, RULES, Rule
from .sandbox import MIRROR, OPTIONS, SECTIONS, SandboxConfig, choices, duration_s, meaning, unknown_option
from .security import NOBODY, SecurityPolicy
from .units import parse_duration_s, parse_size_bytes

__all__ = [
    "MIRROR",
    "NOBODY",
    "OPTIONS",
    "REFUSED",
    "RULES",
    "SECTIONS",
    "SMALLEST_MEMORY_BYTES",
    "MountPolicy",
    "GitPolicy",
    "NetworkPolicy",
    "Option",
    "OutputMode",
    "OutputPolicy",
    "RepositoryMount",
    "ResourceLimits",
    "Rule",
    "SandboxConfig",
    "SecurityPolicy",
    "choices",
    "duration_s",
    "meaning",
    "parse_duration_s",
    "parse_size_bytes",
    "unknown_option",
]
