"""What can be typed next and what a name is, as the standard library alone can say it of a live namespace.

Like IPython it evaluates nothing but names and attributes: a call or an index might do something.
"""

import builtins
import inspect as inspection
import keyword
import re
from typing import Any, Dict, Optional

MAX_MATCHES = 500
_MAX_CHARS = 2**16

_NAME = r"[^\W\d]\w*"
_UNTIL_CURSOR = re.compile(r"(?<![\w.\"')\]}])((?:%s\.)*)((?:%s)?)$" % (_NAME, _NAME))
_CALL = re.compile(r"((?:%s\.)*%s)$" % (_NAME, _NAME))


def complete(namespace: Dict[str, Any], code: str, cursor_pos: int) -> Dict[str, Any]:
    """Return the content of ``complete_reply``."""
    found = _UNTIL_CURSOR.search(_line_before(code, cursor_pos))
    owner, prefix = found.groups() if found else ("", "")
    names = _names(namespace, owner) if found else []
    # Private names only for who begins to write one.
    matches = [name for name in names if name.startswith(prefix) and (prefix or not name.startswith("_"))]
    return {
        "status": "ok",
        "matches": sorted(set(matches))[:MAX_MATCHES],
        "cursor_start": cursor_pos - len(prefix),
        "cursor_end": cursor_pos,
        "metadata": {},
    }


def inspect(namespace: Dict[str, Any], code: str, cursor_pos: int, detail_level: int) -> Dict[str, Any]:
    """Return the content of ``inspect_reply``: of the name at the cursor, else of the function that is being called."""
    name = _name_at(code, cursor_pos)
    reply: Dict[str, Any] = {"status": "ok", "found": False, "data": {}, "metadata": {}}
    try:
        value = _value(namespace, name)
    except (AttributeError, LookupError):
        return reply
    return dict(reply, found=True, data={"text/plain": _describe(name, value, detail_level)})


def _line_before(code: str, cursor_pos: int) -> str:
    return code[:cursor_pos].rpartition("\n")[2]


def _names(namespace: Dict[str, Any], owner: str) -> Any:
    if not owner:
        return [*namespace, *dir(builtins), *keyword.kwlist]
    try:
        return [name for name in dir(_value(namespace, owner[:-1])) if isinstance(name, str)]
    except (AttributeError, LookupError):
        return []


def _value(namespace: Dict[str, Any], dotted: str) -> Any:
    """Return what a dotted name stands for. Raises ``LookupError`` or ``AttributeError``."""
    first, *rest = dotted.split(".")
    value = namespace[first] if first in namespace else vars(builtins)[first]
    for name in rest:
        value = getattr(value, name)
    return value


def _name_at(code: str, cursor_pos: int) -> str:
    """Return the dotted name that the cursor touches, else the one whose parenthesis is open, else nothing."""
    rest = re.match(r"\w*", code[cursor_pos:])
    touched = _CALL.search(_line_before(code, cursor_pos) + (rest.group() if rest else ""))
    if touched:
        return str(touched.group())
    depth = 0
    for at in range(cursor_pos - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(code[at], 0)
        if depth < 0:
            called = _CALL.search(_line_before(code, at))
            return str(called.group()) if called else ""
    return ""


def _describe(name: str, value: Any, detail_level: int) -> str:
    parts = [
        ("Signature", _attempt(lambda: name.rpartition(".")[2] + str(inspection.signature(value)))),
        ("Type", type(value).__name__),
        ("String form", None if callable(value) else _attempt(lambda: repr(value))),
        ("Source", _attempt(lambda: inspection.getsource(value)) if detail_level else None),
        ("Docstring", _attempt(lambda: inspection.getdoc(value))),
    ]
    return "\n".join("%s: %s" % (title, text) for title, text in parts if text)[:_MAX_CHARS]


def _attempt(describe: Any) -> Optional[str]:
    """Return what can be said: an object without a signature, source or working repr still has the rest."""
    try:
        text: Optional[str] = describe()
    except Exception:
        return None
    return text
