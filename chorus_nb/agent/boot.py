"""How the agent gets into a container that has nothing but Python: over the stream, before the first frame.

The container's command is ``python -I -S -c PROGRAM``. The program reads from its standard input one line with a
length, then that many bytes of JSON: the modules of this package and the agent's configuration. The modules are made in
memory, so nothing is written, nothing is mounted, and the user's ``sys.path`` stays as it was. Each comes as source and
compiled: an interpreter of the host's version need not do again what would be a tenth of the agent's start.
"""

import binascii
import functools
import gc
import json
import marshal
import os
import sys
import types
from typing import Any, Dict, List

PACKAGE = "_chorus_agent"
"""The name of this package inside the sandbox: private, so that it can't hide a module of the user's."""

UNSUPPORTED = "chorus-nb: this is Python "
"""What the program says on standard error where the interpreter is too old; the version follows."""

NO_TEMPLATE = "chorus-nb: the process that starts the cells ends by itself"
OUT_OF_MEMORY = "chorus-nb: out of memory"
"""What the supervisor says on standard error where the memory limit keeps the template from starting."""

# The syntax of this program must be valid in Python 2 as well: it is there that it has to say what is wrong.
PROGRAM = (
    """
import sys
if sys.version_info < (3, 8):
    sys.stderr.write("%s%%d.%%d\\n" %% sys.version_info[:2])
    sys.exit(97)
import json, os, types
def read(size):
    data = b""
    while len(data) < size:
        part = os.read(0, min(size - len(data), 65536))
        if not part:
            os._exit(0)
        data += part
    return data
line = b""
while not line.endswith(b"\\n"):
    line += read(1)
payload = json.loads(read(int(line)))
for name in ("%s", "%s.boot"):
    module = types.ModuleType(name)
    module.__package__ = "%s"
    module.__path__ = []
    sys.modules[name] = module
exec(compile(payload["modules"]["boot"]["source"], "<" + name + ">", "exec"), module.__dict__)
module.become(payload.pop("role"), payload)
"""
    % (UNSUPPORTED, PACKAGE, PACKAGE, PACKAGE)
).strip()

SUPERVISOR_ARGUMENTS = ("-I", "-S", "-c", PROGRAM)
"""Isolated and without site-packages: the supervisor runs nothing but the standard library."""

# In the order of their imports.
_ACCOUNTS = ("cgroup", "limits", "locks", "report", "commands", "late", "flow", "file_requests", "lookups", "egress")
_SUPERVISOR = ("wire", "posix", "syscalls", "pump", "plain_start", "forks", *_ACCOUNTS, "supervisor")
_SHELLS = ("introspection", "plain_shell", "cell_names", "ipython_introspection", "ipython_shell")
_FILES = ("paths", "trees", "removal", "files")
_TEMPLATE = ("wire", "posix", "streams", "asking", "comms", "loop", *_SHELLS, "worker", *_FILES, "template")
_PROXY = ("pump", "proxy_head", "proxy")
"""What the template has only where the sandbox has a network by the pipe."""
_GIT = ("git_helper",)
"""What the supervisor has only where git in the sandbox may ask for credentials."""
_TABLES = ("arrow_stream", "arrow_arrays", "tables", "polars_tables", "extension_columns", "frames")
_VALUES = ("values", "encoding", "decoding", "arrays", "string_arrays", *_TABLES, "pictures")
_LATE = (*_VALUES, "pieces", "variables")
"""What the template's forks make when it is first needed: most never need it, and it would be late for all."""

_OPTIONAL = ("ipython_introspection", "ipython_shell")
"""What may fail to import: the image need not have IPython, and whatever it has may be broken."""


@functools.lru_cache(maxsize=None)
def modules() -> Dict[str, Dict[str, Any]]:
    """Return, on the host, source and code of every module of the agent, by its short name."""
    made = {}
    for name in dict.fromkeys(("boot",) + _SUPERVISOR + _TEMPLATE + _PROXY + _GIT + _LATE):
        source = _source(name)
        code = binascii.b2a_base64(marshal.dumps(_compile(name, source))).decode()
        made[name] = {"source": source, "code": code, "optional": name in _OPTIONAL}
    return made


def _source(name: str) -> str:
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py"), encoding="utf-8") as file:
        return file.read()


def payload(config: Dict[str, Any]) -> bytes:
    """Return, on the host, what to write to the program's standard input so that it becomes the supervisor."""
    egress = config.get("egress") or {}
    template = _TEMPLATE[:-1] + (_PROXY if egress else ()) + _TEMPLATE[-1:]
    supervisor = (_GIT if egress.get("git_credentials") else ()) + _SUPERVISOR
    roles = {"supervisor": supervisor, "template": template}
    needed = {name: modules()[name] for name in ("boot", *supervisor, *template, *_LATE)}
    return frame(
        "supervisor", {"modules": needed, "roles": roles, "late": _LATE, "version": _version(), "config": config}
    )


def frame(role: str, carried: Dict[str, Any]) -> bytes:
    """Return what to write to the program's standard input so that it becomes ``role``."""
    body = json.dumps(dict(carried, role=role)).encode()
    return b"%d\n" % len(body) + body


def become(role: str, carried: Dict[str, Any]) -> None:
    """Make the modules of a role, where they are not there yet, and be it."""
    gc.disable()  # All that is made now stays; whoever has the last of it turns this on again.
    for name in carried["roles"][role]:
        if _full_name(name) not in sys.modules:
            _make(name, carried["modules"][name], carried["version"] == _version())
    _unmade.update((name, (carried["modules"][name], carried["version"])) for name in carried.get("late", ()))
    sys.modules[_full_name(role)].main(carried)


_unmade: Dict[str, Any] = {}


def make_late() -> None:
    """Make the modules that are made when they are needed. On the host, where they are files, there are none."""
    path = sys.path[:]
    sys.path[:] = [entry for entry in path if entry]  # A module beside the notebook is not the standard library's.
    try:
        while _unmade:
            name = next(iter(_unmade))
            parts, version = _unmade.pop(name)
            _make(name, parts, version == _version())
    finally:
        sys.path[:] = path


def _make(name: str, parts: Dict[str, Any], same_version: bool) -> None:
    module = types.ModuleType(_full_name(name))
    module.__package__ = PACKAGE
    sys.modules[module.__name__] = module
    try:
        # Both are the host's words; nothing compiled ever goes the other way.
        code = marshal.loads(binascii.a2b_base64(parts["code"])) if same_version else _compile(name, parts["source"])
        exec(code, module.__dict__)
    except Exception:
        if not parts["optional"]:
            raise
        del sys.modules[module.__name__]


def _compile(name: str, source: str) -> types.CodeType:
    return compile(source, "<%s>" % _full_name(name), "exec", dont_inherit=True, optimize=0)


def _full_name(name: str) -> str:
    return PACKAGE + "." + name


def _version() -> List[Any]:
    """Return what has to be equal for one interpreter to run what another one has compiled."""
    return [sys.implementation.cache_tag, sys.hexversion]
