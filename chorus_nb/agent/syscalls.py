"""System calls that no code in the sandbox gets, whatever the engine's own seccomp profile leaves.

Engines differ in it. Docker before 23 lets sockets of virtual machines through (``AF_VSOCK``), which no network
namespace keeps in, and before 25 io_uring; Podman lets user namespaces through, and the kernel's keys of the user who
has the same number on the host. This filter is stacked on theirs: the kernel takes the stricter answer (seccomp(2)).

The program is classic BPF over ``struct seccomp_data`` (<linux/seccomp.h>, <linux/bpf_common.h>): the number of the
call at offset 0, the architecture at 4, the low half of the first argument at 16 on these little-endian machines.
"""

import ctypes
import errno
import os
import struct
from typing import Any, Dict, List, Tuple

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

_AF_VSOCK = 40
# <linux/sched.h>: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME
_NAMESPACES = 0x7E020080
_NEW_USER = 0x10000000
_X32 = 0x40000000

# AUDIT_ARCH_... (<linux/audit.h>), then numbers of calls: socket, clone, unshare, and those that are refused:
# add_key, request_key, keyctl, io_uring_setup, io_uring_enter, io_uring_register.
_MACHINES = {
    "x86_64": (0xC000003E, 41, 56, 272, (248, 249, 250, 425, 426, 427)),
    "aarch64": (0xC00000B7, 198, 220, 97, (217, 218, 219, 425, 426, 427)),
}
_CLONE3 = 435


def restrict(config: Dict[str, Any]) -> None:
    """Refuse them from now on to this process and all that come of it. Raises ``OSError``.

    Not to a plain process, which may be the user's own, nor where the user wants none filtered.

    On machines that are not known here, and to programs for another architecture than the interpreter's, nothing can
    be refused by number: the first are left as the engine has them, the second run no more.
    """
    machine = _MACHINES.get(os.uname().machine)
    if not config["filter_syscalls"] or machine is None or struct.calcsize("P") != 8:
        return
    instructions = _program(*machine)
    code = ctypes.create_string_buffer(b"".join(instructions))
    head = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel did not take the filter of system calls")


def _program(architecture: int, socket: int, clone: int, unshare: int, refused: Tuple[int, ...]) -> List[bytes]:
    program = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, architecture, 1, 0), _error(errno.ENOSYS)]
    program += [_step(_LOAD, _NUMBER), _step(_AT_LEAST, _X32, 0, 1), _error(errno.ENOSYS)]
    for number in refused:
        program += [_step(_EQUAL, number, 0, 1), _error(errno.EPERM)]
    # Its flags are in memory, where no filter sees them; libraries then use clone.
    program += [_step(_EQUAL, _CLONE3, 0, 1), _error(errno.ENOSYS)]
    program += _by_argument(socket, _EQUAL, _AF_VSOCK, errno.EAFNOSUPPORT)
    program += _by_argument(clone, _ANY_BIT, _NEW_USER, errno.EPERM)
    program += _by_argument(unshare, _ANY_BIT, _NAMESPACES, errno.EPERM)
    return [*program, _step(_RETURN, _ALLOW)]


def _by_argument(number: int, test: int, operand: int, error: int) -> List[bytes]:
    """Refuse a call where its first argument passes a test, else let it through."""
    refuse = [_step(_LOAD, _FIRST_ARGUMENT), _step(test, operand, 0, 1), _error(error), _step(_RETURN, _ALLOW)]
    return [_step(_EQUAL, number, 0, len(refuse)), *refuse]


def _error(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Write one ``struct sock_filter``."""
    return struct.pack("HBBI", code, if_true, if_false, operand)
