"""What a user does with the changes of a sandbox: look at them, take them over, or throw them away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .changes import Change
from .files import SandboxFiles
from .working_copy import WorkingCopy


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that was not taken over, and why, as the end of a sentence."""

    change: Change
    reason: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of each change.

    Attributes
    ----------
    done : tuple of Change
        Taken over; with ``check``, what would be.
    refused : tuple of Refused
        Never taken over: ``.git``, devices, links that lead outside.
    failed : tuple of Refused
        Could not be: changed on the host meanwhile, changed in the sandbox after it was shown, no space, no permission.
        Whoever calls gets these by ``ApplyError``, whose ``applied`` is this.
    """

    done: tuple[Change, ...]
    refused: tuple[Refused, ...]
    failed: tuple[Refused, ...] = ()


class Review:
    """The changes of one working copy, what of them a user has seen, and what became of them. Any thread may use it."""

    def __init__(self, copy: WorkingCopy) -> None:
        self.copy = copy

    def changes(self, paths: Sequence[str] = ()) -> list[Change]:
        """Return what has changed, by path; nothing is noted as shown.

        Parameters
        ----------
        paths : sequence of str
            Files, folders, or globs as in ``.gitignore``, relative to the repository; all where empty.

        Raises
        ------
        NoSuchChangeError
            One of them matches no change; names the nearest.
        """
        raise NotImplementedError

    def shown(self, changes: Sequence[Change], paths: Sequence[str] = ()) -> None:
        """Note what a user was shown: :meth:`changes` of the same ``paths``.

        What of these paths changes in the sandbox afterwards, also what is new, is not applied before it is shown, too.
        """
        raise NotImplementedError

    def host_content(self, change: Change, most_bytes: int) -> bytes:
        """Return what the host has of a regular file before the change.

        Raises
        ------
        ChangedMeanwhileError
            It is no longer what it was compared with, or is larger than ``most_bytes``.
        """
        raise NotImplementedError

    def sandbox_content(self, change: Change, most_bytes: int) -> bytes:
        """Return the sandbox's content of a regular file, that of ``change.digest``. Raises as :meth:`host_content`."""
        raise NotImplementedError

    def apply(self, paths: Sequence[str] = (), *, check: bool = False) -> Applied:
        """Take changes over to the host, each as a whole or not at all.

        Parameters
        ----------
        paths : sequence of str
            As of :meth:`changes`. Folders that a file needs are made with it.
        check : bool
            Only say what would be done.

        Raises
        ------
        NoSuchChangeError
            As of :meth:`changes`; nothing was done.
        ApplyError
            Some could not be taken over. All others are.
        """
        raise NotImplementedError

    def discard(self, paths: Sequence[str], files: SandboxFiles, workspace: str) -> list[Change]:
        """Bring the host's version back into the sandbox, and return what was thrown away.

        Parameters
        ----------
        paths : sequence of str
            As of :meth:`changes`.
        files : SandboxFiles
            Of the sandbox; it is started where it does not run.
        workspace : str
            Where it has the repository.

        Raises
        ------
        NoSuchChangeError
            As of :meth:`changes`; nothing was done.
        DiscardError
            Something is different still.
        """
        raise NotImplementedError
