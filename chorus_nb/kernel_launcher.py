"""Starts the sandbox kernel: ``python -P -m chorus_nb.kernel_launcher -f CONNECTION_FILE [options of a sandbox]``.

The container starts while Python still imports what a kernel needs: each takes about half a second.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from .notebook_sessions import NotebookSessions
from .options import add_policy_arguments


def main(words: list[str]) -> None:
    """Be the kernel."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    add_policy_arguments(parser)
    arguments, rest = parser.parse_known_args(words)
    sessions = NotebookSessions(arguments)
    sessions.begin()

    from .kernel import serve

    serve(rest, sessions)


if __name__ == "__main__":
    main(sys.argv[1:])
