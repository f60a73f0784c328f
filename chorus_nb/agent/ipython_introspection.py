"""What can be typed next and what a name is, as IPython says it of its live namespace."""

import itertools
from typing import Any, Dict

from IPython.core.completer import provisionalcompleter, rectify_completions
from IPython.utils.tokenutil import token_at_cursor

from .introspection import MAX_MATCHES


def complete(shell: Any, code: str, cursor_pos: int) -> Dict[str, Any]:
    """Return the content of ``complete_reply``, as ipykernel does; its key of the types is the one front ends read."""
    with provisionalcompleter():
        found = itertools.islice(shell.Completer.completions(code, cursor_pos), MAX_MATCHES)
        completions = list(rectify_completions(code, found))
    return {
        "status": "ok",
        "matches": [each.text for each in completions],
        "cursor_start": completions[0].start if completions else cursor_pos,
        "cursor_end": completions[0].end if completions else cursor_pos,
        "metadata": {"_jupyter_types_experimental": [{"text": each.text, "type": each.type} for each in completions]},
    }


def inspect(shell: Any, code: str, cursor_pos: int, detail_level: int) -> Dict[str, Any]:
    """Return the content of ``inspect_reply``, without HTML, which ipykernel leaves out too."""
    try:
        data = shell.object_inspect_mime(token_at_cursor(code, cursor_pos), detail_level=detail_level)
    except KeyError:
        data = {}
    return {
        "status": "ok",
        "found": bool(data),
        "data": {"text/plain": data["text/plain"]} if data else {},
        "metadata": {},
    }
