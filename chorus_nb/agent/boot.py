"""How the agent gets into a container that has nothing but Python: over the stream, before the first frame.

The container's command is ``python -I -S -c PROGRAM``. The program reads from its standard input one line with a
length, then that many bytes of JSON: the sources of this package and the agent's configuration. It makes the modules in
memory, so nothing is written, nothing is mounted, and the user's ``sys.path`` stays as it was. The template process is
started the same way, by the supervisor.
"""

import json
import os
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
for name, source, optional in payload.pop("modules"):
    module = types.ModuleType(name)
    module.__package__ = "%s"
    module.__path__ = []
    sys.modules[name] = module
    try:
        exec(compile(source, "<" + name + ">", "exec"), module.__dict__)
    except Exception:
        if not optional:
            raise
        del sys.modules[name]
sys.modules["%s." + payload.pop("role")].main(payload)
"""
    % (UNSUPPORTED, PACKAGE, PACKAGE)
).strip()

SUPERVISOR_ARGUMENTS = ("-I", "-S", "-c", PROGRAM)
"""Isolated and without site-packages: the supervisor runs nothing but the standard library."""

# In the order of their imports.
_ACCOUNTS = ("cgroup", "report", "commands", "late", "lookups")
_SUPERVISOR = ("wire", "boot", "posix", "pump", "forks", *_ACCOUNTS, "supervisor")
_SHELLS = ("introspection", "plain_shell", "ipython_introspection", "ipython_shell")
_TEMPLATE = ("wire", "boot", "posix", "streams", "asking", "loop", *_SHELLS, "worker", "files", "template")
_OPTIONAL = ("ipython_introspection", "ipython_shell")
"""What may fail to import: the image need not have IPython, and whatever it has may be broken."""


def sources() -> Dict[str, str]:
    """Return the source text of every module of the agent by its short name."""
    here = os.path.dirname(os.path.abspath(__file__))
    texts = {}
    for name in dict.fromkeys(("__init__",) + _SUPERVISOR + _TEMPLATE):
        with open(os.path.join(here, name + ".py"), encoding="utf-8") as file:
            texts[name] = file.read()
    return texts


def payload(role: str, texts: Dict[str, str], config: Dict[str, Any]) -> bytes:
    """Return what to write to the program's standard input so that it becomes ``supervisor`` or ``template``."""
    modules: List[List[Any]] = [[PACKAGE, texts["__init__"], False]]
    for name in _SUPERVISOR if role == "supervisor" else _TEMPLATE:
        modules.append([PACKAGE + "." + name, texts[name], name in _OPTIONAL])
    carried = dict(config, texts=texts) if role == "supervisor" else dict(config)
    body = json.dumps(dict(carried, role=role, modules=modules)).encode()
    return b"%d\n" % len(body) + body
