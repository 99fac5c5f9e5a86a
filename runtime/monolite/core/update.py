"""Updates: messages into a workflow that are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar, overload

from monolite.core import failure
from monolite.core.admission import check_id
from monolite.core.channel import machine_of
from monolite.core.payload import Codec, codec, encode
from monolite.errors import Misused, Rejected

T = TypeVar("T")
R = TypeVar("R")


class Request(Generic[T, R]):
    """One update that a workflow received: answer it with `reply` or `reject`, once."""

    __slots__ = ("_machine", "_message_id", "_update", "value")

    def __init__(self, update: Update[T, R], machine: Any, message_id: str, value: T) -> None:
        self._update = update
        self._machine = machine
        self._message_id = message_id
        self.value = value

    def reply(self, result: R) -> None:
        """Answer; the sender gets `result` once this turn has committed."""
        text = encode(result, f"reply to update {self._update.name}")
        self._answer(text, None)

    def reject(self, reason: str) -> None:
        """Refuse; the sender gets Rejected with the reason once this turn has committed."""
        error = failure.encode(failure.describe(Rejected(reason)))
        self._answer(None, error)

    def _answer(self, value: str | None, error: str | None) -> None:
        if not self._machine.reply(self._message_id, value, error):
            msg = f"this request of update {self._update.name!r} was already answered"
            raise Misused(msg)

    def __repr__(self) -> str:
        return f"<request of {self._update.name}: {self.value!r}>"


class Update(Generic[T, R]):
    """A typed channel of requests into a workflow, each with an answer.

    `async for req in update: req.reply(...)`. Requests are kept like signals until they are
    received; those that are never answered are rejected when the run ends.
    """

    __slots__ = ("_reply_codec", "_value_codec", "name", "reply_type", "type")

    @overload
    def __init__(self, name: str, type: type[T], reply: type[R]) -> None: ...
    @overload
    def __init__(self: Update[Any, Any], name: str, type: Any = Any, reply: Any = Any) -> None: ...
    def __init__(self, name: str, type: Any = Any, reply: Any = Any) -> None:  # noqa: A002
        self.name = check_id(name, "name of an update")
        self.type = type
        self.reply_type = reply
        self._value_codec: Codec[T] | None = None
        self._reply_codec: Codec[R] | None = None

    def encode(self, value: T) -> str:
        """Return a request as JSON; raise PayloadInvalid if it is not of the channel's type."""
        text = encode(value, f"update {self.name}")
        self.decode(text)
        return text

    def decode(self, text: str) -> T:
        """Return a request's JSON as the channel's type."""
        if self._value_codec is None:
            self._value_codec = codec(self.type)
        return self._value_codec.decode(text, f"update {self.name}")

    def decode_reply(self, text: str) -> R:
        """Return an answer's JSON as the reply type."""
        if self._reply_codec is None:
            self._reply_codec = codec(self.reply_type)
        return self._reply_codec.decode(text, f"reply to update {self.name}")

    async def receive(self) -> Request[T, R]:
        """Return the next request, waiting for it if need be. In a workflow only.

        One whose value is not of the declared type is rejected and passed over.
        """
        machine = machine_of(f"{self!r}.receive()")
        while True:
            message = await machine.receive(self.name)
            try:
                value = self.decode(message.value)
            except Exception as error:  # noqa: BLE001 - the sender's mistake, not the workflow's
                refusal = failure.encode(failure.describe(error))
                machine.reply(message.args, None, refusal)
                continue
            return Request(self, machine, message.args, value)

    def pending(self) -> int:
        """Return how many requests could be received without waiting. In a workflow only."""
        return len(machine_of(f"{self!r}.pending()").channel(self.name).buffer)

    async def __aiter__(self) -> AsyncIterator[Request[T, R]]:
        while True:
            yield await self.receive()

    def __repr__(self) -> str:
        return f"Update({self.name!r})"
