"""Start dockerd as a daemon of its own, for machines without a service manager (containers, CI runners).

Python rather than ``setsid dockerd &`` because Popen closes every inherited descriptor: whoever waits for the end of
our output (make, a CI runner) must not wait for the daemon. Usage: start_dockerd.py LOG_FILE
"""

import os
import subprocess
import sys
from pathlib import Path

PID_FILES = {"dockerd": Path("/var/run/docker.pid"), "containerd": Path("/var/run/docker/containerd/containerd.pid")}


def is_running(name: str) -> bool:
    """Whether the process in the daemon's pid file is that daemon."""
    try:
        pid = int(PID_FILES[name].read_text())
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except (OSError, ValueError):
        return False


def main(log_file: str) -> None:
    """Start dockerd unless it runs already, as it may where installing the package started it."""
    if is_running("dockerd"):
        return
    for name, pid_file in PID_FILES.items():
        # After a power cut or a restored snapshot the number may be another process's, and dockerd would refuse.
        if not is_running(name):
            pid_file.unlink(missing_ok=True)
    search_path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    with Path(log_file).open("ab") as log:
        subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=os.environ | {"PATH": search_path},
            start_new_session=True,
        )


if __name__ == "__main__":
    main(sys.argv[1])
