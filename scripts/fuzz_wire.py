"""Attack the host's end of the stream with examples that no test has seen: ``python scripts/fuzz_wire.py [MINUTES]``.

Runs the properties of the wire and of the hostile agent with new random examples until the time is over, or until one
fails; hypothesis then prints the smallest example that does. Make a test of it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

EXAMPLES = 300
TESTS = tuple(f"tests/unit/test_{name}.py" for name in ("wire", "hostile_agent", "values", "values_hostile"))
PROPERTIES = " or ".join(
    (
        *("forged", "cut", "any_bytes", "any_json", "lies_before", "comes_back", "splitting", "garbage_is"),
        *("changed_byte", "any_tree"),
    )
)


def main(minutes: float) -> int:
    end_s = time.monotonic() + 60 * minutes
    rounds = 0
    while time.monotonic() < end_s:
        seed = random.randrange(2**32)  # noqa: S311
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-k", PROPERTIES, f"--hypothesis-seed={seed}", *TESTS]
        environment = {**os.environ, "CHORUS_NB_FUZZ_EXAMPLES": str(EXAMPLES)}
        if subprocess.run([*command, "--timeout=1200"], env=environment, check=False).returncode:
            return 1
        rounds += 1
    print(f"{rounds} rounds of {EXAMPLES} examples of each property: nothing found.")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 15))
