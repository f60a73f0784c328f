"""What a sandbox may reach."""

from __future__ import annotations

from typing import Annotated, Literal

from .option import Option, Policy, in_order


class NetworkPolicy(Policy):
    """What a sandbox may reach."""

    mode: Annotated[
        Literal["none", "bridge"], Option("network", "none or bridge", in_order("none", "allowlist", "bridge"))
    ] = "none"
    """``none``: no interface but loopback. ``bridge``: the engine's default network, with all it reaches."""
