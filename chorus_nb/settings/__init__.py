"""Where the options of a sandbox come from: profiles, the user's configuration, the repository, what is typed.

:func:`resolve` is the one place that knows who goes before whom; ``docs/configuration.md`` says it to users.
"""

from .files import Section, notebook_file, read_section, repository_files, repository_section, user_file
from .profiles import PROFILES
from .resolve import (
    DEFAULTS,
    files_read,
    loosened_by,
    named_profile,
    refuse_open_configuration,
    resolve,
    tighten,
    user_configuration,
)
from .trust import TrustStore
from .values import NAMES, Settings, Source

__all__ = [
    "DEFAULTS",
    "NAMES",
    "PROFILES",
    "Section",
    "Settings",
    "Source",
    "TrustStore",
    "files_read",
    "loosened_by",
    "named_profile",
    "notebook_file",
    "read_section",
    "refuse_open_configuration",
    "repository_files",
    "repository_section",
    "resolve",
    "tighten",
    "user_configuration",
    "user_file",
]
