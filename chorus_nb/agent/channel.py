"""The way to the host: a socket that was mounted for it, or else the standard streams."""

import os
import socket
from typing import Any, Dict, List, Optional

from . import posix
from .pump import enlarge

_BUFFER_BYTES = 2**20


class Channel:
    """Descriptors of our own, which no process that is started inherits.

    Attributes
    ----------
    incoming, outgoing : int
    lifeline : int or None
        The standard input, where that is not what comes in: when it ends, the host is gone or has had enough.
    """

    def __init__(self, config: Dict[str, Any]) -> None:
        stdin, stdout = posix.take_standard_streams()
        self._kept = [stdin, stdout]
        self.lifeline: Optional[int] = None
        connection = _connection(config["socket"]) if config["socket"] else None
        if connection is None:
            self.incoming, self.outgoing = stdin, stdout
        else:
            self.lifeline = stdin
            # Two of them: one that is waited for to be read, the other one to be written to.
            self.outgoing, self.incoming = os.dup(connection.fileno()), connection.detach()
        for descriptor in (self.incoming, self.outgoing):
            os.set_blocking(descriptor, False)
            enlarge(descriptor)

    @property
    def descriptors(self) -> List[int]:
        """All that no other process may have."""
        return list({*self._kept, self.incoming, self.outgoing})


def _connection(place: Dict[str, str]) -> Optional[socket.socket]:
    """Connect; None where there is nothing to connect to, or this container is kept from it."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(place["path"])
        connection.sendall(place["token"].encode())
    except OSError:
        connection.close()
        return None
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return connection
