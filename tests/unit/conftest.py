"""What several unit tests stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chorus_nb.engines.fake import FakeEngine
from notebooks import Notebook


@pytest.fixture
def notebook(fake_engine: FakeEngine) -> Iterator[Notebook]:
    """A notebook whose sandboxes are plain processes."""
    notebook = Notebook(fake_engine)
    yield notebook
    notebook.close()
