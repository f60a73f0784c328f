"""Variables between the notebook and a sandbox: :func:`push` and :func:`pull`.

How values are written down is in :mod:`chorus_nb.agent.values`, for both sides. What comes from a sandbox is hostile:
nothing of it is unpickled, evaluated, imported or called, and no more memory is taken than was announced and allowed.
"""

from __future__ import annotations

import keyword
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from .agent.encoding import Encoder
from .agent.pieces import WINDOW, Assembler, cut
from .agent.values import Buffer, CrossingError, DecodeError, size_text
from .agent.wire import Message
from .conversation import Request
from .errors import (
    AgentProtocolError,
    ConfigurationError,
    VariableError,
    VariableMemoryError,
    VariableNotFoundError,
)
from .progress import Progress
from .sanitize import printable_line

if TYPE_CHECKING:
    from .execution import Outcome
    from .session import Session

_OWN = re.compile(r"__\w*|_|_[iod]h|_i+|_i?\d+|In|Out|exit|quit|get_ipython")
"""Names that IPython, and Python itself, keep for themselves."""

_MAX_WORDS = 400


def checked_names(names: Iterable[str]) -> list[str]:
    """Return names that variables may have, each once. Raises ``ConfigurationError``."""
    checked = list(names)
    for name in checked:
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise ConfigurationError(
                f"{printable_line(str(name))!r} is not the name of a variable.",
                next_step="Separate several names by commas alone: x,y.",
            )
        if _OWN.fullmatch(name):
            raise ConfigurationError(
                f"The name {name} belongs to Python or IPython, on both sides.", next_step="Use another name."
            )
    if len(set(checked)) < len(checked) or not checked:
        raise ConfigurationError("A transfer names each variable once.", next_step="For example: x,y.")
    return checked


def push(session: Session, values: Mapping[str, Any], *, shown: bool = False) -> None:
    """Copy values into variables of a sandbox; either all are there in the end, or none.

    Parameters
    ----------
    session : Session
        Started where it is not running.
    values : mapping
        The values by the names of the variables.
    shown : bool
        Whether there is a progress bar, once it takes longer than a second.

    Raises
    ------
    VariableError
        A value can't cross, or is too large; or the sandbox lacks a package or the memory for it.
    ConfigurationError
        For names that no variable may have.
    ChorusError
        As :meth:`Session.execute`.
    """
    checked_names(values)
    limit_bytes = session.config.output.max_transfer_bytes
    encoder = Encoder(limit_bytes)
    try:
        tree = encoder.encode_all(dict(values))
    except CrossingError as error:
        raise _can_not_cross(error, "in the notebook") from None
    _refuse_what_never_fits(session, encoder.size_bytes, ", ".join(values))
    size_bytes = sum(buffer.size_bytes for buffer in encoder.buffers)
    asked = {"tree_bytes": len(tree), "size_bytes": size_bytes, "limit_bytes": limit_bytes}
    with Progress(f"To {session.name}", len(tree) + size_bytes, shown) as progress:
        sending = _Sending(tree, encoder.buffers, progress)
        outcome = session.transfer(Request("push_request", asked), sending)
    if sending.error:
        raise VariableError(
            f"A value could not be read: {sending.error}", next_step="Nothing was copied; try a copy of the value."
        ) from sending.error
    _raise_for(outcome, session)


def pull(session: Session, names: Iterable[str], *, shown: bool = False) -> dict[str, Any]:
    """Return copies of variables of a sandbox, by their names. Parameters and errors as of :func:`push`."""
    wanted = checked_names(names)
    limit_bytes = session.config.output.max_transfer_bytes
    asked = {"names": wanted, "limit_bytes": limit_bytes}
    with ExitStack() as shows:
        title = f"From {session.name}"
        receiving = _Receiving(limit_bytes, lambda total: shows.enter_context(Progress(title, total, shown)))
        outcome = session.transfer(Request("pull_request", asked), receiving)
    _raise_for(outcome, session)
    try:
        values = receiving.values()
        if list(values) != wanted:
            raise DecodeError("other variables than were asked for")
    except CrossingError as error:
        raise _can_not_cross(error, "in the notebook") from None
    except MemoryError:
        raise VariableMemoryError(
            f"The notebook does not have the memory for {', '.join(wanted)}.", next_step="Pull less at once."
        ) from None
    except DecodeError as error:
        raise session.refuse_protocol(_forged(error)) from None
    return values


def _refuse_what_never_fits(session: Session, size_bytes: int, names: str) -> None:
    memory_bytes = session.config.limits.memory_bytes
    if session.engine.capabilities().limits and size_bytes > memory_bytes:
        raise VariableMemoryError(
            f"{names} needs {size_text(size_bytes)}; the sandbox {session.name!r} has {size_text(memory_bytes)}.",
            next_step="Start it with more memory (--fresh --memory), or send less.",
            path=names,
        )


def _can_not_cross(error: CrossingError, where: str) -> VariableError:
    problem = error.problem.replace("%s", where)
    return VariableError(f"{error.path} {problem}.", next_step=error.hint, path=error.path)


