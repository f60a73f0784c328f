"""``python -m chorus_nb``: the same as the command ``chorus-nb``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        # The working directory: a file there must not stand in for a module of ours.
        del sys.path[0]
    from .cli import main

    sys.exit(main())
