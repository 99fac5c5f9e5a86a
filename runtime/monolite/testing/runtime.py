"""The virtual runtime: a real runtime, on a clock of its own, that can die and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar, cast

import anyio

from monolite.core import guard
from monolite.core.call import Call
from monolite.core.entry import Accepted
from monolite.core.handle import Handle
from monolite.core.handler import Address, Handler
from monolite.errors import Misused, MonoliteError
from monolite.host import audit, order
from monolite.host.batch import Released
from monolite.host.bridge import AsyncioBridge, Bridge, PendingReply
from monolite.host.engine import Engine
from monolite.host.events import Event, Post
from monolite.host.requests import Posted
from monolite.host.runtime import Runtime
from monolite.store.protocol import Store
from monolite.testing.clock import VirtualClock
from monolite.testing.standin import StandIns
from monolite.testing.stepper import Killed, Stepper
from monolite.testing.supervisor import FreeTrioBridge, VirtualSupervisor

R = TypeVar("R")


class Died(MonoliteError):
    """The engine died before it answered; whoever asked asks the next one."""


class VirtualRuntime(Runtime):
    """Opened, killed and closed by its environment, between two callbacks of the event loop.

    What was asked when it died is asked again of the next life. So everything sent here has an
    id, and takes effect once.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: VirtualClock,
        store: Store | None,
        stand_ins: StandIns,
        one_by_one: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(path, clock=clock, **settings)
        self._virtual_clock = clock
        self._store = store
        self._stand_ins = stand_ins
        self._one_by_one = one_by_one
        if store is not None:
            self._id_prefix = (
                "env"  # nobody else makes ids there, so they can be the same each time
            )
        self._stepper: Stepper | None = None
        self._moving = anyio.Event()
        self._graves: list[VirtualSupervisor] = []
        self.lives = 0
        self.autopilot: Callable[[str], Any] | None = None
        """What moves the clock while somebody waits for a run's result, if anything does."""

    # Life. All of it happens at once, so that it also can in a fixture that cannot wait.

    def open(self) -> None:
        """Open the engine on the running event loop."""
        audit.complete()
        guard.install()
        order.pin()
        self._bridge = _bridge_here()
        self._rise()

    def _rise(self) -> None:
        """Begin a life, as a new process on the same file would."""
        bridge = self._must_bridge()
        stepper = self._stepper = Stepper(
            self._open_engine,
            self._virtual_clock,
            soon=bridge.soon,
            release=self._carry_out,
            failed=self._on_failed,
            one_by_one=self._one_by_one,
        )
        self._supervisor = VirtualSupervisor(
            bridge,
            stepper.post,
            self,
            clock=self._virtual_clock,
            engine=stepper.engine,
            stand_ins=self._stand_ins,
            moved=self._note_move,
        )
        self.lives += 1
        stepper.poke()

    def _open_store(self) -> Store:
        return super()._open_store() if self._store is None else self._store

    def kill(self) -> NoReturn:
        """Die at this very place, from any thread; come back when the event loop gets to it."""
        stepper = self.stepper
        stepper.die()
        self._must_bridge().soon(self._rise_after, stepper)
        raise Killed

    def _rise_after(self, stepper: Stepper) -> None:
        if stepper is self._stepper and not self._closing:
            self.crash()

    def crash(self) -> None:
        """Lose everything but the store, and begin another life on it."""
        self._bury(cleanly=False)
        for reply in list(self._pending):
            reply.refuse(Died("the engine died before it answered"))
        self._rise()
        self._note_move()

    def close(self) -> None:
        """End the last life: what is under way is cut off, and would run again."""
        self._closing = True
        if self._stepper is not None:
            self._bury(cleanly=not self._stepper.dead)
        self._refuse_pending()
        self._note_move()

    def _bury(self, *, cleanly: bool) -> None:
        supervisor = self.supervisor
        self.stepper.die()
        supervisor.die()
        self._graves.append(supervisor)
        self.stepper.close(cleanly=cleanly)

    async def buried(self) -> None:
        """Wait until what was cut off has cleaned up after itself."""
        graves, self._graves = self._graves, []
        for supervisor in graves:
            await supervisor.buried()

    def _on_failed(self, error: BaseException) -> None:
        self._on_ended(error)
        self._note_move()

    async def __aenter__(self) -> NoReturn:
        msg = "an environment's runtime is running already; use it as it is"
        raise Misused(msg)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Do nothing: the environment closes it."""

    # Movement.

    @property
    def stepper(self) -> Stepper:
        """What takes the turns of this life."""
        if self._stepper is None:
            msg = "this runtime is not open"
            raise Misused(msg)
        return self._stepper

    @property
    def supervisor(self) -> VirtualSupervisor:
        """What runs the attempts of this life."""
        return cast("VirtualSupervisor", self._supervisor)

    @property
    def error(self) -> BaseException | None:
        """What the engine failed with, if it did."""
        return self._error

    def add(self, actor: Any) -> None:
        """Add code to what this process has."""
        self._registry.add(actor)

    def check(self) -> None:
        """Raise what the engine failed with, if it did."""
        if self._error is not None:
            raise self._error

    @property
    def is_busy(self) -> bool:
        """Whether something will happen without the clock being moved."""
        stepper = self.stepper
        dying = stepper.dead and self._error is None and not self._closing
        return dying or stepper.is_due or self.supervisor.is_busy

    @property
    def next_wake_us(self) -> int | None:
        """When something will happen next if nobody does anything."""
        times = (self.stepper.engine.next_wake_us, self.supervisor.next_limit_us)
        return min((at_us for at_us in times if at_us is not None), default=None)

    def _note_move(self) -> None:
        moving, self._moving = self._moving, anyio.Event()
        moving.set()

    async def moved(self) -> None:
        """Wait until something has happened."""
        await self._moving.wait()

    def _carry_out(self, released: Released) -> None:
        super()._carry_out(released)
        self._note_move()

    # The way in: what a life did not answer is asked of the next.

    def _post(self, event: Event) -> None:
        self.stepper.post(event)

    def _must_engine(self) -> Engine:
        return self.stepper.engine

    async def _ask(self, make_event: Callable[[PendingReply], Event]) -> Any:
        while True:
            try:
                return await super()._ask(make_event)
            except Died:
                continue

    async def spawn(self, call: Call[R], *, id: str | None = None, **options: Any) -> Handle[R]:
        return await super().spawn(call, id=self._new_id() if id is None else id, **options)

    async def send_signal(
        self, id: str, name: str, text: str, message_id: str | None = None
    ) -> Accepted:
        message_id = self._new_id() if message_id is None else message_id
        return await super().send_signal(id, name, text, message_id)

    async def result_text(self, id: str) -> str:
        if self.autopilot is not None:
            await self.autopilot(id)
        return await super().result_text(id)

    async def view_texts(
        self, id: str, name: str, *, at_once: bool = False
    ) -> AsyncGenerator[str, None]:
        seen: str | None = None
        while True:
            try:
                async with aclosing(super().view_texts(id, name, at_once=at_once)) as values:
                    async for text in values:
                        if text != seen or not text:
                            yield text
                        seen = text
                return
            except Died:
                continue

    def _post_to_actor(
        self,
        handler: Handler[..., Any],
        address: Address,
        text: str,
        delay_us: int,
        message_id: str | None,
        *,
        caller: str | None = None,
    ) -> Posted:
        named = self._new_id() if message_id is None else message_id

        def make_event(reply: PendingReply) -> Event:
            actor, id = address.actor, address.id
            method = handler.method
            return Post(id, handler.kind, method, text, named, reply, actor, delay_us, caller)

        first = self._awaited_reply()
        self._post(make_event(first))
        again = _Again(first, lambda: self._ask(make_event))
        return Posted(again, handler, "signal" if delay_us else handler.kind)

    def append(self, flight: Any, name: str, text: str) -> None:
        # Tokens begin anew with each life: an attempt of an earlier one is not to be heard.
        found = self.stepper.engine.flights.by_token.get(flight.token)
        if found is not None and (found.key, found.number) == (flight.key, flight.number):
            super().append(flight, name, text)


class _Again:
    """An answer on its way; should the engine die first, it is asked for again."""

    def __init__(self, first: PendingReply, again: Callable[[], Any]) -> None:
        self._first = first
        self._again = again

    def answer(self, value: Any) -> None:
        self._first.answer(value)

    def refuse(self, error: BaseException) -> None:
        self._first.refuse(error)

    async def wait(self) -> Any:
        try:
            return await self._first.wait()
        except Died:
            return await self._again()


def _bridge_here() -> Bridge:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return FreeTrioBridge()
    return AsyncioBridge()
