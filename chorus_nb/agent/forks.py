"""The template process and its forks, as the supervisor holds them.

The supervisor asks for a fork by one packet on the control socket, with the descriptors of the new process attached
(``SCM_RIGHTS``, unix(7)); the template answers with records. Every answer is awaited in the loop, never blocking, so
that a template which stands still can't keep the supervisor from answering.
"""

import array
import os
import selectors
import socket
import struct
import subprocess
import sys
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, Optional, Sequence, Tuple

from . import boot, plain_start, syscalls
from .pump import Outlet, TextPipes, read_some
from .wire import Decoder, Message, WireError

FORKED, FAILED, EXITED = b"F", b"X", b"E"
RECORD = struct.Struct("=cii")
"""Kind, then: FORKED pid, FAILED errno, EXITED pid and wait status."""


class DisconnectedError(Exception):
    """Nothing more can be understood of a fork: it closed its socket, or wrote to it what is no frame."""


class Fork:
    """One fork of the template: a worker, or the process that handles files."""

    def __init__(self, role: bytes, more: Sequence[int] = ()) -> None:
        self.role = role
        self._more = more
        self.pid: Optional[int] = None
        self.status: Optional[int] = None
        self.pipes = TextPipes()
        self._socket, self._theirs = socket.socketpair()
        self._comms, self._their_comms = socket.socketpair()
        self._sync_read, self._sync_write = os.pipe()
        self._socket.setblocking(False)
        self._comms.setblocking(False)
        self._decoder = Decoder()
        self._sources: Optional[selectors.BaseSelector] = None
        self._closed = False

    def descriptors(self) -> "array.array[int]":
        """Return what the new process gets: its socket, its output and errors, acknowledgements, comms, and more."""
        ends = self.pipes.write_ends
        sockets = self._theirs.fileno(), self._their_comms.fileno()
        return array.array("i", [sockets[0], ends["stdout"], ends["stderr"], self._sync_read, sockets[1], *self._more])

    def handed_over(self) -> None:
        """Close our copies of the other ends."""
        self._theirs.close()
        self._their_comms.close()
        self.pipes.close_write_ends()
        os.close(self._sync_read)

    def connect(
        self,
        loop: selectors.BaseSelector,
        sources: selectors.BaseSelector,
        on_message: Callable[[], object],
        on_text: Callable[[str], object],
    ) -> None:
        """Begin to write to it by ``loop``, and to listen to it by ``sources``; to its messages once it is born."""
        self._outlet = Outlet(self._socket.fileno(), loop)
        self._comms_outlet = Outlet(self._comms.fileno(), loop)
        self._sources = sources
        self._on_message = on_message
        self.pipes.listen(sources, on_text)

    def born(self, pid: int) -> None:
        """Note its pid. It may be ready before we know that, but nobody is told so: a cell must be interruptible."""
        self.pid = pid
        if self._sources is not None:
            self._sources.register(self._socket, selectors.EVENT_READ, self._on_message)

    def send(self, frame: bytes) -> None:
        """Send a frame, without waiting for it to be taken."""
        self._outlet.put(frame)

    def send_comm(self, frame: bytes) -> None:
        """Send a frame to its comms; a process that does not listen gets no more than can wait here."""
        if not self._comms_outlet.full:
            self._comms_outlet.put(frame)

    def receive(self) -> Iterator[Tuple[Message, bytes]]:
        """Yield the messages that are there, each with its frame. Raises :class:`DisconnectedError`."""
        try:
            data = read_some(self._socket.fileno())
        except BlockingIOError:
            return
        if not data:
            raise DisconnectedError
        try:
            yield from self._decoder.feed(data)
        except WireError as error:
            raise DisconnectedError from error

    def acknowledge(self) -> None:
        """Tell the process that everything it sent before was read."""
        try:
            os.write(self._sync_write, b"\0")
        except OSError:
            pass  # It ended; its exit is on the way.

    def ignore(self) -> None:
        """Listen to its socket no longer."""
        if self._sources is not None and self.pid is not None:
            self._sources.unregister(self._socket)
        self._sources = None

    def close(self) -> None:
        """Close everything that is left. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._outlet.close()
        self._comms_outlet.close()
        self.ignore()
        self._socket.close()
        self._comms.close()
        os.close(self._sync_write)
        self.pipes.close()


class Template:
    """The process that imports IPython, then stands still and is forked.

    The first is itself a fork of the supervisor, before that holds anything: half of what a process imports here it has
    then, and an interpreter takes long to start. Any later one is an interpreter of its own.

    Attributes
    ----------
    pid : int
    control : socket
        Where forks are asked for, and their fate is told.
    """

    def __init__(self, pid: int, control: socket.socket) -> None:
        self.pid = pid
        self.control = control
        self.control.setblocking(False)
        self._unborn: Deque[Fork] = deque()
        self.has_forked = False

    @classmethod
    def forked(cls, carried: Dict[str, Any], protocol: Sequence[int]) -> "Template":
        """Fork it from this process; it closes the descriptors of ``protocol``."""
        if plain_start.is_needed():
            return cls.spawned(carried)
        control, theirs = _control_pair()
        pid = os.fork()
        if pid == 0:
            _be_template(carried, theirs, (control.fileno(), *protocol))
        theirs.close()
        return cls(pid, control)

    @classmethod
    def spawned(cls, carried: Dict[str, Any]) -> "Template":
        """Start it as an interpreter of its own."""
        control, theirs = _control_pair()
        program = _in_memory(boot.frame("template", _with_control(carried, theirs)))
        process = subprocess.Popen(
            [sys.executable, "-c", boot.PROGRAM],
            stdin=program,
            stdout=2,
            pass_fds=[theirs.fileno()],
            cwd="/",
        )
        process.returncode = 0  # The loop reaps it; Popen must not try.
        os.close(program)
        theirs.close()
        return cls(process.pid, control)

    def fork(self, role: bytes, more: Sequence[int] = ()) -> Fork:
        """Ask for a fork, with ``more`` descriptors; its ``pid`` is known once the template has answered."""
        child = Fork(role, more)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, child.descriptors())]
        try:
            self.control.sendmsg([role], rights)
            self._unborn.append(child)
        except OSError:
            pass  # The template is gone: the loop learns of it by itself and begins anew.
        child.handed_over()
        return child

    def read(self, on_exit: Callable[[int, int], None], on_failure: Callable[[Fork, int], None]) -> bool:
        """Take the records that are there; False once the template has ended."""
        while True:
            try:
                packet = self.control.recv(RECORD.size)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if len(packet) != RECORD.size:
                return False
            kind, first, second = RECORD.unpack(packet)
            if kind == FORKED and self._unborn:
                self._unborn.popleft().born(first)
                self.has_forked = True
            elif kind == FAILED and self._unborn:
                on_failure(self._unborn.popleft(), first)
            elif kind == EXITED:
                on_exit(first, second)


def _control_pair() -> Tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _with_control(carried: Dict[str, Any], control: socket.socket) -> Dict[str, Any]:
    return dict(carried, config=dict(carried["config"], control=control.fileno()))


def _be_template(carried: Dict[str, Any], control: socket.socket, not_ours: Sequence[int]) -> None:
    """Be the template, in a fork of the supervisor. Whatever happens, the supervisor's own code never runs on here."""
    try:
        for fd in not_ours:
            os.close(fd)
        syscalls.restrict(carried["config"])
        plain_start.catch_up()
        boot.become("template", _with_control(carried, control))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(1)


def _in_memory(data: bytes) -> int:
    """Return a descriptor to read ``data`` from that can never block its writer, as a pipe would (memfd_create(2))."""
    fd = os.memfd_create("chorus-template")
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
