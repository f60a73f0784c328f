"""The process that imports IPython once, then stands still and is forked for every worker.

It is told what to fork by packets on its control socket and reports there what became of its forks
(:mod:`_chorus_agent.forks` is the other end). It runs no user code and cannot be traced by any.
"""

import array
import errno
import gc
import os
import signal
import socket
import struct
import sys
from typing import Any, Callable, Dict, List

from . import files, plain_shell, posix, worker

_RECORD = struct.Struct("=cii")
_DESCRIPTORS = 6


def load_shell() -> worker.ShellFactory:
    """Return the IPython shell where the image has IPython, else the plain one."""
    try:
        from . import ipython_shell

        factory: worker.ShellFactory = ipython_shell.prepare()
    except ImportError:
        factory = plain_shell.prepare()
    except Exception:  # A broken IPython must not cost the user the sandbox.
        sys.excepthook(*sys.exc_info())
        factory = plain_shell.prepare()
    return factory


class Template:
    """The loop of the template."""

    def __init__(self, config: Dict[str, Any], control: socket.socket, make_shell: worker.ShellFactory) -> None:
        self.config = config
        self.control = control
        self.make_shell = make_shell

    def serve(self) -> None:
        """Fork on request until the supervisor is gone."""
        signal.signal(signal.SIGCHLD, self._reap)
        while True:
            packet, ancillary, _, _ = self.control.recvmsg(1, socket.CMSG_SPACE(_DESCRIPTORS * 4))
            if not packet or not ancillary:
                os._exit(0)
            descriptors = array.array("i")
            descriptors.frombytes(ancillary[0][2])
            self._fork(packet, list(descriptors))

    def _fork(self, role: bytes, descriptors: List[int]) -> None:
        # An exit must not be reported before the fork it belongs to.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        try:
            pid = os.fork()
        except OSError as error:
            self._report(b"X", error.errno or errno.EAGAIN, 0)
        else:
            if pid == 0:
                self._be_child(role, descriptors)
            self._report(b"F", pid, 0)
        for fd in descriptors:
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])

    def _be_child(self, role: bytes, descriptors: List[int]) -> None:
        try:
            self.control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            _program_of(role)(descriptors, self.config, self.make_shell)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)

    def _reap(self, *_: Any) -> None:
        for pid, status in posix.ended_children():
            self._report(b"E", pid, status)

    def _report(self, kind: bytes, first: int, second: int) -> None:
        try:
            self.control.send(_RECORD.pack(kind, first, second))
        except OSError:
            os._exit(0)


def _program_of(role: bytes) -> Callable[..., None]:
    if role == b"N":
        from . import proxy  # There only where the sandbox may use it.

        return proxy.run
    return files.run if role == b"D" else worker.run


def main(carried: Dict[str, Any]) -> None:
    """Import what the workers will need, then stand still."""
    config = carried["config"]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    posix.set_dumpable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nothing of the user's may be imported by us in place of the standard library.
    sys.path[:] = [entry for entry in sys.path if entry]
    make_shell = load_shell()
    gc.freeze()
    gc.enable()
    Template(config, socket.socket(fileno=config["control"]), make_shell).serve()
