"""The supervisor's part of the network by the pipe: where the proxy listens, and who is the proxy.

The supervisor holds the listening socket from the start, so that its address is known to every program by environment
variables. The process that serves it (:mod:`_chorus_agent.proxy`) is forked when somebody connects and none is there:
a sandbox that uses no network has none, and one whose cells killed it gets another.
"""

import os
import selectors
import socket
from typing import Any, Callable, Dict, Optional

from .forks import Fork
from .pump import Outlet
from .wire import Message, encode

PORT = 3128
"""Where the proxy listens, if that is free, as it is in a container: a number that is the same next year."""

ROLE = b"N"
FROM_PROXY = ("egress_open", "egress_data", "egress_credit", "egress_end", "egress_close")

_BACKLOG = 128


def listen(config: Dict[str, Any]) -> Optional[socket.socket]:
    """Listen where the sandbox is to have a proxy, and tell all that is started from here on.

    Variables that are set already, as the user may have done, stay.
    """
    if not config.get("egress"):
        return None
    listener = _bound(PORT) or _bound(0)
    if listener is None:
        return None  # Programs find no proxy, and no network.
    port = listener.getsockname()[1]
    if config["egress"]["proxy"]:
        _tell_of_proxy("http://127.0.0.1:%d" % port, config["egress"]["no_proxy"])
    if config["egress"]["git_credentials"]:
        from . import git_helper  # It is not there where nobody asked for it.

        git_helper.announce(port, os.environ)
    return listener


def _tell_of_proxy(url: str, no_proxy: str) -> None:
    for name, value in (("http_proxy", url), ("https_proxy", url), ("no_proxy", no_proxy)):
        # Programs disagree on the spelling.
        os.environ.setdefault(name, value)
        os.environ.setdefault(name.upper(), value)


def _bound(port: int) -> Optional[socket.socket]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        return listener
    except OSError:
        listener.close()
        return None


class Egress:
    """The proxy as the supervisor holds it.

    Parameters
    ----------
    listener : socket or None
        Where it listens; None where the sandbox has no network of this kind.
    loop : selector
        The supervisor's.
    host : Outlet
        The way to the host.
    fork : callable
        Makes a process of a role, with more descriptors.
    """

    def __init__(
        self,
        listener: Optional[socket.socket],
        loop: selectors.BaseSelector,
        host: Outlet,
        fork: Callable[..., Fork],
    ) -> None:
        self.process: Optional[Fork] = None
        self._listener = listener
        self._loop = loop
        self._host = host
        self._fork = fork
        self._watch()

    def _watch(self) -> None:
        if self._listener is not None:
            self._loop.register(self._listener, selectors.EVENT_READ, self._begin)

    def _begin(self) -> None:
        assert self._listener is not None
        self._loop.unregister(self._listener)
        self.process = self._fork(ROLE, (self._listener.fileno(),))

    def send(self, frame: bytes) -> None:
        """Pass on what the host says to the proxy."""
        if self.process is not None:
            self.process.send(frame)

    def failed(self) -> None:
        """Turn away who waits, as no process could be made for it: else the next would be tried at once."""
        try:
            if self._listener is not None:
                self._listener.accept()[0].close()
        except OSError:
            pass

    def forget(self) -> None:
        """Note that the process has ended, and with it every connection."""
        self.process = None
        self._host.put(encode(Message("egress_reset", {})))
        self._watch()
