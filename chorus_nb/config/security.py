"""How a container is locked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .option import Option, Policy, in_order

NOBODY = "65534:65534"


def _same_or_nobody(new: object, old: object) -> bool:
    return new in (old, NOBODY)


class SecurityPolicy(Policy):
    """How the container is locked. All capabilities are dropped and no privileges can be gained, always."""

    user: Annotated[
        Annotated[str, Field(pattern=r"^\d{1,10}:\d{1,10}$")] | None,
        Option("user", "UID:GID in numbers, such as 1000:1000", _same_or_nobody),
    ] = None
    """``UID:GID`` to run as; None picks the notebook's own user, or nobody where that is root and need not be."""
    read_only_root: Annotated[bool, Option("read_only_root", "True or False", in_order(True, False))] = True
    """Mount the image read-only; only ``/tmp`` and the home folder take writes."""
