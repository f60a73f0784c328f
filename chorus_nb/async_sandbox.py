"""The Python face for asyncio: :class:`chorus_nb.Sandbox`, each call in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, Concatenate, Literal, ParamSpec, Self, TypeVar

from .asking import InputHandler
from .config import SandboxConfig
from .engines.base import Engine
from .errors import ChorusError, ExecutionInterruptedError
from .file_requests import InSandbox
from .files import SandboxFiles
from .progress import stopped_by
from .sandbox import CommandResult, ExecutionResult, Sandbox

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Self = TypeVar("_Self", "AsyncSandbox", "AsyncSandboxFiles")

_AGAIN_S = 0.05


def _in_thread(call: Callable[[], _T]) -> asyncio.Future[_T]:
    """Run a call that blocks in a thread of its own: long cells would use up those of a pool, and hold up its end."""
    done: concurrent.futures.Future[_T] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()

    def work() -> None:
        try:
            done.set_result(call())
        except KeyboardInterrupt:
            # In a task it would end the event loop.
            done.set_exception(ExecutionInterruptedError("KeyboardInterrupt", "the cell was interrupted", []))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, name="chorus-async", daemon=True).start()
    return asyncio.wrap_future(done)


async def _see_through(call: Callable[[], _T], stop: Callable[[], None] | None = None) -> _T:
    """Wait for the end of a call, also where the task is cancelled: then have it stopped, and raise at its end."""
    future, ended = _in_thread(call), threading.Event()
    future.add_done_callback(lambda _: ended.set())
    waiting: set[asyncio.Future[Any]] = {future}
    cancelled: asyncio.CancelledError | None = None
    while waiting:
        try:
            _, waiting = await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            if stop and not cancelled:
                waiting.add(_in_thread(partial(_insist, stop, ended)))
            cancelled = error
    if cancelled:
        raise cancelled from future.exception()
    return future.result()


def _insist(stop: Callable[[], None], ended: threading.Event) -> None:
    """Stop it again and again: at first there may be no container or no cell yet that could be stopped."""
    while True:
        with suppress(ChorusError):
            stop()
        if ended.wait(_AGAIN_S):
            return


def _awaitable(method: Callable[Concatenate[Any, _P], _T]) -> Callable[Concatenate[_Self, _P], Coroutine[Any, Any, _T]]:
    """Make a method that blocks into one to await, with the same parameters."""

    @functools.wraps(method)
    async def call(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        await self._start()
        return await _see_through(partial(method, self._wrapped, *args, **kwargs))

    return call


def _stoppable(
    method: Callable[Concatenate[Any, _P], _T],
) -> Callable[Concatenate[AsyncSandboxFiles, _P], Coroutine[Any, Any, _T]]:
    """Make a method that moves files into one to await; where that is cancelled, it ends with its next piece."""

    @functools.wraps(method)
    async def call(self: AsyncSandboxFiles, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        await self._start()
        stop = threading.Event()

        def move() -> _T:
            with stopped_by(stop):
                return method(self._wrapped, *args, **kwargs)

        return await _see_through(move, stop.set)

    return call


class AsyncSandboxFile:
    """A file of a sandbox as a stream, closed when its ``async with`` block ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    async def read(self, size: int = -1) -> bytes:
        """Return so many bytes, or all there are."""
        return await _see_through(partial(self._file.read, size))

    async def write(self, data: bytes) -> int:
        """Write all of it."""
        return await _see_through(partial(self._file.write, data))

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position."""
        return await _see_through(partial(self._file.seek, offset, whence))

    async def close(self) -> None:
        """Have a file that is written be there."""
        await _see_through(self._file.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await _see_through(partial(self._file.__exit__, *error))


class AsyncSandboxFiles:
    """The files of one sandbox, as :class:`chorus_nb.files.SandboxFiles`."""

    def __init__(self, files: SandboxFiles, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._wrapped = files
        self._start = start

    read = _awaitable(SandboxFiles.read)
    write = _awaitable(SandboxFiles.write)
    put = _stoppable(SandboxFiles.put)
    get = _stoppable(SandboxFiles.get)
    digest = _awaitable(SandboxFiles.digest)
    stat = _awaitable(SandboxFiles.stat)
    exists = _awaitable(SandboxFiles.exists)
    list = _awaitable(SandboxFiles.list)
    walk = _awaitable(SandboxFiles.walk)
    mkdir = _awaitable(SandboxFiles.mkdir)
    remove = _awaitable(SandboxFiles.remove)
    chmod = _awaitable(SandboxFiles.chmod)
    rename = _awaitable(SandboxFiles.rename)
    symlink = _awaitable(SandboxFiles.symlink)

    async def open(self, path: InSandbox, mode: Literal["rb", "wb"] = "rb") -> AsyncSandboxFile:
        """Open a regular file as a stream, as :meth:`chorus_nb.files.SandboxFiles.open`."""
        await self._start()
        return AsyncSandboxFile(await _see_through(partial(self._wrapped.open, path, mode)))


class AsyncSandbox:
    """A :class:`chorus_nb.Sandbox` whose methods are awaited, ended when its ``async with`` block ends.

    Cells and commands of one sandbox take turns, in the order in which they were asked for; several sandboxes run side
    by side. Everything else works while a cell runs.

    A call that is cancelled, also by ``asyncio.timeout``, raises ``CancelledError`` once it has really ended. A cell or
    command is interrupted for that, as by Ctrl-C, and keeps its variables; one that does not yield within 3 s is
    killed, and the error's ``__cause__`` says so. A start is given up.

    Parameters
    ----------
    config, profile, engine, **options
        As of :class:`chorus_nb.Sandbox`.

    Examples
    --------
    >>> async with AsyncSandbox(memory="512m") as sb:
    ...     result = await sb.run("1 + 1")
    """

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        profile: str | None = None,
        engine: Engine | None = None,
        **options: Any,
    ) -> None:
        self._wrapped = Sandbox(config, profile=profile, engine=engine, **options)
        self._session = self._wrapped._session
        self._starting = asyncio.Lock()
        self._turn = asyncio.Lock()
        self.config = self._wrapped.config
        self.files = AsyncSandboxFiles(self._wrapped.files, self._start)

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _start(self) -> None:
        # One task at a time, so that who is cancelled gives up no start but their own.
        async with self._starting:
            if self._session.state not in ("idle", "busy"):
                await _see_through(self._session.start, self._session.give_up_start)

    async def _in_turn(self, call: Callable[[], _T]) -> _T:
        async with self._turn:
            self._session.report_loss()
            await self._start()
            return await _see_through(call, self._session.interrupt)

    async def run(
        self, code: str, *, timeout: float | str | None = None, on_input: InputHandler | None = None
    ) -> ExecutionResult:
        """Run a cell and wait for it, after those that were asked for before.

        An exception of the code is in the result, not raised. ``on_input`` is called on another thread.

        Raises
        ------
        ExecutionInterruptedError
            By :meth:`interrupt`.
        OutOfMemoryError, WorkerDiedError, ExecutionTimeoutError, SandboxDiedError, SessionClosedError
        """
        return await self._in_turn(partial(self._wrapped.run, code, timeout=timeout, on_input=on_input))

    async def command(self, argv: list[str], *, timeout: float | str | None = None) -> CommandResult:
        """Run a program in the container, beside the namespace. Waits and raises as :meth:`run` does."""
        return await self._in_turn(partial(self._wrapped.command, argv, timeout=timeout))

    async def push(self, /, **values: Any) -> None:
        """Copy values into variables, after the cells that were asked for before; as :meth:`Sandbox.push`."""
        await self._in_turn(partial(self._wrapped.push, **values))

    async def pull(self, name: str, /, *names: str) -> Any:
        """Return copies of variables, after the cells that were asked for before; as :meth:`Sandbox.pull`."""
        return await self._in_turn(partial(self._wrapped.pull, name, *names))

    usage = _awaitable(Sandbox.usage)
    info = _awaitable(Sandbox.info)
    restart = _awaitable(Sandbox.restart)
    changes = _awaitable(Sandbox.changes)
    apply = _awaitable(Sandbox.apply)
    discard = _awaitable(Sandbox.discard)

    async def interrupt(self) -> None:
        """Interrupt the cell that another task waits for; those that wait for their turn go on waiting."""
        self._wrapped.interrupt()

    async def close(self) -> None:
        """End it; may be called twice. A cell that runs raises ``SessionClosedError``."""
        await _see_through(self._wrapped.close)
