"""A cell as the standard library alone can run it, for images without IPython.

Runs code, top-level ``await`` included, shows the value of the last expression with its rich representations, and
tracebacks with the cell's own lines. No magics.
"""

import ast
import builtins
import inspect
import linecache
import platform
import sys
import traceback
import types
from typing import Any, Dict, List, Optional, Tuple

from . import introspection
from .streams import Outbox, error_content

_REPRS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
}


def mime_bundle(value: Any) -> Dict[str, Any]:
    """Return the representations of a value, as IPython's formatters name them."""
    data = {"text/plain": repr(value)}
    if inspect.isclass(value):
        return data
    for method, mime in _REPRS.items():
        try:
            found = getattr(value, method)()
        except Exception:  # A broken representation must not hide the others.
            continue
        if isinstance(found, tuple):
            found = found[0]
        if found is not None:
            data[mime] = found
    return data


class PlainShell:
    """The shell of a worker without IPython."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.execution_count = 1
        self._main = types.ModuleType("__main__")
        self._outputs: Dict[int, Any] = {}
        self._main.__dict__.update(__builtins__=builtins, display=self.display, Out=self._outputs)
        sys.modules["__main__"] = self._main

    @property
    def user_ns(self) -> Dict[str, Any]:
        """The variables of the cells, by the name that IPython has for them."""
        return self._main.__dict__

    def info(self) -> Dict[str, Any]:
        """Return the content of ``worker_ready``."""
        return {"python_version": platform.python_version(), "ipython_version": None}

    def display(self, *values: Any) -> None:
        """Show values, as IPython's ``display`` does."""
        for value in values:
            self._outbox.show("display_data", {"data": mime_bundle(value), "metadata": {}, "transient": {}})

    def execute(self, code: str, silent: bool, store_history: bool) -> Any:
        """Run a cell; return the content of ``execute_reply``, or a coroutine that does where the cell awaits."""
        execution = self._execute(code, silent, store_history)
        if _awaits(code):
            return execution
        try:
            execution.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waits for something, with nothing to await")

    async def _execute(self, code: str, silent: bool, store_history: bool) -> Dict[str, Any]:
        count = self.execution_count
        self.execution_count += bool(store_history and not silent)
        name = "<cell %d>" % count
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        reply: Dict[str, Any] = {"status": "ok", "execution_count": count}
        try:
            self._outbox.interrupts.code_begins()
            value = await self._run(code, name)
            if value is not None and not silent:
                self._show(value, count)
        except BaseException as error:
            shown = self._error(error, name)
            self._outbox.send("error", shown)
            reply.update(shown, status="error")
        return reply

    def user_expressions(self, expressions: Dict[str, str]) -> Dict[str, Any]:
        """Return the value of each expression, or its error, as an ``execute_reply`` has them."""
        return {name: self._evaluated(expression) for name, expression in expressions.items()}

    def _evaluated(self, expression: str) -> Dict[str, Any]:
        try:
            value = eval(compile(expression, "<expression>", "eval", dont_inherit=True), self._main.__dict__)
            return {"status": "ok", "data": mime_bundle(value), "metadata": {}}
        except Exception as error:
            return dict(error_content(error, traceback.format_exception_only(type(error), error)), status="error")

    def do_complete(self, code: str, cursor_pos: int) -> Dict[str, Any]:
        """Return the content of ``complete_reply``."""
        return introspection.complete(self._main.__dict__, code, cursor_pos)

    def do_inspect(self, code: str, cursor_pos: int, detail_level: int) -> Dict[str, Any]:
        """Return the content of ``inspect_reply``."""
        return introspection.inspect(self._main.__dict__, code, cursor_pos, detail_level)

    async def _run(self, code: str, name: str) -> Any:
        body, last = _split(code, name)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        namespace = self._main.__dict__
        if body.body:
            await _evaluate(compile(body, name, "exec", flags, dont_inherit=True), namespace)
        if last is not None:
            return await _evaluate(compile(last, name, "eval", flags, dont_inherit=True), namespace)
        return None

    def _show(self, value: Any, count: int) -> None:
        self._main.__dict__["_"] = self._outputs[count] = value
        content = {"data": mime_bundle(value), "metadata": {}, "execution_count": count}
        self._outbox.show("execute_result", content)

    def _error(self, error: BaseException, name: str) -> Dict[str, Any]:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != name:
            trace = trace.tb_next  # Our own frames say nothing about the cell.
        lines = "".join(traceback.format_exception(type(error), error, trace)).rstrip().splitlines()
        return error_content(error, lines)


def _split(code: str, name: str) -> Tuple[ast.Module, Optional[ast.Expression]]:
    """Part a cell into its statements and its last expression, which a trailing semicolon hides."""
    tree = ast.parse(code, name)
    statements: List[ast.stmt] = tree.body
    if not statements or not isinstance(statements[-1], ast.Expr) or code.rstrip().endswith(";"):
        return tree, None
    last = statements.pop()
    assert isinstance(last, ast.Expr)
    return tree, ast.Expression(last.value)


async def _evaluate(code: types.CodeType, namespace: Dict[str, Any]) -> Any:
    value = eval(code, namespace)
    return await value if code.co_flags & inspect.CO_COROUTINE else value


def _awaits(code: str) -> bool:
    try:
        compiled = compile(code, "", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return bool(compiled.co_flags & inspect.CO_COROUTINE)


def prepare() -> Any:
    """Return what makes the shell of a worker."""
    return PlainShell
