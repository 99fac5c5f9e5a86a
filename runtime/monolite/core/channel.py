"""Channels between a workflow and the outside: `Signal` (in) and `View` (out)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar, overload

from monolite.core.admission import check_id
from monolite.core.attempt import current_attempt
from monolite.core.loop import running_loop
from monolite.core.payload import Codec, codec, encode
from monolite.errors import Misused

T = TypeVar("T")


def machine_of(use: str) -> Any:
    """Return the machine of the workflow that is running; raise Misused outside of one."""
    loop = running_loop()
    if loop is None:
        msg = (
            f"{use} works inside a workflow only, run by a runtime; "
            'in a test, spawn the workflow in Runtime(":memory:")'
        )
        raise Misused(msg)
    return loop.owner


class _Channel(Generic[T]):
    __slots__ = ("_codec", "name", "type")

    def __init__(self, name: str, type: Any) -> None:  # noqa: A002
        self.name = check_id(name, f"name of a {self._noun}")
        self.type = type
        self._codec: Codec[T] | None = None

    def encode(self, value: T) -> str:
        """Return `value` as JSON; raise PayloadInvalid if it is not of the channel's type."""
        where = f"{self._noun} {self.name}"
        text = encode(value, where)
        self.decode(text)
        return text

    def decode(self, text: str) -> T:
        """Return JSON text as the channel's type."""
        if self._codec is None:
            self._codec = codec(self.type)
        return self._codec.decode(text, f"{self._noun} {self.name}")

    @property
    def _noun(self) -> str:
        return type(self).__name__.lower()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Signal(_Channel[T]):
    """A typed channel of messages into a workflow.

    Messages are durable before the sender's await returns, ordered, and kept until received,
    whether or not the workflow is waiting, or has even started.
    """

    __slots__ = ()

    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...
    @overload
    def __init__(self: Signal[Any], name: str, type: Any = Any) -> None: ...
    def __init__(self, name: str, type: Any = Any) -> None:  # noqa: A002
        super().__init__(name, type)

    async def receive(self) -> T:
        """Return the next message, waiting for it if need be. In a workflow only."""
        machine = machine_of(f"{self!r}.receive()")
        message = await machine.receive(self.name)
        return self.decode(message.value)

    def pending(self) -> int:
        """Return how many messages could be received without waiting. In a workflow only."""
        return len(machine_of(f"{self!r}.pending()").channel(self.name).buffer)

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            yield await self.receive()


class View(_Channel[T]):
    """A typed value that a workflow publishes: the latest one is kept in the file."""

    __slots__ = ()

    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...
    @overload
    def __init__(self: View[Any], name: str, type: Any = Any) -> None: ...
    def __init__(self, name: str, type: Any = Any) -> None:  # noqa: A002
        super().__init__(name, type)

    def set(self, value: T) -> None:
        """Publish `value`; readers see it once the current turn has committed.

        In a workflow or an actor's turn. Outside any runtime it is checked, and goes nowhere.
        """
        text = self.encode(value)
        loop = running_loop()
        if loop is not None:
            machine: Any = loop.owner
            machine.publish(self.name, text)
        elif current_attempt.get() is not None:
            msg = (
                f"{self!r}.set() works in a workflow or an actor's turn; in an activity append "
                "to a Stream, or return the value and set it in the workflow"
            )
            raise Misused(msg)
