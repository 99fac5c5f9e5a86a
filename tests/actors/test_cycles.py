"""Cycles: actors that would wait for each other are told so instead of hanging."""

from __future__ import annotations

import asyncio

import pytest

import monolite
from monolite import Actor, update, workflow
from monolite.errors import Misused
from tests.host.hosts import World


class Node(Actor):
    """Asks others, and can be asked by them."""

    asked: int = 0

    @update
    async def plain(self) -> str:
        self.asked += 1
        return self.id

    @update
    async def ask(self, path: list[str]) -> str:
        """Pass the question on along a path."""
        self.asked += 1
        if not path:
            return self.id
        found = await monolite.actor(Node, path[0]).ask(path[1:])
        return f"{self.id} {found}"

    @update
    async def ask_both(self, first: str, second: str) -> list[str]:
        """Ask two at once; the second asks back."""
        one = monolite.actor(Node, first).nap()
        two = monolite.actor(Node, second).ask([self.id])
        return list(await asyncio.gather(one, two))

    @update
    async def nap(self) -> str:
        await asyncio.sleep(60)
        return self.id

    @update
    async def by_child(self) -> str:
        return await asking(self.id)

    @update
    async def forgiving(self, other: str) -> str:
        try:
            return await monolite.actor(Node, other).ask([self.id])
        except Misused:
            return "refused"


@workflow
async def asking(key: str) -> str:
    return await monolite.actor(Node, key).plain()


async def test_a_path_without_a_cycle_is_answered(world: World) -> None:
    async with world.runtime(Node) as rt:
        assert await rt.actor(Node, "a").ask(["b", "c", "d"]) == "a b c d"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (["a"], "Node/a asks Node/a"),
        (["b", "a"], "Node/b asks Node/a asks Node/b"),
        (["b", "c", "a"], "Node/c asks Node/a asks Node/b asks Node/c"),
    ],
    ids=len,
)
async def test_a_cycle_is_told_to_the_caller(world: World, path: list[str], told: str) -> None:
    async with world.runtime(Node) as rt:
        with pytest.raises(Misused, match=told):
            await rt.actor(Node, "a").ask(path)
        for key in "abc":
            assert await rt.actor(Node, key).plain() == key


async def test_a_cycle_beside_another_question_is_found(world: World) -> None:
    async with world.runtime(Node) as rt:
        with pytest.raises(Misused, match="Node/c asks Node/a asks Node/c"):
            await rt.actor(Node, "a").ask_both("b", "c")
        assert await rt.actor(Node, "a").plain() == "a"


async def test_a_cycle_through_a_child_is_found(world: World) -> None:
    async with world.runtime(Node, asking) as rt:
        with pytest.raises(Exception, match=r"asks Node/a asks .*send\(\) the message"):
            await rt.actor(Node, "a").by_child()
        assert await rt.actor(Node, "a").plain() == "a"


async def test_a_turn_may_go_on_after_a_cycle_was_refused(world: World) -> None:
    async with world.runtime(Node) as rt:
        assert await rt.actor(Node, "a").forgiving("b") == "refused"
        assert await rt.actor(Node, "a").ask(["b"]) == "a b"


async def test_two_that_ask_each_other_at_once_end_with_an_error(world: World) -> None:
    async with world.runtime(Node) as rt:
        found = await asyncio.gather(
            rt.actor(Node, "a").ask(["b", "a"]),
            rt.actor(Node, "b").ask(["a", "b"]),
            return_exceptions=True,
        )
        assert any(isinstance(x, Misused) for x in found)
        assert await rt.actor(Node, "a").plain() == "a"
        assert await rt.actor(Node, "b").plain() == "b"
