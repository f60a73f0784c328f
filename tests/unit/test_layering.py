"""Imports point one way: a module knows only the layers below its own, and third parties stay where they belong."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "chorus_nb"

# From the ground up. Modules of one line do not import each other, except within one folder.
LAYERS: list[tuple[str, ...]] = [
    ("_version", "errors", "digest", "syncfs"),
    ("agent",),
    ("config", "telemetry"),
    ("engines",),
    ("refusals", "seccomp", "control", "mountinfo", "limits_reached", "disk_meter", "likely_secrets"),
    ("mounts_enforced", "listings"),
    ("enforced",),
    ("sanitize", "drawings", "frame", "shell_monitor", "writer", "difference"),
    ("declarations", "file_kinds", "page_files", "file_references"),
    ("stylesheets", "estimators"),
    ("markup",),
    ("widget_state", "widget_messages", "widget_notice"),
    ("page", "widgets"),
    ("selection",),
    ("mounts",),
    ("repository", "working_copy", "egress", "git", "outputs", "asking"),
    ("conversation", "notices", "limits_enforced", "host_tree"),
    ("payloads", "buffers", "in_order", "shell_agent", "options"),
    ("settings", "controls"),
    ("endings", "displayed", "file_entries"),
    ("file_requests", "held_outputs"),
    ("file_streams", "file_batches", "progress"),
    ("changes",),
    ("copying",),
    ("launch", "execution", "late", "files", "introspection", "transfer"),
    ("view", "shown"),
    ("starting", "watch"),
    ("running",),
    ("session",),
    ("manager",),
    ("notebook_sessions",),
    ("sandbox",),
    ("async_sandbox",),
    ("magic_line", "reports", "command_words"),
    ("status", "publishing", "completion", "kernel_requests", "turns", "ansi", "script", "host_cells", "kernelspec"),
    ("comm_relay", "replay", "variables", "review_commands"),
    ("cell", "run_report", "config_command", "containers_command", "doctor"),
    ("columns", "background", "mode", "progress_bar"),
    ("transfer_commands",),
    ("side_by_side", "commands"),
    ("magics", "panel", "run_notebook"),
    ("_extension", "cli"),
    ("kernel",),
    ("kernel_launcher",),
    ("__init__", "__main__"),
]
FACES = {
    *("replay", "publishing", "completion", "kernel_requests", "comm_relay", "cell"),
    *("background", "columns", "side_by_side", "mode", "commands"),
    *("command_words", "review_commands", "transfer_commands", "progress_bar", "variables"),
    *("magics", "panel", "kernel", "cli", "_extension", "__init__"),
    *("host_cells", "kernelspec", "run_notebook", "doctor"),
}

# Which layers may import a third party, by the first part of its name.
THIRD_PARTIES: dict[str, set[str]] = {
    "pydantic": {
        *(
            "config",
            "control",
            "controls",
            "enforced",
            "limits_enforced",
            "telemetry",
            "notices",
            "file_entries",
            "run_report",
        )
    },
    "packaging": {"doctor"},
    "pathspec": {"config", "selection", "changes"},
    "platformdirs": {"settings", "view", "git", "changes", "engines"},
    "tqdm": {"progress"},
    "docker": {"engines"},
    "requests": {"engines"},  # what the Docker SDK raises
    "nh3": {"markup"},
    "PIL": {"panel", "difference"},
    "IPython": FACES,
    "anywidget": FACES,
    "comm": FACES,
    "ipykernel": FACES,
    "ipywidgets": FACES,
    "traitlets": FACES,
    "jupyter_client": FACES,
    "nbclient": {"run_notebook"},
    "nbformat": {"run_notebook", "difference"},
    "nbdime": {"difference"},
    "zmq": {"run_notebook"},
}
DOCKER_MODULES = {
    "engines.docker",
    "engines.mirror",
    "engines.endpoint",
    "engines.attach",
    "engines.direct_stream",
    "engines.docker_container",
    "engines.docker_exec",
    "engines.docker_calls",
    "engines.named_volumes",
}

MODULES = sorted(PACKAGE.rglob("*.py"))
AGENT = sorted((PACKAGE / "agent").glob("*.py"))


def dotted(path: Path) -> str:
    """Return a module's name without the package: ``engines.docker``, ``engines.__init__``, ``session``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


