"""The engine thread: owns the engine, gathers events while one batch is syncing, waits.

This loop is the group commit: whatever arrives during a commit is the next batch.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from monolite.core.loop import running_loop
from monolite.errors import MonoliteError, StorageFull
from monolite.host.batch import Released
from monolite.host.clock import Clock
from monolite.host.doorbell import WATCHERS_MAX, Bell
from monolite.host.engine import Engine
from monolite.host.events import (
    Amend,
    Ask,
    AwaitEnd,
    ChangeQueue,
    Event,
    Post,
    RetryDead,
    Spawn,
    Watch,
)

log = logging.getLogger("monolite.engine")

WAIT_S_MAX = 1.0
"""Look at the clock and at the file at least this often: wall clocks jump, rings get lost."""

EVENTS_MAX = 5_000
"""Events in one turn: bounds how long the first waits for the commit of the last."""

FULL_WAIT_S = (0.1, 0.5, 1.0, 2.0)
"""How long to wait between tries while the disk is full."""

PAUSE_MS = 1
"""Between turns that carry on what runs do to each other. To let go of the interpreter for an
instant, over and over, is worse than not to: each time the other threads begin to wait anew."""

STUCK_S = 1.0
"""A workflow whose code runs for longer without waiting is reported by name."""

STUCK_LOOKS = 20
"""How often the watchdog looks in that time: what it reports took at most so much longer."""


_AGAIN = (Spawn, Post, Amend, ChangeQueue, RetryDead)
"""Requests that their senders can send again."""


class EngineThread:
    """Runs turns. `post` and `stop` may be called from any thread."""

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        clock: Clock,
        release: Callable[[Released], None],
        ended: Callable[[BaseException | None], None],
        open_bell: Callable[[], Bell | None] | None,
    ) -> None:
        self._open_engine = open_engine
        self._clock = clock
        self._release = release
        self._ended = ended
        self._open_bell = open_bell
        self._bell: Bell | None = None
        self._callers: dict[str, None] = {}
        self._fresh_callers: list[str] = []
        self._mailbox: deque[Event] = deque()
        self._asleep = False
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._wake_lock = threading.Lock()
        self._active = threading.Event()
        self._done = threading.Event()
        self.opened = threading.Event()
        self.open_error: BaseException | None = None
        self.engine: Engine | None = None
        self._thread = threading.Thread(target=self._main, name="monolite-engine", daemon=True)
        self._watchdog = threading.Thread(target=self._watch, name="monolite-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._watchdog.start()

    def post(self, event: Event) -> None:
        """Hand an event to the next turn."""
        self._mailbox.append(event)
        if self._asleep:
            self._wake()

    def stop(self) -> None:
        """Ask the thread to finish what it has and end."""
        self._stopping = True
        self._wake()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()
        self._watchdog.join()
        with self._wake_lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    def _wake(self) -> None:
        self._asleep = False
        with self._wake_lock, contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"!")

    # On the engine thread.

    def _main(self) -> None:
        error: BaseException | None = None
        try:
            # The bell after the file: only its owner may put up its bell.
            self.engine = self._open_engine()
            if self._open_bell is not None:
                self._bell = self._open_bell()
        except BaseException as failed:  # noqa: BLE001 - handed to whoever opens the runtime
            self.open_error = failed
            self._finish()
            self.opened.set()
            return
        self.opened.set()
        sys.set_asyncgen_hooks(finalizer=close_generator)
        try:
            self._run(self.engine)
        except BaseException as failed:  # noqa: BLE001 - handed to the runtime
            error = failed
        finally:
            self._finish()
            with contextlib.suppress(Exception):
                self.engine.close()
            self._ended(error)

    def _finish(self) -> None:
        self._stopping = True
        self._done.set()
        self._active.set()
        if self._bell is not None:
            self._bell.close()

    def _run(self, engine: Engine) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._bell is not None:
            poll.register(self._bell.fileno(), select.POLLIN)
        held: list[Event] = []
        full = 0
        while True:
            if not self._mailbox or full:
                self._sleep(engine, poll, FULL_WAIT_S[min(full, 4) - 1] if full else None)
            if self._stopping and not self._mailbox:
                with contextlib.suppress(StorageFull):
                    engine.rest(self._clock.now_us())
                return
            events = held + self._gather()
            if not self._active.is_set():
                self._active.set()
            try:
                released = engine.turn(events, self._clock.now_us())
            except StorageFull as error:
                full += 1
                held = self._refuse(engine, events, error)
                continue
            held, full = [], 0
            if released:
                self._release(released)
            if self._fresh_callers or (released.changed and self._callers):
                self._ring_back(changed=released.changed)

    def _gather(self) -> list[Event]:
        mailbox = self._mailbox
        if len(mailbox) <= EVENTS_MAX:
            events = list(mailbox)
            for _ in events:
                mailbox.popleft()
            return events
        return [mailbox.popleft() for _ in range(EVENTS_MAX)]

    def _refuse(self, engine: Engine, events: list[Event], error: MonoliteError) -> list[Event]:
        """Refuse what can be sent again, answer what only reads; return what must be kept."""
        refusals = [(x.reply, error) for x in events if isinstance(x, _AGAIN)]
        self._release(Released([], [], [], list(refusals), [], changed=False))
        reading = [x for x in events if isinstance(x, (AwaitEnd, Ask, Watch))]
        self._release(engine.look(list(reading), self._clock.now_us()))
        return [x for x in events if not isinstance(x, (*_AGAIN, AwaitEnd, Ask, Watch))]

    def _sleep(self, engine: Engine, poll: select.poll, wait_s: float | None) -> None:
        """Wait for an event, a ring, or the next timer."""
        if wait_s is None:
            wake_us = engine.next_wake_us
            wait_s = WAIT_S_MAX
            if wake_us is not None:
                wait_s = min(WAIT_S_MAX, (wake_us - self._clock.now_us()) / 1_000_000)
            if wait_s <= 0:
                self._listen(engine, poll.poll(PAUSE_MS if engine.work else 0))
                return
        self._asleep = True
        if self._mailbox or self._stopping:
            self._asleep = False
            return
        # Rounded up: waking a fraction of a millisecond early would only be to wait again.
        ready = poll.poll(int(wait_s * 1000) + 1)
        self._asleep = False
        self._listen(engine, ready)

    def _listen(self, engine: Engine, ready: list[tuple[int, int]]) -> None:
        for fd, _ in ready:
            if fd == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(fd, 4096)
            elif self._bell is not None:
                engine.look_outside()
                for caller in self._bell.listen():
                    if caller not in self._callers and len(self._callers) < WATCHERS_MAX:
                        self._callers[caller] = None
                        self._fresh_callers.append(caller)

    def _ring_back(self, *, changed: bool) -> None:
        """Tell clients to look again.

        A new one even if nothing has changed: it may have rung and looked, and we have committed,
        before we heard it.
        """
        assert self._bell is not None
        for caller in list(self._callers) if changed else self._fresh_callers:
            if not self._bell.ring(caller):
                del self._callers[caller]
        self._fresh_callers.clear()

    # The watchdog.

    def _watch(self) -> None:
        """Report a workflow whose code has run for a second without waiting."""
        seen, unmoved = -1, 0
        while not self._done.is_set():
            self._active.wait()
            self._active.clear()
            self._done.wait(STUCK_S / STUCK_LOOKS)
            engine = self.engine
            running = None if engine is None else engine.running
            if engine is None or running is None:
                continue
            self._active.set()
            moved, seen = engine.deliveries != seen, engine.deliveries
            unmoved = 0 if moved else unmoved + 1
            if unmoved == STUCK_LOOKS:
                unmoved = 0
                log.warning(
                    "workflow %r has run its own code for over %g s without waiting and holds up "
                    "all others; move the work into an activity",
                    running,
                    STUCK_S,
                )


def close_generator(generator: Any) -> None:
    """Finish an async generator that workflow code dropped, inside its own run."""
    loop = running_loop()
    if loop is not None and not loop.closing:
        loop.create_task(generator.aclose())
