"""Variables of the worker's namespace for the host, and from it. Loaded when they are first asked for."""

from typing import Any, Dict

from .asking import Inbox
from .encoding import Encoder
from .pieces import Assembler, cut
from .streams import Outbox
from .values import CrossingError, DecodeError
from .wire import Message


class Variables:
    """Answers ``push_request`` and ``pull_request``.

    Parameters
    ----------
    namespace : dict
        Where the variables are.
    """

    def __init__(self, namespace: Dict[str, Any], outbox: Outbox, inbox: Inbox) -> None:
        self._namespace = namespace
        self._outbox = outbox
        self._inbox = inbox

    def answer(self, request: Message) -> Dict[str, Any]:
        """Return the content of the reply; all data has gone, or come, by then. Raises ``KeyboardInterrupt``."""
        try:
            if request.msg_type == "push_request":
                self._push(request)
            else:
                self._pull(request)
        except CrossingError as error:
            problem = error.problem.replace("%s", "in the sandbox")
            return _error("CrossingError", "", path=error.path, problem=problem, hint=error.hint)
        except KeyError as error:
            return _error("NameError", error.args[0])
        except (DecodeError, MemoryError) as error:
            return _error(type(error).__name__, str(error))
        except Exception as error:  # What is asked of a value may be code of the user's: __array__, a broken table.
            return _error("Exception", "%s: %s" % (type(error).__name__, error))
        return {"status": "ok"}

    def _push(self, request: Message) -> None:
        asked = request.content
        assembler = Assembler(asked["tree_bytes"], asked["size_bytes"], asked["limit_bytes"])
        while not assembler.is_whole:
            message = self._inbox.get()
            if message is None:
                return
            # Anything else belongs to a transfer that was interrupted.
            if message.msg_type == "transfer_data" and message.parent_id == request.msg_id:
                if not message.buffers:
                    raise DecodeError("the sender gave up")
                assembler.feed(message.buffers[0])
                self._outbox.answer(request.msg_id, "transfer_ack", {})
        self._namespace.update(assembler.values())

    def _pull(self, request: Message) -> None:
        names = request.content["names"]
        missing = [name for name in names if name not in self._namespace]
        if missing:
            raise KeyError(missing[0])
        encoder = Encoder(request.content["limit_bytes"])
        tree = encoder.encode_all({name: self._namespace[name] for name in names})
        sizes = {"tree_bytes": len(tree), "size_bytes": sum(buffer.size_bytes for buffer in encoder.buffers)}
        self._outbox.answer(request.msg_id, "transfer_begin", sizes)
        cut(tree, encoder.buffers, lambda piece: self._outbox.answer(request.msg_id, "transfer_data", {}, (piece,)))


def _error(ename: str, evalue: str, **more: str) -> Dict[str, Any]:
    return dict(more, status="error", ename=ename, evalue=evalue)