def _forged(error: DecodeError) -> AgentProtocolError:
    return AgentProtocolError(
        f"The sandbox sent variables that are none ({printable_line(str(error))[:200]}).",
        next_step="It was ended, and nothing of them was used. Run the cells again in a new one.",
    )


def _raise_for(outcome: Outcome, session: Session) -> None:
    """Raise what a reply says went wrong: hostile words, made fit to show."""
    reply = outcome.reply
    if outcome.interrupted:
        raise KeyboardInterrupt
    if reply.get("status") == "ok":
        return
    words = {name: _words(reply.get(name)) for name in ("evalue", "path", "problem", "hint")}
    kind = reply.get("ename")
    if kind == "CrossingError":
        raise VariableError(f"{words['path']} {words['problem']}.", next_step=words["hint"], path=words["path"])
    if kind == "NameError":
        raise VariableNotFoundError(
            f"There is no variable {words['evalue']} in the sandbox {session.name!r}.",
            next_step="It may have been defined in another session, or before a restart.",
            path=words["evalue"],
        )
    if kind == "MemoryError":
        raise VariableMemoryError(
            f"The sandbox {session.name!r} does not have the memory for it.",
            next_step="Start it with more (--fresh --memory), or send less.",
        )
    raise VariableError(
        f"It failed in the sandbox {session.name!r}: {words['evalue']}", next_step="See its type there."
    )


def _words(text: object) -> str:
    return printable_line(text)[:_MAX_WORDS] if isinstance(text, str) else ""


class _StoppedError(Exception):
    """Nobody waits for the rest any more."""


class _Sending:
    """Values on their way in: pieces from a thread of its own, a few ahead of who takes them.

    Attributes
    ----------
    error : Exception or None
        Why it could not send all of them.
    """

    message_types: tuple[str, ...] = ("transfer_ack",)

    def __init__(self, tree: bytes, buffers: list[Buffer], progress: Progress) -> None:
        self._tree = tree
        self._buffers = buffers
        self._progress = progress
        self._room = threading.Semaphore(WINDOW)
        self._sizes: deque[int] = deque()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self.error: Exception | None = None

    def begin(self, send: Callable[[Request], None]) -> None:
        """Have the thread send the pieces."""
        self._thread = threading.Thread(target=self._run, args=(send,), name="chorus-push", daemon=True)
        self._thread.start()

    def _run(self, send: Callable[[Request], None]) -> None:
        def send_piece(piece: Any) -> None:
            self._room.acquire()
            if self._stopped:
                raise _StoppedError
            self._sizes.append(len(piece))
            send(Request("transfer_data", {}, (piece,)))

        try:
            cut(self._tree, self._buffers, send_piece)
        except _StoppedError:
            pass
        except Exception as error:
            self.error = error
            send(Request("transfer_data", {}))  # Without data: there will be none.

    def take(self, message: Message) -> None:
        """Have another piece sent for one that was taken."""
        if not self._sizes:
            raise _forged(DecodeError("more is acknowledged than was sent"))
        self._progress.add(self._sizes.popleft())
        self._room.release()

    def end(self) -> None:
        """Send no more, and wait for the thread to know."""
        self._stopped = True
        self._room.release()
        if self._thread:
            self._thread.join()


class _Receiving:
    """Values on their way out.

    Parameters
    ----------
    limit_bytes : int
        What may come.
    make_progress : callable
        Makes the progress bar for a number of bytes.
    """

    message_types: tuple[str, ...] = ("transfer_begin", "transfer_data")

    def __init__(self, limit_bytes: int, make_progress: Callable[[int], Progress]) -> None:
        self._limit_bytes = limit_bytes
        self._make_progress = make_progress
        self._progress: Progress | None = None
        self._assembler: Assembler | None = None
        self._error: CrossingError | None = None
        self._busy = False

    def begin(self, send: Callable[[Request], None]) -> None:
        """Nothing has to be sent."""

    def take(self, message: Message) -> None:
        """Put a piece where it belongs."""
        if self._error:
            return  # There is no place for what still comes.
        self._busy = True  # And stays so where Ctrl-C comes just here.
        try:
            if message.msg_type == "transfer_begin":
                self._begun(message.content)
            else:
                self._feed(message.buffers)
        except CrossingError as error:
            self._error = error
        except DecodeError as error:
            raise _forged(error) from None
        self._busy = False

    def _begun(self, content: Mapping[str, Any]) -> None:
        if self._assembler is not None:
            raise DecodeError("a second beginning")
        self._assembler = Assembler(content.get("tree_bytes"), content.get("size_bytes"), self._limit_bytes)
        self._progress = self._make_progress(content["tree_bytes"] + content["size_bytes"])

    def _feed(self, buffers: list[bytes]) -> None:
        if self._assembler is None or self._progress is None or len(buffers) != 1:
            raise DecodeError("data that belongs to nothing")
        self._assembler.feed(buffers[0])
        self._progress.add(len(buffers[0]))

    def end(self) -> None:
        """Nothing has to be stopped."""

    def values(self) -> dict[str, Any]:
        """Return what has come. Raises as :meth:`Assembler.values` does, and ``KeyboardInterrupt``."""
        if self._error:
            raise self._error
        if self._busy:
            raise KeyboardInterrupt
        if self._assembler is None:
            raise DecodeError("no data")
        return self._assembler.values()
