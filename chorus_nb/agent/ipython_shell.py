"""A cell as IPython runs it, where the image has IPython. Imported by the template before it stands still."""

import contextlib
import os
import pdb
import platform
import re
import sys
import tempfile
import types
from typing import Any, ContextManager, Dict, Optional

import IPython
from IPython.core import debugger, page
from IPython.core.async_helpers import _asyncio_runner
from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Any as AnyTrait
from traitlets import Type
from traitlets.config import Config

from . import ipython_introspection
from .cell_names import cell_number
from .streams import Outbox, error_content

# Looking closer costs a compilation.
_MAY_AWAIT = re.compile(r"\b(?:await|async)\b")


_getpid = os.getpid  # A cell may patch the module.
_ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # As under ipykernel: programs write in colour, and never wait in a pager.
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "CLICOLOR_FORCE": "1",
    "FORCE_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
}


class SandboxDisplayPublisher(DisplayPublisher):
    """``display()`` as ``display_data`` and ``update_display_data`` messages."""

    outbox = AnyTrait()

    def publish(
        self,
        data: Dict[str, Any],
        metadata: Optional[Dict[str, Any]] = None,
        source: Any = None,
        *,
        transient: Optional[Dict[str, Any]] = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        content = {"data": data, "metadata": metadata or {}, "transient": transient or {}}
        self.outbox.show("update_display_data" if update else "display_data", content)

    def clear_output(self, wait: bool = False) -> None:
        self.outbox.send("clear_output", {"wait": wait})


class SandboxDisplayHook(DisplayHook):
    """The value of a cell's last expression as an ``execute_result`` message."""

    outbox: Outbox
    is_showing = False

    def __call__(self, result: Any = None) -> None:
        self.is_showing = True
        try:
            super().__call__(result)
        finally:
            self.is_showing = False

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Dict[str, Any], md_dict: Optional[Dict[str, Any]] = None) -> None:
        if not format_dict:
            return
        content = {
            "data": format_dict,
            "metadata": md_dict or {},
            "execution_count": self.shell.running_count,
        }
        self.outbox.show("execute_result", content)

    def finish_displayhook(self) -> None:
        pass


class CellCompiler(CachingCompiler):
    """Names the file of a cell as ipykernel does: IPython's tracebacks look different for other names."""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        name = "%d.py" % cell_number(raw_code)
        return os.path.join(tempfile.gettempdir(), "ipykernel_%d" % _getpid(), name)


