"""Streams: append-only, durable output of a workflow or an activity, read with a cursor."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from monolite.core.admission import check_id
from monolite.core.attempt import current_attempt
from monolite.core.loop import running_loop
from monolite.core.payload import Codec, codec, encode

T = TypeVar("T")


class Stream(Generic[T]):
    """Typed output that grows: an LLM's tokens, log lines.

    `append` in a workflow, a turn or an activity; what is appended between two commits is
    packed into one row. Read it with `Handle.read(stream, after=cursor)`: first what there is,
    then what comes, from any process. An activity that is interrupted and runs again appends
    from its beginning again; what is in the file already is passed over, so that readers see
    every position once.
    """

    __slots__ = ("_codec", "name", "type")

    @overload
    def __init__(self, name: str, type: type[T]) -> None: ...
    @overload
    def __init__(self: Stream[Any], name: str, type: Any = Any) -> None: ...
    def __init__(self, name: str, type: Any = Any) -> None:  # noqa: A002
        self.name = check_id(name, "name of a stream")
        self.type = type
        self._codec: Codec[T] | None = None

    def append(self, value: T) -> None:
        """Append one item; readers see it once it has committed.

        Outside any runtime it is checked, and goes nowhere.
        """
        text = encode(value, f"item of stream {self.name}")
        self.decode(text)
        loop = running_loop()
        if loop is not None:
            machine: Any = loop.owner
            machine.append(self.name, text)
            return
        attempt = current_attempt.get()
        if attempt is not None:
            attempt.runtime.append(attempt, self.name, text)

    def decode(self, text: str) -> T:
        """Return an item's JSON as the stream's type."""
        if self._codec is None:
            self._codec = codec(self.type)
        return self._codec.decode(text, f"item of stream {self.name}")

    def __repr__(self) -> str:
        return f"Stream({self.name!r})"
