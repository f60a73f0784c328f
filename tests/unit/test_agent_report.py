"""What the agent finds in force around it, where the kernel is not Linux or tells less than usual."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chorus_nb.agent import posix, report

LOCK = 'import ctypes, os; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); os.execv(__import__("sys").executable, {argv})'


def asked(expression: str, *, locked: bool = False) -> str:
    """Evaluate in a process of its own, which may first give up gaining privileges (``PR_SET_NO_NEW_PRIVS``)."""
    argv = [sys.executable, "-c", f"from chorus_nb.agent import posix, report; print({expression})"]
    program = ["-c", LOCK.format(argv=argv)] if locked else argv[1:]
    return subprocess.check_output([sys.executable, *program], text=True).strip()


@pytest.mark.parametrize("locked", [True, False])
def test_new_privileges_are_asked_for_where_the_list_has_no_line_for_them(locked: bool) -> None:
    answers = asked("report._no_new_privileges({}), report._no_new_privileges(report._status())", locked=locked)
    assert answers == f"{locked} {locked}"


def test_the_line_of_the_list_counts_where_there_is_one() -> None:
    assert report._no_new_privileges({"NoNewPrivs": "1"})
    assert not report._no_new_privileges({"NoNewPrivs": "0"})


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("none / 9p ro,trans=fd 0 0\nnone /tmp tmpfs rw 0 0\n", True),
        ("none / 9p rw,errors=remount-ro 0 0\n", False),
        ("none / 9p ro 0 0\nnone / overlay rw 0 0\n", False),  # The later one lies over the first.
        ("none /tmp tmpfs ro 0 0\n", False),
        ("", False),
    ],
)
def test_a_read_only_root_is_looked_up_in_the_mounts(tmp_path: Path, mounts: str, expected: bool) -> None:
    path = tmp_path / "mounts"
    path.write_text(mounts)
    assert report._read_only_in(str(path)) is expected


def test_descriptors_are_hidden_only_from_whoever_is_kept_from_them() -> None:
    assert not posix.hides_from_its_user()
    hidden = asked("(posix.set_dumpable(False), posix.hides_from_its_user())")
    if os.geteuid() == 0:  # With the right to trace anybody a child may look all the same.
        assert hidden.startswith("(True,")
    else:
        assert hidden == "(True, True)"
