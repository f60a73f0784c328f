"""gVisor as the runtime: what it shows of its locks, what it is known to lack, and what becomes of its limits."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandboxes import opened, value
from second_engine import second_engine

from chorus_nb.controls import RUNTIMES_LACK
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.errors import PolicyNotEnforcedError, SandboxDiedError
from chorus_nb.sandbox import Sandbox

pytestmark = pytest.mark.docker

UNLOCKED = "gvisor-without-seccomp"


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    """A Docker Engine with gVisor, and with it as it is not to be registered."""
    program = shutil.which("runsc")
    assert program, "these tests need gVisor's runsc: run `scripts/ensure_runsc.sh`"
    folder = Path(tempfile.mkdtemp(prefix="chorus-nb-gvisor-"))
    runtimes = {
        "runsc": {"path": program, "runtimeArgs": ["--network=none", "--oci-seccomp"]},
        UNLOCKED: {"path": program, "runtimeArgs": ["--network=none"]},
    }
    (folder / "daemon.json").write_text(json.dumps({"runtimes": runtimes}))
    with second_engine(folder, "--config-file", str(folder / "daemon.json")) as second:
        yield second.client()


@pytest.fixture(scope="module")
def kept(engine: DockerEngine) -> Iterator[Sandbox]:
    with opened(engine, runtime="runsc", user="0:0", memory="512m") as sandbox:
        yield sandbox


def test_cells_run_on_a_kernel_of_their_own(kept: Sandbox) -> None:
    assert value(kept, "x = 6 * 7; x") == "42"
    assert value(kept, "import os; os.uname().release") != repr(Path("/proc/sys/kernel/osrelease").read_text().strip())
    kept.restart()
    assert value(kept, "'x' in globals()") == "False"


def test_all_but_what_it_is_known_to_lack_is_in_force(kept: Sandbox) -> None:
    found = {control.name: control for control in kept._session.controls}
    lacking = {name for name, control in found.items() if not control.in_force}
    assert lacking == set(RUNTIMES_LACK["runsc"])
    assert {"no-new-privileges", "read-only root", "seccomp", "memory", "memory and swap", "pids", "cpus"} <= set(found)


def test_what_it_is_known_to_lack_is_lacking(kept: Sandbox) -> None:
    """If this fails, gVisor has it now: take it out of the table."""
    assert value(kept, "import os; os.readlink('/proc/1/fd/0')") == "'/dev/null'"


@pytest.mark.parametrize("path", ["/x", "/usr/x", "/proc/sys/kernel/hostname"])
def test_not_even_root_writes_where_it_may_not(kept: Sandbox, path: str) -> None:
    assert kept.run(f"open({path!r}, 'w').write('x')").error is not None


def test_with_too_much_memory_the_sandbox_ends_and_the_next_cell_has_a_new_one(engine: DockerEngine) -> None:
    with opened(engine, runtime="runsc", memory="256m") as sandbox:
        with pytest.raises((SandboxDiedError, MemoryError)):
            sandbox.run("blocks = []\nwhile True: blocks.append(b'x' * 2**22)", timeout=60)
        assert value(sandbox, "'a new one'") == "'a new one'"


def test_where_it_ignores_the_filter_of_system_calls_that_is_named(engine: DockerEngine) -> None:
    with pytest.raises(PolicyNotEnforcedError, match="seccomp") as caught, opened(engine, runtime=UNLOCKED):
        pass
    assert set(caught.value.controls) == {"seccomp", *RUNTIMES_LACK["runsc"]}


def test_what_is_masked_is_empty_there_too(engine: DockerEngine, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("secret")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_rsa").write_text("secret")
    with opened(engine, runtime="runsc", user="0:0", memory="512m", repo="rw", repo_path=tmp_path) as sandbox:
        assert value(sandbox, "import os; (open('.env').read(), os.listdir('.ssh'))") == "('', [])"
        assert sandbox.run("os.unlink('.env')").error is not None
        (control,) = [each for each in sandbox._session.controls if each.name == "masked files"]
        assert (control.enforced, control.in_force) == ("1 file, 1 folder", True)
