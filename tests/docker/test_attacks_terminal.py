"""A terminal session: whatever a sandbox says, the terminal that shows it does nothing but change colours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.docker

ATTACK = "".join(
    [
        "\x1b]0;a title\x07",  # the window's title
        "\x1b]52;c;ZWNobyBoaQ==\x07",  # the clipboard
        "\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\",  # a link
        "\x1b[2J\x1b[H\x1b[5A\x1b[1;1H",  # the screen, the cursor
        "\x1b[?1049h\x1b[?25l\x1b[6n\x1bc\x1b[!p",  # another screen, no cursor, a question to the terminal, a reset
        "\x1bP$q\x1b\\\x1b_apc\x1b\\\x9b2J\x9d0;x\x9c\x90q\x9c",  # device control, by eight bits too
        "\x07\x05\x0e\x7f\x00\u202e",  # bell, answer back, other characters
    ]
)

SESSION = f"""
attack = {ATTACK!r}
magic = get_ipython().run_cell_magic
get_ipython().run_line_magic("load_ext", "chorus_nb")
setup = "attack = " + repr(attack)
CELLS = {{
    "text": "print(attack); import sys; print(attack, file=sys.stderr); import os; os.write(1, attack.encode())",
    "value": "class V:\\n    def __repr__(self): return attack\\nV()",
    "display": "display({{'text/plain': attack}}, raw=True); display({{attack: attack}}, raw=True)",
    "error": "raise type('E' + attack, (Exception,), {{}})(attack)",
    "help": "def f(): pass\\nf.__doc__ = attack\\nget_ipython().run_line_magic('pinfo', 'f')",
    "warning": "import warnings; warnings.warn(attack)",
    "end": "import os; os.write(2, attack.encode()); os._exit(3)",
    "logs": "import os, threading, time; threading.Timer(.2, lambda: os.write(1, attack.encode())).start()",
}}
for cell in CELLS.values():
    get_ipython().run_cell(f"%%sandbox one --repo none\\n{{setup}}\\n{{cell}}")
for line in ("logs one", "status one", "list", "history one", "stop one"):
    get_ipython().run_cell(f"%sandbox {{line}}")
for name in (attack, "a" + attack, "\\x1b[2J"):
    get_ipython().run_cell(f"%%sandbox {{name}}\\n1")
"""


def test_no_control_of_a_sandbox_reaches_the_terminal(tmp_path: Path) -> None:
    script = tmp_path / "session.ipy"
    script.write_text(SESSION)
    run = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--no-confirm-exit", "--colors=Linux", str(script)],
        env={**os.environ, "IPYTHONDIR": str(tmp_path), "TERM": "xterm-256color"},
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=100,
        check=False,
        cwd=tmp_path,
    )
    shown = run.stdout + run.stderr
    assert "WorkerDiedError" in shown, shown
    assert "link" in shown, "what was printed is shown"
    colours = re.sub(r"\x1b\[[0-9;:]*[mK]", "", shown)
    found = re.search(r".{0,80}[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f].{0,80}", colours, re.DOTALL)
    assert found is None, repr(found[0])
