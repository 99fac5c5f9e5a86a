"""The bridge to the host's event loop: asyncio or trio, behind three verbs.

These are on the path of every step, so they use the loop's own primitives; the rest of the
host is anyio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import anyio


class Bridge(Protocol):
    """One host event loop, seen from this file's engine."""

    @property
    def backend(self) -> str:
        """What anyio calls the loop."""
        ...

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back on the loop; may be called from any thread. Lost if the loop has closed."""
        ...

    def reply(self) -> PendingReply:
        """Return a new answer to wait for on the loop."""
        ...

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        """Run a coroutine as a task of its own; return what cancels it."""
        ...

    def marked(self) -> bool:
        """Return whether a cancellation has left its mark on the task that runs."""
        ...


class PendingReply(Protocol):
    """An answer on its way."""

    def answer(self, value: Any) -> None: ...
    def refuse(self, error: BaseException) -> None: ...
    def wait(self) -> Awaitable[Any]: ...


class AsyncioReply:
    """An answer that an asyncio task waits for."""

    __slots__ = ("_future",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._future: asyncio.Future[Any] = loop.create_future()

    def answer(self, value: Any) -> None:
        if not self._future.done():
            self._future.set_result(value)

    def refuse(self, error: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(error)

    def wait(self) -> asyncio.Future[Any]:
        return self._future


class AsyncioBridge:
    """The bridge to an asyncio loop (or uvloop)."""

    backend = "asyncio"

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # The loop has closed: nobody is left to hear it, and the file has it all.
            return

    def reply(self) -> AsyncioReply:
        return AsyncioReply(self._loop)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def cancel() -> None:
            task.cancel()

        return cancel

    def marked(self) -> bool:
        # Left by code that swallowed one, and by `TaskGroup` before Python 3.13.
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0


class AnyReply:
    """An answer that a task of any event loop waits for."""

    __slots__ = ("_error", "_event", "_value")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def answer(self, value: Any) -> None:
        self._value = value
        self._event.set()

    def refuse(self, error: BaseException) -> None:
        self._error = error
        self._event.set()

    async def wait(self) -> Any:
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._value


class TrioBridge:
    """The bridge to a trio run; activities live in `nursery`."""

    backend = "trio"

    def __init__(self, nursery: Any) -> None:
        import trio

        self._token = trio.lowlevel.current_trio_token()
        self._finished: type[BaseException] = trio.RunFinishedError
        self._nursery = nursery

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        try:
            self._token.run_sync_soon(callback, *args)
        except self._finished:
            return

    def reply(self) -> AnyReply:
        return AnyReply()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
        scope = anyio.CancelScope()

        async def in_scope() -> None:
            with scope:
                await coroutine

        self._nursery.start_soon(in_scope)
        return scope.cancel

    def marked(self) -> bool:
        return False


def bridge_here(task_group: Any) -> Bridge:
    """Return the bridge to the event loop that is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return TrioBridge(task_group)
    return AsyncioBridge()
