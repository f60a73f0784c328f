"""Which folder of the host a sandbox sees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import field_validator

from .option import Option, Policy, free, in_order


class RepositoryMount(Policy):
    """Which folder of the host the sandbox sees at ``/workspace``, and whether it may write there."""

    mode: Annotated[
        Literal["ro", "rw", "overlay", "none"],
        Option("repo", "ro, rw, overlay or none", in_order("none", "ro", "overlay", "rw")),
    ] = "ro"
    """``ro``: read-only. ``rw``: changes go straight to the host's files. ``overlay``: changes go to a view of
    the sandbox's own, which the session keeps; the host's files stay as they are. ``none``: an empty folder."""
    # Where it comes from a file of the repository, it has to lie in there.
    path: Annotated[Path | None, Option("repo_path", "the path of a folder", free)] = None
    """The folder; None takes the git top level around the working directory, else the working directory."""

    @field_validator("path", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path if path is None else path.expanduser().absolute()
