"""Files in a sandbox, in pieces, while a cell may be running: what a program does with single files and folders."""

from __future__ import annotations

import builtins
import io
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from .copying import Transfer, get, put
from .copying.get import MAX_BYTES
from .copying.transfer import Paths
from .errors import SandboxFileError
from .file_batches import MAX_REMOVALS, REMOVED_AT_ONCE, FileBatches
from .file_entries import MAX_PATH_BYTES, FileEntry, entries_of, no_list, one_entry, results_of, to_bytes
from .file_requests import NOT_THERE, PIECE_BYTES, FileRequests, InSandbox, refusal, text_path
from .file_streams import Part, Reading, Writing
from .host_tree import tree_order
from .sanitize import printable_line

if TYPE_CHECKING:
    from .session import Session

MAX_ENTRIES = 1_000_000
_MAX_WALKED_CHARS = 2**28
"""Of all paths of one walk together: of entries there may be a million, and of one path 64 KiB."""
_LISTED_AT_ONCE = 4000
_FOLDERS_AT_ONCE = 256
_PATHS_CHARS = 2**20
_MAX_LIST_ENTRIES = 20_000


class SandboxFiles:
    """The files of one sandbox. Paths that are not absolute start at ``folder``, or the working directory of its cells.

    Every path is text as ``os.fsdecode`` makes it, so names that are no UTF-8 are paths as well. Every method raises
    ``SandboxFileError`` where the sandbox's file system says no, with its ``errno``.
    """

    def __init__(self, session: Session, folder: str = "") -> None:
        self._session = session
        self.requests = FileRequests(session, folder)
        self.many = FileBatches(self.requests)

    # Content

    def read(self, path: InSandbox, *, max_bytes: int = 2**30) -> bytes:
        """Return the content of a regular file.

        Raises
        ------
        SandboxFileError
            It is missing, unreadable, not a regular file, or larger than ``max_bytes``.
        """
        path, data = text_path(path), bytearray()
        while True:
            size = min(PIECE_BYTES, max_bytes + 1 - len(data))
            piece = self.requests.piece(path, len(data), size)
            data += piece
            if len(data) > max_bytes:
                raise SandboxFileError(
                    f"{path!r} is larger than {max_bytes} bytes.", path=path, next_step="Raise max_bytes to read it."
                )
            # Less than was asked for is the end: so an agent that is not ours can't have us ask a billion times.
            if len(piece) < size:
                return bytes(data)

    def write(self, path: InSandbox, data: bytes, *, mode: int | None = None, modified_ns: int | None = None) -> None:
        """Write a regular file whole, in place of what was there: it is the old or the new one at any time.

        Parameters
        ----------
        path : str
            A link is followed.
        data : bytes
        mode : int, optional
            Permission bits; when left out those of the file that is replaced, or what ``umask`` leaves.
        modified_ns : int, optional
            Its time in nanoseconds since the epoch; now when left out.
        """
        with Writing(Part(self.requests, text_path(path), mode, modified_ns)) as file:
            file.write_all(data)

    def open(self, path: InSandbox, mode: Literal["rb", "wb"] = "rb") -> BinaryIO:
        """Open a regular file as a stream that holds a few MiB of it in memory.

        One that is written is there once it is closed, whole; where its ``with`` block raises, it never is.
        """
        path = text_path(path)
        if mode == "wb":
            return cast(BinaryIO, Writing(Part(self.requests, path)).buffered())
        if mode != "rb":
            raise ValueError(f"mode {mode!r} is not allowed. Allowed: rb, wb; io.TextIOWrapper around it has text.")
        entry = self.stat(path, follow=True)
        if entry.kind != "file":
            raise refusal(self._session.name, path, "not a regular file")
        return cast(BinaryIO, io.BufferedReader(Reading(self.requests, path, entry.size_bytes), PIECE_BYTES))

    def digest(self, path: InSandbox) -> str:
        """Return the SHA-256 of a regular file in hexadecimal, as the sandbox says: nobody else has looked."""
        path = text_path(path)
        end = self.stat(path, follow=True).size_bytes
        return self.requests.digest(path, end)

    # What there is

    def stat(self, path: InSandbox, *, follow: bool = False) -> FileEntry:
        """Return what is at a path; of a link, what it leads to with ``follow``."""
        path = text_path(path)
        reply = self.requests.ask("stat", path, {"path": path, "follow": follow})
        return one_entry(reply.content.get("entry"), path)

    def exists(self, path: InSandbox) -> bool:
        """Whether anything is at a path, also a link that leads nowhere."""
        try:
            self.stat(path)
        except SandboxFileError as error:
            if error.errno not in NOT_THERE:
                raise
            return False
        return True

    def list(self, path: InSandbox = ".") -> builtins.list[FileEntry]:
        """Return the entries of a folder, by name: 20,000 at most."""
        return self.walk(path, max_entries=_MAX_LIST_ENTRIES, max_depth=1)

    def walk(
        self,
        path: InSandbox = ".",
        *,
        max_entries: int = MAX_ENTRIES,
        max_depth: int | None = None,
        on_error: Callable[[str, str], object] | None = None,
    ) -> builtins.list[FileEntry]:
        """Return everything below a folder, a folder before what is in it; no link below it is followed.

        Parameters
        ----------
        path : str
        max_entries : int
            More are an error.
        max_depth : int, optional
            How deep to go: 1 is the folder alone.
        on_error : callable
            Gets the path of a folder below that can't be read, and why. Without it that is raised.
        """
        path = text_path(path)
        found: list[FileEntry] = []
        chars = 0
        waiting: deque[tuple[str, str]] = deque([("", "")])
        while waiting:
            asked = _some(waiting)
            content = {"base": path, "folders": asked, "max_entries": min(_LISTED_AT_ONCE, max_entries + 1)}
            reply = self.requests.ask("scan", path, content)
            results = results_of(reply.content, len(asked))
            for (folder, after), result in zip(asked, results, strict=False):
                listed = self._listed(path, folder, after, result, on_error)
                found += listed
                chars += sum(len(each.path) for each in listed)
                if chars > _MAX_WALKED_CHARS:
                    raise _endless(self._session.name, path)
                waiting.extend((each.path, "") for each in listed if _is_to_enter(each, max_depth))
                if listed and result.get("more") is True:
                    waiting.appendleft((folder, listed[-1].name))
            waiting.extendleft(reversed(asked[len(results) :]))
            if len(found) > max_entries:
                raise SandboxFileError(
                    f"{path!r} has more than {max_entries} entries.", path=path, next_step="Raise max_entries."
                )
        return sorted(found, key=lambda entry: tree_order(entry.path))

    def _listed(
        self, path: str, folder: str, after: str, result: dict[str, Any], on_error: Callable[[str, str], object] | None
    ) -> builtins.list[FileEntry]:
        if "entries" not in result:
            error = refusal(self._session.name, f"{path}/{folder}" if folder else path, result)
            if on_error is None or not folder:
                raise error
            on_error(folder, printable_line(str(result.get("evalue"))))
            return []
        entries = entries_of(result["entries"], _LISTED_AT_ONCE)
        names = [to_bytes(entry.path) for entry in entries]
        # Names that come twice, or again and again, would be files that are written twice and a walk without end.
        if any(one >= other for one, other in zip([to_bytes(after), *names], names, strict=False)):
            raise no_list()
        if len(folder) > MAX_PATH_BYTES:
            raise _endless(self._session.name, path)
        return [entry.at(f"{folder}/{entry.path}") for entry in entries] if folder else entries

    # Many files

    def put(self, src: Paths, dst: InSandbox = ".", *, progress: bool = True) -> Transfer:
        """Copy files and folders of the host into the sandbox, as ``cp -r`` does; what is there is replaced.

        Parameters
        ----------
        src : path, or sequence of paths
            Of the host. ``*``, ``?``, ``[abc]`` and ``**`` stand for several, as in a shell. ``folder/.`` is what is in
            a folder. A link that is named is followed.
        dst : str
            In the sandbox: a folder to copy into, or the new name. One that ends in ``/`` is a folder, and is made.
        progress : bool
            Whether there is a bar where it takes longer than a second.

        Returns
        -------
        Transfer
            What was copied, and what was not: links that lead out of their folder, devices, FIFOs, sockets, and what
            can't be read or has gone meanwhile.

        Raises
        ------
        TransferError, SandboxFileError
            Nothing was copied, or a part; a file is the old or the new one.
        """
        return put(self, src, text_path(dst), guarded=host_folders(self._session), shown=progress)

    def get(
        self,
        src: Paths,
        dst: str | os.PathLike[str] = ".",
        *,
        overwrite: bool = False,
        max_bytes: int = MAX_BYTES,
        progress: bool = True,
    ) -> Transfer:
        """Copy files and folders of the sandbox to the host, as ``cp -r`` does.

        Parameters
        ----------
        src : path, or sequence of paths
            Of the sandbox; patterns as in :meth:`put`.
        dst : path
            On the host: a folder to copy into, or the new name. One that ends in ``/`` is a folder, and is made.
        overwrite : bool
            Whether files of the host are replaced by others. Without it they never are, and nothing is copied where
            one would be; one that has the same content is none. Folders are never replaced.
        max_bytes : int
            More are an error.
        progress : bool
            Whether there is a bar where it takes longer than a second.

        Returns
        -------
        Transfer
            What was copied, and what was not: links, devices, FIFOs, sockets, and what can't be read or has gone
            meanwhile.

        Raises
        ------
        TransferConflictError
            Files of the host would be replaced.
        TransferError, SandboxFileError
            Nothing was copied, or a part: each file that is there is whole. A large one that was interrupted is kept
            beside its place, and goes on from there when the same is asked for again.
        """
        guarded = host_folders(self._session)
        return get(
            *(self, src, os.fspath(dst)), overwrite=overwrite, max_bytes=max_bytes, guarded=guarded, shown=progress
        )

    # Changes

    def mkdir(self, path: InSandbox, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a folder, as :meth:`pathlib.Path.mkdir`."""
        path = text_path(path)
        self.requests.ask("mkdir", path, {"path": path, "parents": parents, "exist_ok": exist_ok})

    def remove(self, path: InSandbox, *, recursive: bool = False, missing_ok: bool = False) -> None:
        """Remove a file, a link, or an empty folder; with ``recursive`` a folder and all that is in it."""
        path = text_path(path)
        content = {"path": path, "recursive": recursive, "max_entries": REMOVED_AT_ONCE}
        try:
            for _ in range(MAX_REMOVALS):
                if self.requests.ask("remove", path, content).content.get("done") is not False:
                    return
            raise refusal(self._session.name, path, "something goes on writing there")
        except SandboxFileError as error:
            if not missing_ok or error.errno not in NOT_THERE:
                raise

    def chmod(self, path: InSandbox, mode: int) -> None:
        """Set the permission bits of what is at a path; a link is followed."""
        path = text_path(path)
        self.requests.ask("chmod", path, {"path": path, "mode": mode})

    def rename(self, path: InSandbox, to: InSandbox) -> None:
        """Rename, or move within a file system; a file at ``to`` is replaced, as by rename(2)."""
        path = text_path(path)
        self.requests.ask("rename", path, {"path": path, "to": text_path(to)})

    def symlink(self, path: InSandbox, target: InSandbox) -> None:
        """Make a link at ``path`` that says ``target``; something that is there is an error."""
        path = text_path(path)
        self.requests.ask("symlink", path, {"path": path, "target": text_path(target)})


def files_below(files: SandboxFiles, folder: str) -> SandboxFiles:
    """Return the same files by paths that begin at another folder."""
    return SandboxFiles(files.requests.session, folder)


def _endless(session: str, path: str) -> SandboxFileError:
    return refusal(session, path, "folders in folders without end")


def host_folders(session: Session) -> tuple[Path, ...]:
    """Return the folders of the host that the code of a session may write to."""
    repository = session.repository if session.config.repository.mode == "rw" else None
    return (*session.config.mounts.writable, *([repository] if repository else []))


def _some(waiting: deque[tuple[str, str]]) -> builtins.list[tuple[str, str]]:
    """Take out as many folders as one request has room for."""
    taken, length = [waiting.popleft()], 0
    while waiting and len(taken) < _FOLDERS_AT_ONCE and length < _PATHS_CHARS:
        taken.append(waiting.popleft())
        length += len(taken[-1][0])
    return taken


def _is_to_enter(entry: FileEntry, max_depth: int | None) -> bool:
    return entry.kind == "directory" and (max_depth is None or entry.path.count("/") + 1 < max_depth)
