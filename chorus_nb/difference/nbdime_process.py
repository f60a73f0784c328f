"""Compares two notebooks with nbdime, in a process of its own, and writes what nbdime says to standard output.

Run as a script, with a JSON list of the two texts as standard input. It runs nothing of the notebooks. A notebook that
is made for it may take nbdime hours and gigabytes: the caller waits for so long only, and memory is limited here.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

MAX_MEMORY_BYTES = 2**31


def main() -> None:
    """Read, compare, write."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    import nbformat
    from nbdime import diff_notebooks
    from nbdime.prettyprint import PrettyPrintConfig, pretty_print_diff

    reads: Any = nbformat.reads
    before, after = (reads(text, as_version=4) for text in json.load(sys.stdin))
    # The other ways to write it start git or diff.
    config = PrettyPrintConfig(out=sys.stdout, use_git=False, use_diff=False, use_color=False)
    pretty_print_diff(before, diff_notebooks(before, after), "", config)


if __name__ == "__main__":
    main()
