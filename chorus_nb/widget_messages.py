"""States of widgets as messages carry them: buffers apart from the rest, other widgets by their ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

REFERENCE = "IPY_MODEL_"


def split_buffers(state: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]], list[bytes]]:
    """Take ``bytes`` out of a state, as the widget messaging protocol has it: what is left, their paths, and them."""
    paths: list[list[str | int]] = []
    buffers: list[bytes] = []

    def split(value: Any, path: list[str | int]) -> Any:
        if isinstance(value, bytes):
            paths.append(path)
            buffers.append(value)
            return None
        if isinstance(value, dict):
            parts = {key: (split(each, [*path, key]), isinstance(each, bytes)) for key, each in value.items()}
            return {key: part for key, (part, binary) in parts.items() if not binary}
        if isinstance(value, list):
            return [split(each, [*path, index]) for index, each in enumerate(value)]
        return value

    return split(state, []), paths, buffers


def with_buffers(data: Mapping[str, Any], buffers: list[bytes]) -> dict[str, Any] | None:
    """Return the state of an update with its buffers in their places; None where they don't fit."""
    state, paths = data.get("state"), data.get("buffer_paths") or []
    if not isinstance(state, dict) or not isinstance(paths, list) or len(paths) != len(buffers):
        return None
    whole = json.loads(json.dumps(state)) if paths else dict(state)
    for path, buffer in zip(paths, buffers, strict=True):
        if not isinstance(path, list) or not 0 < len(path) <= 16 or not _put(whole, path, buffer):
            return None
    return whole


def _put(state: Any, path: list[Any], buffer: bytes) -> bool:
    try:
        for key in path[:-1]:
            state = state[key]
        fits = isinstance(state, dict) and isinstance(path[-1], str)
        fits = fits or (isinstance(state, list) and type(path[-1]) is int and 0 <= path[-1] < len(state))
        if fits:
            state[path[-1]] = bytes(buffer)
    except (KeyError, IndexError, TypeError):
        return False
    return fits


def replace_ids(value: Any, new: Callable[[str], str | None]) -> Any:
    """Return a JSON value with ids replaced, alone or in references."""
    if isinstance(value, dict):
        return {key: replace_ids(each, new) for key, each in value.items()}
    if isinstance(value, list):
        return [replace_ids(each, new) for each in value]
    if not isinstance(value, str):
        return value
    if value.startswith(REFERENCE):
        found = new(value[len(REFERENCE) :])
        return REFERENCE + found if found else value
    return new(value) or value


def size_bytes(value: Any) -> int:
    """Return what a value takes: its JSON text and its buffers."""
    rest, _, buffers = split_buffers({"": value})
    return len(json.dumps(rest)) + sum(map(len, buffers))
