"""Run the notebooks of other projects natively and in the sandbox, and write the table of docs/fidelity.md.

`.venv/bin/python scripts/fidelity.py`, with a Docker Engine. Writes nothing where a cell differs without a reason.
"""

import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

from thirdparty.runs import run_catalogue  # noqa: E402
from thirdparty.table import with_table  # noqa: E402


def main() -> int:
    """Exit status."""
    with tempfile.TemporaryDirectory() as work:
        results = run_catalogue(Path(work))
    for result in results:
        for cell in sorted(result.failures.keys() ^ result.source.differing.keys()):
            print(f"{result.source.project} {result.source.title}, cell {cell}: {result.failures.get(cell, 'equal')}")
    if any(result.failures.keys() != result.source.differing.keys() for result in results):
        return 1
    page = REPOSITORY / "docs" / "fidelity.md"
    page.write_text(with_table(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
