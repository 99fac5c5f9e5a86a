"""Actors whose code is missing: a message to one is refused or kept, and harms nobody else."""

from __future__ import annotations

import pytest

import monolite
from monolite import Actor, query, update, workflow
from monolite.errors import UnknownWorkflow
from tests.host.hosts import World, until


class Known(Actor):
    count: int = 0

    @update
    async def tell_stranger(self) -> int:
        self.count += 1
        monolite.send(monolite.actor(Stranger, "s").greet())
        return self.count

    @update
    async def ask_stranger(self) -> int:
        return await monolite.actor(Stranger, "s").greet()

    @update
    async def greet(self) -> int:
        self.count += 1
        return self.count


class Stranger(Actor):
    greeted: int = 0

    @update
    async def greet(self) -> int:
        self.greeted += 1
        return self.greeted

    @query
    def read(self) -> int:
        return self.greeted


@workflow
async def telling() -> str:
    monolite.send(monolite.actor(Stranger, "w").greet())
    return "told"


async def test_a_message_to_a_class_without_code_waits_for_the_code(lives: World) -> None:
    async with lives.runtime(Known, telling) as rt:
        assert await rt.actor(Known, "k").tell_stranger() == 1
        assert await (await rt.spawn(telling())).result() == "told"
        assert await rt.actor(Known, "k").greet() == 2
        await until(
            rt.handle("Stranger/s"), lambda info: info.waiting_on == "no code for 'Stranger'"
        )
    async with lives.runtime(Known, Stranger) as rt:
        assert await rt.actor(Stranger, "s").greet() == 2
        assert await rt.actor(Stranger, "w").read() == 1


async def test_a_question_to_a_class_without_code_is_refused(lives: World) -> None:
    async with lives.runtime(Known) as rt:
        with pytest.raises(UnknownWorkflow, match="Stranger"):
            await rt.actor(Known, "k").ask_stranger()
        with pytest.raises(UnknownWorkflow, match="Stranger"):
            await rt.actor(Stranger, "s").greet()
        assert await rt.actor(Known, "k").greet() == 1


async def test_a_question_to_an_actor_whose_code_is_gone_is_refused(lives: World) -> None:
    async with lives.runtime(Known, Stranger) as rt:
        assert await rt.actor(Stranger, "s").greet() == 1
    async with lives.runtime(Known) as rt:
        with pytest.raises(UnknownWorkflow, match="Stranger"):
            await rt.actor(Known, "k").ask_stranger()
        with pytest.raises(UnknownWorkflow, match="Stranger"):
            await rt.actor(Stranger, "s").greet()
        assert await rt.actor(Known, "k").tell_stranger() == 1
    async with lives.runtime(Known, Stranger) as rt:
        assert await rt.actor(Stranger, "s").greet() == 3