@functools.cache
def imports(path: Path) -> set[str]:
    """Return the absolute names that a file imports anywhere, also inside functions, but for types alone."""
    package = ".".join(["chorus_nb", *dotted(path).split(".")[:-1]])
    names: set[str] = set()
    for node in _statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(_from(node, package))
    return names


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _statements(node)


def _from(node: ast.ImportFrom, package: str) -> list[str]:
    module = "." * node.level + (node.module or "")
    base = importlib.util.resolve_name(module, package) if node.level else module
    # ``from . import wire`` names modules, ``from .wire import Message`` does not.
    return [f"{base}.{alias.name}" for alias in node.names] if node.module is None else [base]


def layer(name: str) -> int:
    first = name.split(".")[0]
    found = [number for number, members in enumerate(LAYERS) if first in members]
    assert found, f"{first} has no place in LAYERS"
    return found[0]


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_imports_only_from_layers_below(path: Path) -> None:
    module = dotted(path)
    for name in imports(path):
        if not name.startswith("chorus_nb"):
            continue
        other = name.removeprefix("chorus_nb").lstrip(".")
        other = other if other and other != "__version__" else "_version"
        inside = other.split(".")[0] == module.split(".")[0]
        assert inside or layer(other) < layer(module), f"{module} imports {other}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_third_parties_stay_where_they_belong(path: Path) -> None:
    module = dotted(path)
    for name in {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"chorus_nb"}:
        if module.startswith("agent."):
            continue  # held to a stricter rule below
        assert name in THIRD_PARTIES, f"{module} imports {name}, which no layer may"
        assert module.split(".")[0] in THIRD_PARTIES[name], f"{module} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_only_the_docker_engine_knows_the_docker_sdk(path: Path) -> None:
    if any(name.split(".")[0] == "docker" for name in imports(path)):
        assert dotted(path) in DOCKER_MODULES


# The agent uses what an image happens to have, where it has it: IPython, and libraries it hooks into.
AGENT_MAY_FIND = {"IPython", "comm", "ipykernel", "matplotlib", "matplotlib_inline", "traitlets"}


@pytest.mark.parametrize("path", AGENT, ids=dotted)
def test_the_agent_needs_only_the_standard_library(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{dotted(path)} reaches out of its folder"
    for name in {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"chorus_nb"}:
        assert name in AGENT_MAY_FIND, f"{dotted(path)} imports {name}"


@pytest.mark.parametrize("path", AGENT, ids=dotted)
def test_the_agent_is_written_in_the_syntax_of_3_8(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_the_check_itself_sees_an_import_that_points_up(tmp_path: Path) -> None:
    assert layer("session") < layer("magics")
    assert imports(PACKAGE / "outputs.py") >= {"chorus_nb.agent.wire", "chorus_nb.config", "chorus_nb.sanitize", "re"}


UNPACKING = re.compile(r"\b(pickle|marshal|shelve|zipfile|decompress\w*|extract(all|file)?\(|unpack_archive|GzipFile)")


TABLES = {"arrow_stream", "arrow_arrays", "tables", "polars_tables", "extension_columns", "frames"}
SHARED = {"values", "encoding", "decoding", "arrays", "string_arrays", "pictures", "pieces", "wire", *TABLES}
"""Modules of the agent that the host uses, too."""

ON_HOST = [path for path in MODULES if path not in AGENT or path.stem in SHARED]


@pytest.mark.parametrize("path", ON_HOST, ids=dotted)
def test_the_host_unpacks_nothing(path: Path) -> None:
    """What a sandbox sends stays as it is: no archive bomb, no pickle."""
    assert UNPACKING.search(path.read_text()) is None
