"""Files that the outputs of an ``Output`` widget name.

A sandbox sends all that such a widget holds whenever something is added. What has been looked up before stays as it
was: the cell may be elsewhere by then, and the file another one.
"""

from __future__ import annotations

import json
from collections import OrderedDict

from .agent.wire import Message
from .displayed import DisplayedFiles, held_outputs, with_held_outputs

MAX_WIDGETS = 8
"""Of so many it is remembered what they hold."""

_Known = list[tuple[str, str]]
"""Each output as the sandbox sent it, and with its files: as JSON, whose objects may take twenty times as much."""


class HeldOutputs:
    """What the ``Output`` widgets of one session hold.

    Parameters
    ----------
    files : DisplayedFiles
        Has the files.
    max_bytes : int
        What one widget may hold, with them; of one that holds more nothing is remembered.
    """

    def __init__(self, files: DisplayedFiles, max_bytes: int) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def name_files(self, message: Message) -> bool:
        """Whether files have to be read for a message."""
        return self._files.are_named_in(message) and self._files.are_named_in(self._recalled(message))

    def with_files(self, message: Message) -> Message:
        """Return the message with the files in it, as :meth:`DisplayedFiles.put_into` does."""
        if not self._files.are_named_in(message):
            return message
        whole = self._files.put_into(self._recalled(message), self._max_bytes)
        self._remember(message, whole)
        return whole

    def _remember(self, message: Message, whole: Message) -> None:
        pairs = zip(held_outputs(message), held_outputs(whole), strict=True)
        known = [(json.dumps(raw), json.dumps(with_files)) for raw, with_files in pairs]
        self._known.pop(_widget(message), None)
        if sum(len(raw) + len(with_files) for raw, with_files in known) <= 2 * self._max_bytes:
            self._known[_widget(message)] = known
        while len(self._known) > MAX_WIDGETS:
            self._known.popitem(last=False)

    def _recalled(self, message: Message) -> Message:
        """Return the message with the files of those outputs that are still where they were."""
        outputs = list(held_outputs(message))
        known = self._known.get(_widget(message), [])
        for index, (raw, whole) in enumerate(known[: len(outputs)]):
            if json.dumps(outputs[index]) == raw:
                outputs[index] = json.loads(whole)
        return with_held_outputs(message, outputs)


def _widget(message: Message) -> str:
    return str(message.content.get("comm_id"))[:128]
