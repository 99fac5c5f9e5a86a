"""Frames: what an engine and the processes that run its activities say to each other.

A frame is its length in four bytes and one MessagePack document, tagged with its type. Values
stay the JSON text that the journal holds.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

import msgspec

from monolite.core.failure import Failure

if TYPE_CHECKING:
    import asyncio

FRAME_BYTES_MAX = 64 * 1024 * 1024
"""A longer frame is nonsense: values have at most 16 MiB, and escaping at most doubles them."""

HEAD = struct.Struct(">I")


class Place(msgspec.Struct, frozen=True):
    """Where a function is: its module, its name in it, and the module's file."""

    module: str
    qualname: str
    file: str | None = None


class _Frame(msgspec.Struct, tag=True):
    """What all frames are."""


class Setup(_Frame):
    """To a child, first: how its parent sees the world."""

    sys_path: list[str]
    argv: list[str]
    main: str | None
    """The file of the parent's main module, for activities that are defined in it."""
    package: str | None
    """The package of the main module, if it was started by `-m`."""
    backend: str
    """The event loop that async activities run on: asyncio or trio."""


class Run(_Frame):
    """Run one attempt."""

    token: int
    name: str
    place: Place
    args: str
    number: int
    idempotency_key: str
    interrupted: bool
    workflow_id: str
    memory_bytes: int | None = None
    timeout_s: float | None = None


class Begun(_Frame):
    """The attempt's code is found, and begins now."""

    token: int


class Done(_Frame):
    """The attempt returned `value` (JSON)."""

    token: int
    value: str
    clean: bool = True
    """Whether the child can take another attempt."""


class Failed(_Frame):
    """The attempt raised. `kinds`: the classes of the error, as "module:name", in their order."""

    token: int
    failure: Failure
    kinds: list[str]
    final: bool = False
    """Whether another attempt would only repeat an effect."""
    clean: bool = True


class Beat(_Frame):
    """The attempt is alive; `details` (JSON) is how far it is."""

    token: int
    details: str | None


class Item(_Frame):
    """The attempt appends an item (JSON) to a stream of its run."""

    token: int
    stream: str
    value: str


Frame = Setup | Run | Begun | Done | Failed | Beat | Item


class FrameInvalid(Exception):
    """What came is no frame: the other side is not what it should be."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Frame)


def pack(frame: Frame) -> bytes:
    """Return a frame as bytes."""
    body = _encoder.encode(frame)
    return HEAD.pack(len(body)) + body


def unpack(body: bytes) -> Frame:
    """Return the frame in `body`; raise FrameInvalid if there is none."""
    try:
        found: Frame = _decoder.decode(body)
        return found
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FrameInvalid(str(error)) from error


def length(head: bytes) -> int:
    """Return how long the frame is that begins so; raise FrameInvalid if none does."""
    (found,) = HEAD.unpack(head)
    if found > FRAME_BYTES_MAX:
        msg = f"a frame of {found:,} bytes"
        raise FrameInvalid(msg)
    return int(found)


async def read(reader: asyncio.StreamReader) -> AsyncIterator[Frame]:
    """Yield frames until the other side has gone; raise FrameInvalid for what is none."""
    while True:
        try:
            head = await reader.readexactly(HEAD.size)
            yield unpack(await reader.readexactly(length(head)))
        except (EOFError, OSError):
            return


class Receiver(Protocol):
    """What takes bytes from a socket."""

    def recv(self, size: int, /) -> bytes: ...


def receive(sock: Receiver) -> Frame | None:
    """Wait for one frame on a blocking socket; None if the other side has gone."""
    head = _exactly(sock, HEAD.size)
    body = None if head is None else _exactly(sock, length(head))
    return None if body is None else unpack(body)


def _exactly(sock: Receiver, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        try:
            part = sock.recv(size)
        except OSError:
            return None
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
