"""Messages to the front end in the name of a cell: from any thread, and after the cell has ended.

A front end puts an output where the parent header of its message says (Jupyter messaging protocol, "parent header").
ipykernel keeps that header in a context variable of the thread that runs the cell, so what comes later, or elsewhere,
has to bring it along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_NO_CONTENT: Mapping[str, Any] = {}


class Publisher:
    """The cell that runs when this is made.

    Parameters
    ----------
    shell : InteractiveShell
        One without a kernel, as in a terminal, has no front end to tell: then nothing is published.
    parent : mapping, optional
        Another message in whose name to publish, such as one from a widget.
    """

    def __init__(self, shell: Any, parent: Mapping[str, Any] | None = None) -> None:
        self._kernel = getattr(shell, "kernel", None)
        self._parent = parent or (self._kernel.get_parent("shell") if self._kernel else {})

    @property
    def message_id(self) -> str:
        """The id of the message in whose name this publishes, by which the front end knows it."""
        return str(self._parent.get("header", {}).get("msg_id", ""))

    @property
    def has_kernel(self) -> bool:
        """Whether there is a front end to tell."""
        return self._kernel is not None

    def publish(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        metadata: Mapping[str, Any] = _NO_CONTENT,
        buffers: Sequence[bytes] = (),
    ) -> None:
        """Send a message on the IOPub channel; safe from any thread."""
        if self._kernel is not None:
            self._kernel.session.send(
                self._kernel.iopub_socket,
                msg_type,
                dict(content),
                metadata=dict(metadata),
                parent=self._parent,
                ident=self._kernel._topic(msg_type),
                buffers=list(buffers) or None,
            )
