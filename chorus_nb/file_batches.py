"""Many files of a sandbox by few requests: what is refused of one keeps none of the others back."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from .errors import SandboxFileError
from .file_entries import no_list, results_of
from .file_requests import NOT_THERE, PIECE_BYTES, FileRequests, ahead, only_buffer, refusal

MAX_BYTES = PIECE_BYTES
"""What a file may have that is written with others; a larger one goes by pieces (``SandboxFiles.open``)."""

MAX_DIGESTED_BYTES = 2**26
"""What a file may have whose digest is made with those of others: that of a larger one is made in pieces."""

REMOVED_AT_ONCE = 20_000
MAX_REMOVALS = 1000
"""How often is asked for the rest of a tree before something is known to go on writing there."""

T = TypeVar("T")
_MAX_ITEMS = 1000
_MAX_CHARS = 2**19


class KnownFile(NamedTuple):
    """A regular file that is there, with so many bytes."""

    path: str
    size_bytes: int


class NewFile(NamedTuple):
    """A file as it is to be: ``mode`` is its permission bits, its time is in nanoseconds since the epoch."""

    path: str
    data: bytes
    mode: int
    modified_ns: int


class FileBatches:
    """Asks for many at once. Paths are those of :class:`chorus_nb.files.SandboxFiles`.

    Every change does what can be done, and then raises ``SandboxFileError`` for the first that was refused.

    Parameters
    ----------
    requests : FileRequests
    """

    def __init__(self, requests: FileRequests) -> None:
        self._requests = requests

    def digests(self, files: Iterable[KnownFile]) -> dict[str, bytes]:
        """Return the SHA-256 of regular files by their paths, as the sandbox says; of what can't be read there is none.

        Of each as many bytes are read as it is known to have. No link is followed.
        """
        found: dict[str, bytes] = {}
        large: list[KnownFile] = []
        for batch in _batches((each, each.path, 0) for each in _but_large(files, large)):
            while batch:
                reply = self._requests.ask("digest_many", batch[0].path, {"files": batch})
                results = results_of(reply.content, len(batch))
                pairs = zip(batch, results, strict=False)
                found.update({file.path: _sha256(result) for file, result in pairs if "evalue" not in result})
                batch = batch[len(results) :]
        for path, size_bytes in large:
            with suppress(SandboxFileError):
                found[path] = _sha256({"sha256": self._requests.digest(path, size_bytes)})
        return found

    def read_small(self, path: str) -> bytes | None:
        """Return the content of a regular file by one request; None where it is no less than :data:`MAX_BYTES`.

        No link is followed. Raises ``SandboxFileError``.
        """
        reply = self._requests.ask("read_many", path, {"files": [(path, MAX_BYTES, False)]})
        for error in self._refusals([path], results_of(reply.content, 1)):
            raise error
        data = only_buffer(reply, MAX_BYTES)
        return data if len(data) < MAX_BYTES else None

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files, links, and folders with all that is in them; what is missing is as good as removed."""
        refused: list[SandboxFileError] = []
        for batch in _batches((path, path, 0) for path in paths):
            refused += [each for each in self._removed(batch) if each.errno not in NOT_THERE]
        _raise_first(refused)

    def _removed(self, paths: list[str]) -> Iterator[SandboxFileError]:
        in_vain = 0
        while paths:
            content = {"paths": paths, "max_entries": REMOVED_AT_ONCE}
            results = results_of(self._requests.ask("remove_many", paths[0], content).content, len(paths))
            # Of the last one there may be a rest.
            done = len(results) - (results[-1].get("done") is False)
            yield from self._refusals(paths[:done], results[:done])
            paths, in_vain = paths[done:], 0 if done else in_vain + 1
            if in_vain == MAX_REMOVALS:
                raise refusal(self._requests.session.name, paths[0], "something goes on writing there")

    def make_folders(self, paths: Iterable[str]) -> None:
        """Make folders that only their owner may use, until :meth:`chmod`; one that is there stays as it is."""
        self._make((path, "directory", "") for path in paths)

    def make_links(self, links: Iterable[tuple[str, str]]) -> None:
        """Make links, each of a path and what it says, also in place of other links."""
        self._make((path, "link", target) for path, target in links)

    def _make(self, entries: Iterable[tuple[str, str, str]]) -> None:
        asked = [{"path": path, "kind": kind, "target": target} for path, kind, target in entries]
        self._ask_all("make_many", "entries", asked, {"settle": False})

    def chmod(self, modes: Iterable[tuple[str, int]]) -> None:
        """Set permission bits, one after another in this order."""
        self._ask_all("chmod_many", "modes", [{"path": path, "mode": mode} for path, mode in modes])

    def _ask_all(
        self, operation: str, name: str, asked: Iterable[dict[str, Any]], more: dict[str, Any] | None = None
    ) -> None:
        refused: list[SandboxFileError] = []
        for batch in _batches((each, f"{each['path']}{each.get('target', '')}", 0) for each in asked):
            refused += self._asked(operation, batch, {name: batch, **(more or {})})
        _raise_first(refused)

    def write(self, files: Iterable[NewFile]) -> None:
        """Write regular files of at most :data:`MAX_BYTES`, each whole: what is there is the old or the new one."""
        batches = _batches((each, each.path, len(each.data)) for each in files)
        # While one is written there, the next are read here.
        with ahead(partial(self._written, batch) for batch in batches) as answers:
            _raise_first([each for refused in answers for each in refused])

    def _written(self, batch: Sequence[NewFile]) -> list[SandboxFileError]:
        asked = [
            {"path": path, "size_bytes": len(data), "mode": mode, "modified_ns": modified_ns}
            for path, data, mode, modified_ns in batch
        ]
        content = {"files": asked, "part": f".chorus-nb-{secrets.token_hex(8)}"}
        return self._asked("write_many", asked, content, b"".join(each.data for each in batch))

    def _asked(
        self, operation: str, asked: Sequence[dict[str, Any]], content: dict[str, Any], data: bytes | None = None
    ) -> list[SandboxFileError]:
        paths = [each["path"] for each in asked]
        results = results_of(self._requests.ask(operation, paths[0], content, data).content, len(paths))
        if len(results) < len(paths):
            raise no_list()
        return self._refusals(paths, results)

    def _refusals(self, paths: Sequence[str], results: Sequence[dict[str, Any]]) -> list[SandboxFileError]:
        name = self._requests.session.name
        pairs = zip(paths, results, strict=True)
        return [refusal(name, path, result) for path, result in pairs if "evalue" in result]


def _but_large(files: Iterable[KnownFile], large: list[KnownFile]) -> Iterator[KnownFile]:
    for each in files:
        if each.size_bytes > MAX_DIGESTED_BYTES:
            large.append(each)
        else:
            yield each


def _sha256(result: dict[str, Any]) -> bytes:
    said = result.get("sha256")
    if not isinstance(said, str) or not re.fullmatch("[0-9a-f]{64}", said):
        raise no_list()
    return bytes.fromhex(said)


def _batches(items: Iterable[tuple[T, str, int]]) -> Iterator[list[T]]:
    """Yield things, each with its path and how many bytes go with it, in as many as one request takes."""
    batch: list[T] = []
    chars = size = 0
    for item, path, size_bytes in items:
        if batch and (len(batch) == _MAX_ITEMS or chars > _MAX_CHARS or size + size_bytes > MAX_BYTES):
            yield batch
            batch, chars, size = [], 0, 0
        batch.append(item)
        chars, size = chars + len(path), size + size_bytes
    if batch:
        yield batch


def _raise_first(refused: Sequence[SandboxFileError]) -> None:
    if refused:
        raise refused[0]
