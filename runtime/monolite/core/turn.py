"""The turn machine: one actor, without I/O. Messages and entries in, commands out.

Between turns an actor is its stored state and nothing else. A turn begins with its message,
which is the first entry of the turn's journal; what its handler awaits follows, as in a
workflow. When the handler ends, the turn's outcome is one command, `TurnDone`, and the journal
up to there is retired: a crash in mid-turn replays that turn alone.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.actor import Actor, ActorType
from monolite.core.call import Call
from monolite.core.command import Append, Command, Detach, Publish, Tell
from monolite.core.entry import Entry, Run
from monolite.core.loop import OrderedTask
from monolite.core.machine import Machine
from monolite.core.payload import encode
from monolite.errors import Cancelled, Misused

NEW_STATE = "{}"
"""The state of an actor no turn of which has succeeded: every attribute has its default."""


class TurnDone(msgspec.Struct, frozen=True):
    """Command: a turn has ended. `state` is None if it changed nothing or was rolled back."""

    entry: Entry
    value: str | None
    error: str | None
    state: str | None
    messages: list[Tell]


class ActorMachine(Machine):
    """One actor. `busy` while a turn waits for something."""

    __slots__ = (
        "_held",
        "_instance",
        "_key",
        "_tells",
        "_turn",
        "_type",
        "_unwritten",
        "forgotten_n",
        "retired_n",
        "state",
        "version",
    )

    def __init__(
        self, run: Run, type_: ActorType, state: str | None, version: int, retired_n: int
    ) -> None:
        super().__init__(run, None)
        self._type = type_
        self._key = run.id.partition("/")[2]
        self._instance: Actor | None = None
        self.state = state
        # A migrated state, like a new one, is written with the first turn.
        self._unwritten = state is not None and version != type_.version
        if state is not None:  # a new one is made in its first turn, whose failure that can be
            self._instance = type_.load(self._key, state, version)
        if self._unwritten and self._instance is not None:
            self.state = type_.dump(self._instance, self._key)
        self.version = type_.version
        self.forgotten_n = 0
        self._turn: Entry | None = None
        self._tells: list[Tell] = []
        self._held: list[Command] = []
        self.retired_n = retired_n
        self.next_n = retired_n

    @property
    def busy(self) -> bool:
        """Whether a turn is under way, so that messages must wait."""
        return self._turn is not None

    @property
    def asked(self) -> str | None:
        """The id of the question that the turn under way answers, if it is one."""
        turn = self._turn
        return None if turn is None or turn.kind != e.UPDATE else turn.args

    def start(self, now_us: int) -> None:
        self.now_us = now_us

    def deliver(self, entry: Entry) -> None:
        if entry.kind not in (e.SIGNAL, e.UPDATE):
            super().deliver(entry)
            return
        assert self._turn is None, "turns of one actor never interleave"
        assert entry.n == self.next_n, f"entry {entry.n} delivered where {self.next_n} is next"
        self.next_n += 1
        self.now_us = max(self.now_us, entry.at_us)
        self._begin(entry)
        self._run()

    def waiting_on(self) -> str:
        if self._turn is None:
            return "messages"
        return f"turn {self._turn.key}: {super().waiting_on()}"

    def claim_key(self, name: str) -> str:
        """Return a key that no other turn of this actor has either."""
        claimed = super().claim_key(name)
        assert self._turn is not None
        return f"{claimed}@{self._turn.n}"

    def name_message(self, n: int, message_id: str) -> None:
        if self._turn is not None and self._turn.n == n:
            self._turn = msgspec.structs.replace(self._turn, args=message_id)

    def tell(self, message: Tell) -> None:
        """Keep a message back until the turn commits."""
        self._must_be_loaded()
        self._tells.append(message)

    # What a turn shows and starts is kept back too: if it fails, none of it has happened. A turn
    # that is being replayed has not ended either, so here a replay drops nothing.

    def publish(self, name: str, value: str) -> None:
        self._must_be_loaded()
        self._held.append(Publish(name, value))

    def append(self, name: str, value: str) -> None:
        self._must_be_loaded()
        self._held.append(Append(name, value))

    def detach(self, id: str, key: str, call: Call[Any]) -> None:
        payload = call.definition.signature.encode(call.args, call.kwargs)
        self._held.append(Detach(id, key, call, payload))

    async def receive(self, name: str) -> Entry:
        """Refuse: the message would wait for the end of the very turn that waits for it."""
        msg = (
            f"{self.run.id} cannot receive {name!r} in a turn: a message is a turn of its own; "
            "write a handler for it, or receive it in a workflow that the turn awaits"
        )
        raise Misused(msg)

    def _begin(self, entry: Entry) -> None:
        self._turn = entry
        self.restart_counts(f"{self.seed}/{entry.n}")
        try:
            handler = self._type.handler(entry.key)
            args, kwargs = handler.signature.decode(entry.value or "[]")
            if self._instance is None:  # it is new, or its last turn failed
                self._instance = self._type.load(self._key, self.state, self._type.version)
            coro = self._call(handler.fn, args, kwargs)
        except BaseException as error:  # noqa: BLE001 - the sender's to handle
            self._end_turn(None, error)
            return
        self._main = self.loop.create_task(coro, name=entry.key, context=Context())

    async def _call(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = fn(self._instance, *args, **kwargs)
        return await result if hasattr(result, "__await__") else result

    def _cancel(self, entry: Entry) -> None:
        if self._main is not None:
            reason = msgspec.json.decode(entry.value or '""')
            self._main.cancel(str(reason) or None)

    def _run(self) -> None:
        self.loop.run_until_quiet()
        crash = self.loop.crash
        if crash is not None:
            self.loop.crash = None
            self._end_turn(None, crash)
        elif self._main is not None and self._main.done():
            self._conclude(self._main)

    def _conclude(self, main: OrderedTask[Any]) -> None:
        if not self._swept():
            return
        if main.cancelled():
            self._end_turn(None, Cancelled(self.run.id, "the turn was cancelled"))
        elif (error := main.exception()) is not None:
            self._end_turn(None, error)
        else:
            self._end_turn(main.result(), None)

    def _end_turn(self, result: Any, error: BaseException | None) -> None:
        turn, tells = self._turn, self._tells
        assert turn is not None
        value = state = None
        if error is None:
            try:
                value = encode(result, f"result of {self._type.name}.{turn.key}")
                assert self._instance is not None
                state = self._type.dump(self._instance, self._key, self.state)
            except BaseException as unstorable:  # noqa: BLE001 - the sender's to handle
                error = unstorable
        if error is not None:
            value, tells, self._instance = None, [], None
            state = NEW_STATE if self.state is None else self.state
        if state == self.state and not self._unwritten:
            state = None
        else:
            self.state, self._unwritten = state, False
        self._turn, self._tells, self._main = None, [], None
        self.drop_timers()
        self.retired_n = self.next_n
        text = None if error is None else failure.encode(failure.describe(error))
        if error is None:
            self._commands.extend(self._held)
        self._held = []
        self._commands.append(TurnDone(turn, value, text, state, tells))
