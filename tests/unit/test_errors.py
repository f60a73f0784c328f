"""One tree of errors that say what happened and what to do."""

from __future__ import annotations

import ast
import inspect
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from chorus_nb import errors
from chorus_nb.errors import (
    CATEGORIES,
    AgentProtocolError,
    AgentSilentError,
    ApplyError,
    CellCancelledError,
    CellNotDoneError,
    ChangedMeanwhileError,
    ChorusError,
    CommandError,
    ConfigurationError,
    DiscardError,
    DiskQuotaExceededError,
    EngineGoneError,
    EngineNotFoundError,
    EnginePermissionError,
    EngineTimeoutError,
    ExecutionError,
    ExecutionTimeoutError,
    ImageNotFoundError,
    NoSuchChangeError,
    OutOfMemoryError,
    PolicyLoosenedError,
    PolicyNotEnforcedError,
    RepositoryNotFoundError,
    ResourceLimitError,
    SandboxDiedError,
    SandboxFileError,
    SessionBusyError,
    SessionClosedError,
    SessionConflictError,
    SessionExpiredError,
    SessionIdleError,
    SessionLifetimeError,
    SessionsFailedError,
    TransferConflictError,
    TransferError,
    UnknownSessionError,
    WorkerDiedError,
)

TREE = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]
"""Every error, as the package offers them."""

PACKAGE = Path(errors.__file__).parents[1]
TABLE = PACKAGE.parent / "docs" / "errors.md"
BESIDES_MESSAGE: dict[type[ChorusError], dict[str, object]] = {
    AgentSilentError: {"timeout_s": 1.0},
    DiskQuotaExceededError: {"limit_bytes": 100, "used_bytes": 101, "state_kept": True},
    SessionExpiredError: {"limit_s": 60.0, "time_s": 61.0},
    CommandError: {"exit_code": 3},
    OutOfMemoryError: {"limit_bytes": 100, "peak_bytes": 99},
    ExecutionTimeoutError: {"timeout_s": 1.0, "state_kept": True},
    PolicyLoosenedError: {"option": "memory"},
    SandboxFileError: {"path": "a.txt"},
    TransferConflictError: {"paths": ("/a", "/b")},
    TransferError: {"path": "a.txt"},
    NoSuchChangeError: {"path": "a.txt"},
    ChangedMeanwhileError: {"path": "a.txt"},
    DiscardError: {"paths": ("a.txt",)},
    ApplyError: {"applied": None},
    SessionsFailedError: {"errors": {"a": ValueError()}, "results": {"a": None, "b": 1}},
}


def make(cls: type[ChorusError]) -> ChorusError:
    if issubclass(cls, ExecutionError):
        limit = {"hint": "Raise it.", "option": "pids", "limit": 64, "figure": 64}
        more = limit if issubclass(cls, ResourceLimitError) else {}
        return cls("NameError", "no x", ["\x1b[31mNameError\x1b[0m: no x"], **more)
    more = next((more for base, more in BESIDES_MESSAGE.items() if issubclass(cls, base)), {})
    return cls("It broke.", next_step="Mend it.", **more)


@pytest.mark.parametrize("cls", TREE)
def test_every_error_is_in_the_tree_and_sorted(cls: type[ChorusError]) -> None:
    assert issubclass(cls, ChorusError)
    assert cls.__doc__
    error = make(cls)
    assert error.category in CATEGORIES
    assert isinstance(error.retryable, bool)
    assert isinstance(error.state_kept, bool)


