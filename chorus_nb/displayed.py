"""Files that an output names: ``<img src="plot.png">``, a link to a table that a cell wrote.

In a notebook such a reference leads to the Jupyter server, and there to the host's file of that name. A sandbox means
its own file. That is read through the session and takes the place of the reference, as a ``data:`` URL (RFC 2397) or,
for a page in an ``iframe``, as its ``srcdoc``. It happens before the output is made harmless, so what is put in is as
hostile as all else in it, and nothing here decides what may be shown.
"""

from __future__ import annotations

import base64
import math
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import escape
from posixpath import basename, dirname, join
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .agent.wire import Message
from .conversation import Request
from .errors import AgentProtocolError, ChorusError
from .file_kinds import font_type, image_type, media_type, page_of
from .file_references import ATTRIBUTE, MARKDOWN_IMAGE, TAG, end_of, path_of, references, value_of
from .page_files import IN_STYLE, MAX_CHARACTERS, UrlOf, style_with_files, with_files
from .sanitize import clean_markdown, printable_line

if TYPE_CHECKING:
    from .session import Session

MAX_FILES = 256
"""As many references of one output are looked up."""

MAX_LINK_BYTES = 2**20
"""A link's file is in the notebook whether or not anybody follows it; pictures have the limit of the cell's output."""

READ_TIMEOUT_S = 5.0
"""For all files of one output; a cell's time limit and its Stop button wait meanwhile."""

_MAX_IMPORTS = 4
"""Levels of style sheets that import others: two may import each other."""

_PIECE_BYTES = 2**22
_DEFAULT_SESSION = "default"
_DISPLAYS = ("display_data", "update_display_data", "execute_result")
_WIDGETS = ("comm_open", "comm_msg")
_PATH_MAX = 4096
_HANDLER = re.compile(r"\son\w+\s*=", re.IGNORECASE)
_NOT_PLAIN = re.compile(r"[^\w\s.;/:`%'()-]")

ReadFile = Callable[[str, int], bytes | None]
"""Takes a path and how many bytes it may have. None where no file can be read; raises :class:`NotShownError`."""


class NotShownError(Exception):
    """A file is there and can't be shown: its path, and why."""

    def __init__(self, path: str, why: str = "larger than can be shown here") -> None:
        self.path = path
        self.why = why

    def command(self, session: str) -> str:
        """Return what brings the file to the notebook's folder."""
        of_session = f" --session {shlex.quote(session)}" if session else ""
        return f"%sandbox get {shlex.quote(printable_line(self.path))} .{of_session}"


class NothingToShowError(NotShownError):
    """There is no such file, or it is something else than is meant: nobody need copy it."""


