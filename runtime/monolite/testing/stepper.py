"""The stepper: takes the engine's turns one at a time, while the event loop stands still.

Stands in for `host.thread`. The engine has a thread of its own here too, because workflow code
must not run inside another event loop; but nothing happens beside a turn, so that the same
program on asyncio always makes the same turns.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from monolite.host.batch import Released
from monolite.host.clock import Clock
from monolite.host.engine import Engine
from monolite.host.events import Event
from monolite.host.thread import close_generator


class Killed(BaseException):
    """The process is to die here. Never caught by user code's `except Exception`."""


class Stepper:
    """One life of an engine. `post` and `die` may be called from any thread."""

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        clock: Clock,
        *,
        soon: Callable[[Callable[[], None]], None],
        release: Callable[[Released], None],
        failed: Callable[[BaseException], None],
        one_by_one: bool,
    ) -> None:
        self._clock = clock
        self._soon = soon
        self._release = release
        self._failed = failed
        self._one_by_one = one_by_one
        self._mailbox: deque[Event] = deque()
        self._poked = False
        self.dead = False
        self._thread = ThreadPoolExecutor(
            1, "monolite-engine", lambda: sys.set_asyncgen_hooks(finalizer=close_generator)
        )
        try:
            self.engine = self._thread.submit(open_engine).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def post(self, event: Event) -> None:
        """Hand an event to the next turn."""
        self._mailbox.append(event)
        self._soon(self._step)

    def poke(self) -> None:
        """Take a turn although nothing was posted."""
        self._poked = True
        self._soon(self._step)

    @property
    def is_due(self) -> bool:
        """Whether a turn is needed now."""
        if self.dead:
            return False
        wake_us = self.engine.next_wake_us
        late = wake_us is not None and wake_us <= self._clock.now_us()
        return bool(self._mailbox) or self._poked or late

    def _step(self) -> None:
        if not self.is_due:
            return
        self._poked = False
        count = 1 if self._one_by_one else len(self._mailbox)
        events = [self._mailbox.popleft() for _ in range(min(count, len(self._mailbox)))]
        now_us = self._clock.now_us()
        try:
            released = self._thread.submit(self.engine.turn, events, now_us).result()
        except Killed:
            return  # whoever killed it sees to the rest
        except BaseException as error:  # noqa: BLE001 - handed to the runtime
            self.dead = True
            self._failed(error)
            return
        if self.dead:
            return  # killed by an activity's thread during the commit
        self._release(released)
        if self.is_due:
            self._soon(self._step)

    def die(self) -> None:
        """Take no more turns, from this very moment on."""
        self.dead = True

    def close(self, *, cleanly: bool) -> None:
        """Let go of the runs and of the store; `cleanly` writes down what they wait for first."""
        self.dead = True
        try:
            if cleanly:
                self._thread.submit(self.engine.rest, self._clock.now_us()).result()
        finally:
            self._thread.submit(self.engine.close).result()
            self._thread.shutdown()