def test_every_error_of_the_package_is_offered() -> None:
    defined = {
        node.name
        for path in (PACKAGE / "errors").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    assert defined == {cls.__name__ for cls in TREE}


def test_whoever_raises_an_error_says_the_next_step() -> None:
    names = {cls.__name__ for cls in TREE if not issubclass(cls, (ExecutionError, CommandError))}
    silent = [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for path in set(PACKAGE.rglob("*.py")) - {PACKAGE / "config" / "sandbox.py"}  # It passes whole sentences on.
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in names and not _says_next_step(call)
    ]
    assert not silent


def _says_next_step(call: ast.Call) -> bool:
    given = [keyword.value for keyword in call.keywords if keyword.arg == "next_step"]
    return bool(given) and getattr(given[0], "value", "said") != ""


def test_the_table_of_errors_is_the_tree() -> None:
    rows = [line.strip("| \n").split(" | ") for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    said = {row[0].strip("`"): row[1:5] for row in rows}
    assert said == {cls.__name__: _row(cls) for cls in TREE}
    assert all(len(row) == 6 and row[5] for row in rows), "each row ends with what to do"


def _row(cls: type[ChorusError]) -> list[str]:
    """Return category, whether it is retryable, what becomes of the variables, and when it is raised."""
    either = (DiskQuotaExceededError, ExecutionTimeoutError, SessionsFailedError)
    kept = "either" if cls in either else "kept" if cls.state_kept else "lost"
    when = " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())
    return [cls.category, "yes" if cls.retryable else "no", kept, when]


def test_what_ends_the_process_or_the_container_takes_the_variables() -> None:
    assert {cls for cls in TREE if not cls.state_kept} == {
        *(SandboxDiedError, EngineGoneError, SessionClosedError, AgentProtocolError),
        *(WorkerDiedError, OutOfMemoryError, SessionExpiredError, SessionIdleError, SessionLifetimeError),
    }


@pytest.mark.parametrize("cls", [cls for cls in TREE if not issubclass(cls, ExecutionError)])
def test_a_message_ends_with_the_next_step(cls: type[ChorusError]) -> None:
    error = make(cls)
    assert str(error) == "It broke. Mend it."
    assert (error.message, error.next_step) == ("It broke.", "Mend it.")


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (ConfigurationError, ValueError),
        (RepositoryNotFoundError, FileNotFoundError),
        (UnknownSessionError, LookupError),
        (SessionConflictError, ValueError),
        (SessionBusyError, RuntimeError),
        (CellNotDoneError, TimeoutError),
        (CellCancelledError, CancelledError),
        (SessionClosedError, RuntimeError),
        (EngineNotFoundError, ConnectionError),
        (EnginePermissionError, PermissionError),
        (EngineTimeoutError, TimeoutError),
        (EngineGoneError, SandboxDiedError),
        (AgentSilentError, TimeoutError),
        (ImageNotFoundError, LookupError),
        (SandboxDiedError, ConnectionError),
        (OutOfMemoryError, MemoryError),
        (OutOfMemoryError, WorkerDiedError),
        (ExecutionTimeoutError, TimeoutError),
        (SandboxFileError, OSError),
        (TransferError, OSError),
        (TransferConflictError, FileExistsError),
    ],
)
def test_an_error_is_caught_as_the_builtin_that_means_the_same(cls: type[ChorusError], builtin: type) -> None:
    with pytest.raises(builtin, match=r"It broke|NameError"):
        raise make(cls)


def test_what_may_succeed_without_a_change_is_retryable() -> None:
    assert {cls for cls in TREE if cls.retryable} == {
        *(SessionBusyError, CellNotDoneError, AgentSilentError),
        *(EngineNotFoundError, EngineTimeoutError),
    }


def test_errors_carry_their_figures() -> None:
    memory = OutOfMemoryError("It broke.", limit_bytes=100, peak_bytes=99)
    assert (memory.limit_bytes, memory.peak_bytes, memory.signal, memory.exit_code) == (100, 99, 9, None)
    assert SandboxDiedError("It broke.", exit_code=137).exit_code == 137
    assert WorkerDiedError("It broke.", signal=11).signal == 11
    assert PolicyNotEnforcedError("It broke.", controls=("Seccomp",)).controls == ("Seccomp",)
    timeout = ExecutionTimeoutError("It broke.", timeout_s=1.5, state_kept=False)
    assert (timeout.timeout_s, timeout.state_kept) == (1.5, False)
    assert SandboxFileError("It broke.", path="a.txt").path == "a.txt"


def test_an_execution_error_reads_like_its_own_last_line() -> None:
    error = ExecutionError("NameError", "no x", [])
    assert (error.ename, error.evalue, str(error)) == ("NameError", "no x", "NameError: no x")
    assert str(ExecutionError("KeyboardInterrupt", "", [])) == "KeyboardInterrupt"


def rendered(cls: type[ChorusError]) -> str:
    try:
        raise make(cls)
    except ChorusError as error:
        return "\n".join(error._render_traceback_())


@pytest.mark.parametrize("cls", TREE)
def test_no_host_frame_is_shown(cls: type[ChorusError]) -> None:
    text = rendered(cls)
    assert __file__ not in text
    assert "Traceback" not in text
    assert "It broke. Mend it." in text or set(text.splitlines()) == {"\x1b[31mNameError\x1b[0m: no x"}


def test_ipython_shows_an_error_by_its_own_rendering(capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.user_ns["fail"] = lambda: make(ExecutionError).__class__("NameError", "no x", ["sandbox line 1", "NameError"])
    shell.run_cell("raise fail()")
    out = capsys.readouterr().out
    assert "sandbox line 1" in out
    assert "raise fail()" not in out