# Libraries tell a notebook from a terminal by the name of this class.
class ZMQInteractiveShell(InteractiveShell):
    """The shell of a worker."""

    displayhook_class = Type(SandboxDisplayHook)
    compiler_class = Type(CellCompiler)
    display_pub_class = Type(SandboxDisplayPublisher)
    outbox: Outbox
    last_error: Dict[str, Any]
    has_failed = False
    # `!program` on our descriptors: a hundred times as fast as IPython's pseudo-terminal, with stderr kept apart.
    system = InteractiveShell.system_raw

    def init_hooks(self) -> None:
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(self._page), 99)

    def _page(self, text: Any, start: int = 0, screen_lines: int = 0, pager_cmd: Any = None) -> None:
        """Have the front end show help beside the notebook, as ipykernel does."""
        data = text if isinstance(text, dict) else {"text/plain": text}
        self.payload_manager.write_payload({"source": "page", "data": data, "start": max(0, start)})

    def set_next_input(self, text: str, replace: bool = False) -> None:
        """Have the front end put text into a new cell, or in the place of this one: ``%load``, ``%recall``."""
        self.payload_manager.write_payload({"source": "set_next_input", "text": text, "replace": replace})

    def _tee(self, channel: str) -> ContextManager[None]:
        """Keep no copy of what is printed: IPython's, for its history, would count against the memory limit."""
        return contextlib.nullcontext()

    def enable_gui(self, gui: Optional[str] = None) -> None:
        """There is no event loop of a toolkit here."""

    def ask_exit(self) -> None:
        """``exit`` and ``quit`` have nothing to leave."""
        print("A sandbox is ended from the notebook: %sandbox stop")

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        # A value that can't be shown fails the cell; a traceback that code of its own shows does not.
        self.has_failed = self.has_failed or self.displayhook.is_showing
        self.last_error = error_content(evalue, list(stb))
        self.outbox.send("error", self.last_error)

    def execute(self, code: str, silent: bool, store_history: bool) -> Any:
        """Run a cell; return the content of ``execute_reply``, or a coroutine that does where the cell awaits."""
        self.last_error, self.has_failed = {}, False
        # IPython counts on before the cell has ended, or after, as its version has it.
        self.running_count = count = self.execution_count
        options = {"store_history": store_history, "silent": silent}
        if _MAY_AWAIT.search(code) and self.loop_runner is _asyncio_runner:
            transformed = self._transform(code)
            if transformed is not None and self.should_run_async(code, transformed_cell=transformed):
                return self._execute_async(count, code, dict(options, transformed_cell=transformed))
        return self._reply(count, self.run_cell(code, **options))

    async def run_code(self, *args: Any, **kwargs: Any) -> bool:
        self.outbox.interrupts.code_begins()
        return bool(await super().run_code(*args, **kwargs))

    def _transform(self, code: str) -> Optional[str]:
        try:
            return str(self.transform_cell(code))
        except Exception:  # The same comes again where the cell is run, and is shown then.
            return None

    async def _execute_async(self, count: int, code: str, options: Dict[str, Any]) -> Dict[str, Any]:
        result = None
        try:
            result = await self.run_cell_async(code, **options)
        finally:
            # What run_cell sees to itself.
            self.events.trigger("post_execute")
            if not options["silent"]:
                self.events.trigger("post_run_cell", result)
        return self._reply(count, result)

    def show_usage_error(self, exc: BaseException) -> None:
        """Say it once, as the error that ends the cell (:meth:`_tell`), and not on ``stderr`` as well."""

    def _tell(self, error: BaseException) -> Dict[str, Any]:
        """Send the error that IPython has only printed, of a magic or a group: the cell has failed all the same."""
        content = error_content(error, [])
        content["traceback"] = ["%(ename)s: %(evalue)s" % content]
        self.outbox.send("error", content)
        return content

    def _reply(self, count: int, result: Any) -> Dict[str, Any]:
        reply: Dict[str, Any] = {"status": "ok"}
        if self.has_failed or not result.success:
            reply = dict(
                self.last_error or self._tell(result.error_before_exec or result.error_in_exec), status="error"
            )
        payload = self.payload_manager.read_payload()
        self.payload_manager.clear_payload()
        return dict(reply, execution_count=count, payload=payload)

    def do_complete(self, code: str, cursor_pos: int) -> Dict[str, Any]:
        """Return the content of ``complete_reply``."""
        return ipython_introspection.complete(self, code, cursor_pos)

    def do_inspect(self, code: str, cursor_pos: int, detail_level: int) -> Dict[str, Any]:
        """Return the content of ``inspect_reply``."""
        return ipython_introspection.inspect(self, code, cursor_pos, detail_level)

    def info(self) -> Dict[str, Any]:
        """Return the content of ``worker_ready``."""
        return {"python_version": platform.python_version(), "ipython_version": IPython.__version__}


def _look_like_a_kernel(config: Config) -> None:
    """Be what libraries look for that want to know whether they are in a notebook (tqdm: this module, or that name)."""
    config.IPKernelApp = Config()
    module = types.ModuleType("ipykernel.zmqshell")
    module.ZMQInteractiveShell = ZMQInteractiveShell  # type: ignore[attr-defined]
    sys.modules.setdefault(module.__name__, module)


def _let_debuggers_be_interrupted() -> None:
    """Have ``pdb`` be IPython's, and end where the cell is interrupted at its prompt, as ipykernel has it."""
    if hasattr(debugger, "InterruptiblePdb"):
        debugger.Pdb = pdb.Pdb = debugger.InterruptiblePdb  # type: ignore[misc]
        pdb.set_trace = debugger.set_trace


def prepare() -> Any:
    """Make the shell in the template; a worker only has to connect it."""
    # A variable of the user's own goes before.
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # IPython names cells after it, and looks for it by writing there: a cell that fills it would be the last to run.
    tempfile.gettempdir()
    config = Config()
    _look_like_a_kernel(config)
    _let_debuggers_be_interrupted()
    config.HistoryManager.enabled = False
    # It parses whole libraries, for seconds, and knows less of a live namespace than the namespace itself.
    config.Completer.use_jedi = False
    shell: ZMQInteractiveShell = ZMQInteractiveShell.instance(config=config)

    def connect(outbox: Outbox) -> ZMQInteractiveShell:
        shell.outbox = shell.display_pub.outbox = shell.displayhook.outbox = outbox
        return shell

    return connect
