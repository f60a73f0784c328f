"""Code cells out of what other projects publish: notebooks, gallery scripts, and the examples in their texts."""

from __future__ import annotations

import ast
import doctest
import inspect
import pkgutil
import re
from pathlib import Path

import nbformat

_GALLERY_BLOCK = re.compile(r"^(?:# ?%%.*|#{20,})$", re.MULTILINE)


def from_notebook(path: Path) -> list[str]:
    """The code cells of a notebook."""
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def from_gallery_script(path: Path) -> list[str]:
    """The blocks of a script in the format of sphinx-gallery, without the text before the first."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines(keepends=True)
    first = ast.parse(source).body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines = lines[first.end_lineno :]
    blocks = _GALLERY_BLOCK.split("".join(lines))
    return [block.strip("\n") for block in blocks if ast.parse(block).body]


def from_text(text: str) -> list[str]:
    """The examples of a text, each a cell: ``>>>`` and ``...`` lines as :mod:`doctest` reads them."""
    parts = doctest.DocTestParser().parse(text)
    return [part.source.rstrip("\n") for part in parts if isinstance(part, doctest.Example)]


def from_docstrings(names: str) -> list[str]:
    """The examples of installed objects, named as ``package.module:Class.method``, with blanks between."""
    return [cell for name in names.split() for cell in from_text(inspect.getdoc(pkgutil.resolve_name(name)) or "")]


def read(path: Path) -> list[str]:
    """The cells of a file, by its kind."""
    if path.suffix == ".ipynb":
        return from_notebook(path)
    return from_gallery_script(path) if path.suffix == ".py" else from_text(path.read_text(encoding="utf-8"))
