"""Who owns a container, and whether that process is provably gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chorus_nb.engines.owner import Owner, owner_alive, owner_label


def here(**changes: str) -> str:
    return "/".join(Owner(*owner_label().split("/"))._replace(**changes))


def test_this_process_lives() -> None:
    assert owner_alive(owner_label())


def test_the_label_does_not_give_away_the_machine_id() -> None:
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            machine_id = file.read().strip()
    except FileNotFoundError:
        machine_id = "-no such file-"
    assert machine_id not in owner_label()


def test_an_ended_process_is_gone() -> None:
    program = "from chorus_nb.engines.owner import owner_label; print(owner_label(), flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    label = child.stdout.readline().strip()
    assert owner_alive(label)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not owner_alive(label), "a zombie does nothing any more"
    child.communicate()
    assert not owner_alive(label)


def test_a_forked_child_is_another_owner() -> None:
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write_end, owner_label().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    with open(read_end, encoding="ascii") as file:
        label = file.read()
    assert label != owner_label()
    assert Owner(*label.split("/")).pid == str(child)


def test_a_process_id_that_was_used_again_is_another_process() -> None:
    assert not owner_alive(here(start_time="1"))


def test_an_earlier_boot_of_this_machine_is_gone() -> None:
    assert not owner_alive(here(boot="earlier"))


@pytest.mark.parametrize(
    "label",
    [
        here(machine="another", boot="another"),
        here(machine="-", boot="another"),
        here(pid_namespace="1", pid="999999999"),
        here(pid="not a number"),
        here(pid="-1"),
        here(start_time="-"),
        here(boot="-"),
        "",
        "a/b/c",
        here() + "/more",
    ],
)
def test_what_cannot_be_looked_up_counts_as_alive(label: str) -> None:
    assert owner_alive(label)