class DisplayedFiles:
    """The files of a session that its outputs name."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def are_named_in(self, message: Message) -> bool:
        """Tell whether files have to be read for a message. Takes a few microseconds for most."""
        return any(map(_names_files, _bundles(message)))

    def put_into(self, message: Message, room_bytes: int) -> Message:
        """Return the message with the files in it; may take :data:`READ_TIMEOUT_S`, and not on the reading thread.

        Parameters
        ----------
        message : Message
            A display, or what an ``Output`` widget is to hold, that :meth:`are_named_in`.
        room_bytes : int
            How many bytes more the output may have, with all that is put in.
        """
        name = self._session.name
        reader = _Reader(self._session)
        files = Inserter(
            reader, room_bytes, "" if name == _DEFAULT_SESSION else name, _working_dir(message), reader.until_s
        )
        if message.msg_type in _DISPLAYS:
            return replace(message, content=files.bundle_in(dict(message.content)))
        held = [files.bundle_in(each) if isinstance(each, dict) else each for each in held_outputs(message)]
        return with_held_outputs(message, held)


def _bundles(message: Message) -> Iterator[dict[str, Any]]:
    """Yield the MIME bundles of a message: that of a display, or those that an ``Output`` widget is to hold."""
    displays = [message.content] if message.msg_type in _DISPLAYS else held_outputs(message)
    for display in displays:
        data = display.get("data") if isinstance(display, dict) else None
        if isinstance(data, dict):
            yield data


def held_outputs(message: Message) -> list[Any]:
    """Return the outputs that the sandbox, and not the page, says an ``Output`` widget has."""
    data = message.content.get("data")
    if message.msg_type not in _WIDGETS or not isinstance(data, dict) or data.get("method", "update") != "update":
        return []
    state = data.get("state")
    outputs = state.get("outputs") if isinstance(state, dict) else None
    return outputs if isinstance(outputs, list) else []


def with_held_outputs(message: Message, outputs: list[Any]) -> Message:
    """Return a message that has :func:`held_outputs` with others in their place."""
    data = message.content["data"]
    data = {**data, "state": {**data["state"], "outputs": outputs}}
    return replace(message, content={**message.content, "data": data})


def _names_files(bundle: dict[str, Any]) -> bool:
    html, markdown = bundle.get("text/html"), bundle.get("text/markdown")
    return any(references(html) if isinstance(html, str) else ()) or bool(
        isinstance(markdown, str) and any(path_of(found["path"]) for found in MARKDOWN_IMAGE.finditer(markdown))
    )


def _working_dir(message: Message) -> str:
    """Return where the cell was as it displayed, in the sandbox; ``""`` for where cells begin."""
    folder = message.metadata.get("working_dir")
    is_path = isinstance(folder, str) and folder.startswith("/") and len(folder) <= _PATH_MAX and "\0" not in folder
    return str(folder) if is_path else ""


class _Reader:
    """Reads files of a session that runs, for a few seconds in all."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.until_s = time.monotonic() + READ_TIMEOUT_S

    def __call__(self, path: str, max_bytes: int) -> bytes | None:
        data = bytearray()
        while len(data) <= max_bytes:
            size = min(_PIECE_BYTES, max_bytes + 1 - len(data))
            piece = self._piece(path, len(data), size)
            if piece is None:
                return None
            data += piece
            if len(piece) < size:
                return bytes(data)
        raise NotShownError(path)

    def _piece(self, path: str, offset: int, size: int) -> bytes | None:
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            return None
        request = Request("file_read_request", {"path": path, "offset": offset, "size": size})
        try:
            reply = self._session.request(request, "file_reply", left_s)
        except AgentProtocolError:
            raise
        except ChorusError:  # It is silent or gone, which its cell or the next one tells.
            return None
        if reply.content.get("status") != "ok" or len(reply.buffers) != 1 or len(reply.buffers[0]) > size:
            return None
        return bytes(reply.buffers[0])


