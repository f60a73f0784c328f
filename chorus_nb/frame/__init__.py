"""HTML and script of a sandbox, whole, in a frame that reaches neither the page nor the network."""

from .frame import Library, framed, library, script

__all__ = ["Library", "framed", "library", "script"]
