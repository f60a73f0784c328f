"""Files and folders copied between host and sandbox, many at a time: ``put`` and ``get``.

The rules are those of ``cp -r``, but for what would do harm or go unseen; ``docs/data.md`` has them.
"""

from .get import get
from .put import put
from .transfer import Skipped, Transfer

__all__ = ["Skipped", "Transfer", "get", "put"]
