"""The tether: what ends a program's `async with Runtime(...)` when its engine cannot go on.

On asyncio it is the task that entered, so that a runtime may be left in another task (as test
fixtures do); on trio, whose tasks live in nurseries, it is one of those.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any

import anyio


class Tether:
    """Holds a program's block to its engine. Made, entered and left by the runtime."""

    def __init__(self) -> None:
        self.nursery: Any = None
        self._task: asyncio.Task[Any] | None = None
        self._cut = False

    async def enter(self) -> None:
        """Tie the running task, or open the nursery that activities will live in."""
        try:
            self._task = asyncio.current_task()
        except RuntimeError:
            self.nursery = await anyio.create_task_group().__aenter__()

    def cut(self) -> None:
        """Cancel the program's block, after what it waits for from us has come to it."""
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel()
        elif self._task is not None:
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._cut = True
            self._task.cancel()

    async def absorb(self) -> None:
        """Take up a cancellation of ours that the task has not felt yet, before clean-up begins."""
        task, self._task = self._task, None
        if self._cut and task is not None and task is asyncio.current_task():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            task.uncancel()

    async def leave(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the nursery. Our own scope has to see a cancellation that it caused."""
        if self.nursery is None:
            return
        self.nursery.cancel_scope.cancel()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            await self.nursery.__aexit__(kind, error, traceback)
        else:
            await self.nursery.__aexit__(None, None, None)
