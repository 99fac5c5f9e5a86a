"""A turn of an actor receives nothing: channels are for workflows, and it says so."""

from __future__ import annotations

import pytest

from monolite import Actor, Promise, Signal, Update, errors, update
from tests.host.hosts import World, hosted

numbers = Signal("numbers", int)
questions = Update("questions", int, int)


class Box(Actor):
    @update
    async def signal(self) -> int:
        return await numbers.receive()

    @update
    async def question(self) -> int:
        return (await questions.receive()).value

    @update
    async def promise(self) -> int:
        promise = Promise(int)
        return await promise

    @update
    async def nothing(self) -> None: ...


@hosted
async def test_it_is_refused_at_once(world: World) -> None:
    async with world.runtime(Box) as rt:
        box = rt.actor(Box, "b")
        for call in (box.signal(), box.question(), box.promise()):
            with pytest.raises(errors.Misused, match="write a handler"):
                await call
        await box.nothing()
