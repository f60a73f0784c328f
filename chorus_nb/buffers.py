"""Binary parts of an output: they come beside the message, and become base64 here, where the notebook needs that.

``metadata["buffer_paths"]`` names the place of each buffer in the content, as in the Jupyter widget protocol.
"""

from __future__ import annotations

import base64
from dataclasses import replace

from .agent.wire import Message
from .errors import AgentProtocolError


def with_buffers(message: Message) -> Message:
    """Return an output with its buffers put into its MIME bundle, as base64.

    Raises
    ------
    AgentProtocolError
        Where a buffer has no place in the bundle, or one that is taken.
    """
    if not message.buffers:
        return message
    paths, data = message.metadata.get("buffer_paths"), message.content.get("data")
    if not isinstance(paths, list) or not isinstance(data, dict) or len(paths) != len(message.buffers):
        raise _malformed()
    data = dict(data)
    for path, buffer in zip(paths, message.buffers, strict=True):
        match path:
            case ["data", str(mime)] if mime not in data:
                data[mime] = base64.b64encode(buffer).decode()
            case _:
                raise _malformed()
    return replace(message, content={**message.content, "data": data}, buffers=[])


def _malformed() -> AgentProtocolError:
    return AgentProtocolError(
        "The sandbox sent output with malformed buffers.",
        next_step="Something in it wrote to the agent's stream; run the cell again in a fresh sandbox.",
    )
