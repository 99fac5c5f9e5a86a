"""The annex: a thread with an event loop of its own, where other processes are looked after.

They are watched, and killed in time, however busy the host's loop is, and whether that is
asyncio's or trio's. Processes that end with the thread that started them end with the engine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any


class Annex:
    """An asyncio event loop in a daemon thread. It starts when it is first given something."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def started(self) -> bool:
        return self._thread is not None

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call back in the annex; may be called from any thread."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._main, args=(self._loop,), name="monolite-annex", daemon=True
            )
            self._thread.start()
        self._loop.call_soon_threadsafe(callback, *args)

    def _main(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def close(self) -> None:
        """End the thread, once all that it was given has ended; waits for it."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None
