"""The attached stream and forks of the notebook's process."""

from __future__ import annotations

import os
import socket
import warnings

from chorus_nb.engines.attach import AttachedStream


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_fork_lets_go_of_the_connection_and_leaves_it_to_its_parent() -> None:
    """Otherwise the engine would not see that a killed kernel is gone while a child of it lives."""
    ours, engines = socket.socketpair()
    stream = AttachedStream(ours)
    descriptor = ours.fileno()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Other tests' threads may be running.
        child = os.fork()
    if child == 0:
        os._exit(int(is_open(descriptor)))
    assert os.waitpid(child, 0)[1] == 0
    stream.send(b"still here")
    assert engines.recv(100) == b"still here"
    stream.close()
    engines.close()
