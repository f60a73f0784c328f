"""Questions of a cell, put to the person at the notebook: hostile in their words, and given up when nobody waits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from .agent.wire import Message
from .errors import AgentProtocolError
from .sanitize import clean_text

InputHandler = Callable[[str, bool], str]
"""Takes the prompt and whether the answer is a password; returns the answer, or raises ``EOFError`` for none."""

MAX_PROMPT_CHARS = 10_000
MAX_ANSWER_CHARS = 2**20
_END_OF_INPUT = "\x04"


class CanNotAskError(Exception):
    """A handler has nobody to ask: the cell gets these words as its error."""


class Question:
    """One ``input_request``, asked once.

    Parameters
    ----------
    message : Message
        The request, from the sandbox.

    Raises
    ------
    AgentProtocolError
        Where it is none.
    """

    def __init__(self, message: Message) -> None:
        prompt, password = message.content.get("prompt"), message.content.get("password")
        if not isinstance(prompt, str) or not isinstance(password, bool):
            raise AgentProtocolError("The sandbox sent a question that is none.", next_step="Restart the session.")
        self.prompt = clean_text(prompt[:MAX_PROMPT_CHARS])
        self.password = password
        self._given_up = False
        self._waiting = False
        self._lock = threading.Lock()

    def ask(self, on_input: InputHandler) -> dict[str, Any] | None:
        """Return the content of the ``input_reply``, or None where the question was given up.

        Whatever the handler raises, the cell gets an error and not a hang; but for ``KeyboardInterrupt``, which is the
        caller's.
        """
        try:
            return _answer(self._call(on_input))
        except KeyboardInterrupt:
            if not self._given_up:
                raise
        except EOFError:
            return _answer(_END_OF_INPUT)
        except CanNotAskError as error:
            return refusal(str(error))
        except Exception as error:
            # Its words are the host's, and may say what the sandbox must not know.
            return refusal(f"The notebook could not ask ({type(error).__name__}).")
        return None

    def _call(self, on_input: InputHandler) -> object:
        with self._lock:
            if self._given_up:
                raise KeyboardInterrupt
            self._waiting = threading.current_thread() is threading.main_thread()
        try:
            return on_input(self.prompt, self.password)
        finally:
            with self._lock:
                self._waiting = False

    def give_up(self) -> None:
        """Wait for an answer no longer. From any thread.

        Only an interrupt gets the main thread out of a call that waits for a person. A handler on another thread comes
        back by itself, or not.
        """
        with self._lock:
            self._given_up = True
            main = threading.main_thread().ident
            if self._waiting and main and callable(signal.getsignal(signal.SIGINT)):
                self._waiting = False
                signal.pthread_kill(main, signal.SIGINT)


def _answer(value: object) -> dict[str, Any]:
    if not isinstance(value, str):
        return refusal(f"The answer is no text but a {type(value).__name__}.")
    if len(value) > MAX_ANSWER_CHARS:
        return refusal(f"The answer has {len(value)} characters, more than the {MAX_ANSWER_CHARS} that may pass.")
    return {"status": "ok", "value": value}


def refusal(reason: str) -> dict[str, Any]:
    """Return the content of an ``input_reply`` that raises ``StdinNotImplementedError`` in the cell."""
    return {"status": "error", "evalue": reason}
