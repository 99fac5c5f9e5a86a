"""Named handles: made of an id alone, typed by what the run turns out to be."""

from __future__ import annotations

from typing import Any

from monolite.core.handle import Handle, Port
from monolite.core.payload import Codec
from monolite.core.payload import codec as codec_of
from monolite.host.registry import Registry


class NamedHandle(Handle[Any]):
    """A handle made of an id alone: the run's own name says what type its result has."""

    __slots__ = ("_registry",)

    def __init__(self, id: str, port: Port, registry: Registry) -> None:
        super().__init__(id, port)
        self._registry = registry

    async def result(self) -> Any:
        text = await self._port.result_text(self.id)
        definition = self._registry.get((await self._port.describe(self.id)).name)
        codec: Codec[Any] = codec_of(Any) if definition is None else definition.signature.result
        return codec.decode(text, f"result of {self.id}")