class Inserter:
    """Puts files into one output.

    Parameters
    ----------
    read : callable
        Reads a file of the sandbox.
    room_bytes : int
        How much all that is put in may have.
    session : str
        Whose files they are, where that has to be said; empty for the default one.
    folder : str
        Where relative paths begin; where the cells did when left out.
    until_s : float
        When to give up reading pages (``time.monotonic``).
    """

    def __init__(
        self, read: ReadFile, room_bytes: int, session: str = "", folder: str = "", until_s: float = math.inf
    ) -> None:
        self._read = read
        self._room_bytes = room_bytes
        self._session = session
        self._folder = folder
        self._until_s = until_s
        self._looked_up = 0

    def bundle_in(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return an output, whose ``data`` is its MIME bundle, with the files that the bundle names."""
        data = output.get("data")
        if not isinstance(data, dict):
            return output
        of = {"text/html": self.html, "text/markdown": self.markdown}
        return {**output, "data": {k: of[k](v) if k in of and isinstance(v, str) else v for k, v in data.items()}}

    def html(self, source: str) -> str:
        """Return HTML with the files that it names, or with words for those that are not there."""
        pieces, at = [], 0
        for found in references(source):
            if self._looked_up >= MAX_FILES:
                break
            end = end_of(source, found)
            if found.start() >= at:
                pieces += [source[at : found.start()], self._element(source[found.start() : end], found["tag"])]
                at = end
        return "".join([*pieces, source[at:]])

    def markdown(self, source: str) -> str:
        """Return Markdown with the pictures that it names; that which will be shown as its source stays readable."""
        whole = MARKDOWN_IMAGE.sub(self._markdown_image, source)
        return source if clean_markdown(whole) is None else whole

    def _markdown_image(self, found: re.Match[str]) -> str:
        path = path_of(found["path"])
        try:
            url = path and self._picture(path)
        except NotShownError as error:
            copied = "" if isinstance(error, NothingToShowError) else f"; `{error.command(self._session)}` copies it"
            return re.sub(_NOT_PLAIN, "?", f"({printable_line(error.path)}: {error.why}{copied})")
        return f"![{found['alt']}]({url})" if url else found[0]

    def _element(self, source: str, tag: str) -> str:
        try:
            return TAG.sub(self._tag, source)
        except NotShownError as error:
            name = source.partition(">")[2].removesuffix("</a>") if tag == "a" else escape(printable_line(error.path))
            return f"{name} ({self._words(error)})"

    def _tag(self, found: re.Match[str]) -> str:
        attribute = found["tag"] and ATTRIBUTE.search(found[0])
        path = attribute and path_of(value_of(attribute))
        if not attribute or not path:
            return found[0]
        try:
            new = self._attribute(found["tag"], path)
        except NothingToShowError as error:
            # A link may lead elsewhere, a film have another source, and a page see to it itself.
            if found["tag"] in ("a", "source") or _HANDLER.search(found[0]):
                return found[0]
            if found["tag"] == "img":
                return f"{escape(printable_line(path))} ({self._words(error)})"
            raise
        if new and found["tag"] == "iframe" and " style=" not in found[0]:
            new += ' style="background: white"'  # Pages count on that, also where the notebook's theme is dark.
        return f"{found[0][: attribute.start()]}{new}{found[0][attribute.end() :]}"

    def _attribute(self, tag: str, path: str) -> str:
        """Return what takes the place of an attribute that names a file."""
        if tag == "a":
            url = _url("application/octet-stream", self._content(path, MAX_LINK_BYTES))
            return f'href="{url}" download="{escape(basename(path))}"'
        if tag == "iframe":
            return self._page(path)
        return f'src="{self._picture(path) if tag == "img" else self._media(tag, path)}"'

    def _page(self, path: str) -> str:
        page = page_of(self._content(path))
        if page is None:
            raise NotShownError(path, "neither a page nor a picture nor text")
        # Ours first, as of two attributes of one name the first counts.
        return f'sandbox="allow-scripts" srcdoc="{escape(self._whole_page(page, dirname(path)))}"'

    def _whole_page(self, page: str, folder: str) -> str:
        """Return a page with its files, but for pages within it: two could hold each other."""
        notes: list[str] = []
        return with_files(page, self._urls(folder, notes), self._until_s) + "".join(notes)

    def _urls(self, folder: str, notes: list[str], level: int = 0) -> UrlOf:
        """Return what has the files of a page, or of a style sheet in it; what can't be shown is noted."""

        def url_of(tag: str, reference: str) -> str | None:
            path = path_of(reference)
            try:
                return path and self._part(tag, join(folder, path), notes, level)
            except NothingToShowError:
                return None
            except NotShownError as error:
                notes.append(f"<p>{escape(printable_line(error.path))} ({self._words(error)})</p>")
                return None

        return url_of

    def _part(self, tag: str, path: str, notes: list[str], level: int) -> str:
        """Return a file of a page as its URL."""
        if tag in ("img", IN_STYLE):
            return self._picture(path, fonts=tag == IN_STYLE)
        if tag == "script":
            return _url("text/javascript", self._content(path))
        if tag == "link":
            css = self._content(path)
            if level < _MAX_IMPORTS and len(css) <= MAX_CHARACTERS:
                text = css.decode("utf-8", "surrogateescape")
                text = style_with_files(text, self._urls(dirname(path), notes, level + 1))
                css = text.encode("utf-8", "surrogateescape")
            return _url("text/css", css)
        return self._media(tag, path)

    def _media(self, tag: str, path: str) -> str:
        data = self._content(path)
        mime = media_type(data, tag)
        if mime is None:
            raise NothingToShowError(path, "neither a film nor a sound that browsers know")
        return _url(mime, data)

    def _words(self, error: NotShownError) -> str:
        if isinstance(error, NothingToShowError):
            return error.why
        return f"{error.why}; <code>{escape(error.command(self._session))}</code> copies it"

    def _picture(self, path: str, fonts: bool = False) -> str:
        data = self._content(path)
        mime = image_type(data) or (font_type(data) if fonts else None)
        if mime is None:
            raise NothingToShowError(path, "no picture that browsers know")
        return _url(mime, data)

    def _content(self, path: str, most_bytes: int = 2**30) -> bytes:
        self._looked_up += 1
        if self._looked_up > MAX_FILES:
            raise NothingToShowError(path, f"one of more than {MAX_FILES} files")
        most_bytes = max(0, min(most_bytes, self._room_bytes * 3 // 4))
        for name in dict.fromkeys((path, unquote(re.split("[?#]", path)[0]))):
            data = self._read(join(self._folder, name), most_bytes) if name else None
            if data is not None:
                self._room_bytes -= len(data) * 4 // 3
                return data
        raise NothingToShowError(path, "no file of the sandbox that can be read")


def _url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
