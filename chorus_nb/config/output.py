"""How much of what a cell puts out reaches the notebook, and in which form."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .option import Option, Policy, in_order, smaller
from .units import SizeBytes

OutputMode = Literal["safe", "trusted", "text"]
"""In which form displays reach the notebook."""


class OutputPolicy(Policy):
    """How much of what a cell puts out reaches the notebook, and in which form."""

    mode: Annotated[OutputMode, Option("output", "safe, trusted or text", in_order("text", "safe", "trusted"))] = "safe"
    """``safe``: what can act is shown in a frame that reaches neither the page nor the network. ``trusted``: displays
    pass as they are, and can act in the notebook page. ``text``: only their text."""

    max_bytes: Annotated[
        SizeBytes, Field(ge=1024), Option("max_output", "a size of at least 1k, such as 100m", smaller)
    ] = 10 * 2**20
    """Bytes of text and display data of one cell; what comes after is counted and dropped, with a notice."""

    max_transfer_bytes: Annotated[
        SizeBytes, Field(ge=1024), Option("max_transfer", "a size of at least 1k, such as 500m", smaller)
    ] = 2 * 2**30
    """Bytes of variables that one push or pull may copy, each way: a host takes no more memory than that. Lists and
    dicts count as the objects that they become."""
