"""Git in the sandbox: what it sees of the repository's git directory, and what it gets of the host's git.

:func:`git_view` and :func:`git_variables` are what a start asks; :class:`Credentials` answers while the sandbox runs.
"""

from .credentials import SERVICE_HOST, Credentials, credentials_for
from .directory import GitDirectory, NoGitDirectoryError, git_directory
from .files import mounted
from .guard import GitGuard
from .settings import git_variables
from .view import OUTSIDE, GitView, git_view, with_git

__all__ = [
    "OUTSIDE",
    "SERVICE_HOST",
    "Credentials",
    "GitDirectory",
    "GitGuard",
    "GitView",
    "NoGitDirectoryError",
    "credentials_for",
    "git_directory",
    "git_variables",
    "git_view",
    "mounted",
    "with_git",
]
