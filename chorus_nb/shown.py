"""What the page shows of a session: outputs that pass its policy, and its widgets."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from .agent.wire import Message
from .config import OutputMode
from .displayed import DisplayedFiles
from .outputs import OutputFilter
from .page import OutputPage
from .widgets import WidgetRelay

if TYPE_CHECKING:
    from .session import Session


class Shown:
    """Keeps what a session's outputs share, and who shows its widgets.

    Attributes
    ----------
    widget_relay : WidgetRelay or None
        Who shows its widgets; without one it has none.
    """

    def __init__(self, session: Session) -> None:
        self.widget_relay: WidgetRelay | None = None
        self._session = session
        # Nobody in the sandbox knows the prefix, so its displays can't be given the id of one of the notebook's own.
        self._page = OutputPage(display_prefix=f"{uuid.uuid4().hex}-", session=session.name)

    def output_filter(self, output: OutputMode | None = None) -> OutputFilter:
        """Return what the output of one cell, or of one callback of a widget, has to pass."""
        policy = self._session.config.output.model_copy(update={"mode": output} if output else {})
        view = self.widget_relay.view if self.widget_relay else None
        return OutputFilter(policy, self._page, view, DisplayedFiles(self._session))

    def take_comm(self, message: Message, may_wait: bool = False) -> bool:
        """Hand a message to whoever shows the widgets, as ``WidgetRelay.take``; False where it is none of theirs."""
        return self.widget_relay is not None and self.widget_relay.take(message, may_wait)

    def close_widgets(self) -> None:
        """Close its widgets in the page: the process that had them is gone."""
        if self.widget_relay:
            self.widget_relay.close()
