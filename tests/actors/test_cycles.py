"""Cycles: actors that would wait for each other are told so instead of hanging."""

from __future__ import annotations

import asyncio

import pytest

import monolite
from monolite import Actor, activity, update, workflow
from monolite.errors import ActivityFailed, Misused
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

    @update
    async def by_activity(self, *path: str) -> str:
        """Ask another through an activity, which asks through the runtime."""
        return await asks(path)

    @update
    async def by_child_activity(self) -> str:
        return await asking_in_activity(self.id)

    @update
    async def meet(self, other: str) -> str:
        """Ask when the other is about to ask as well."""
        met.append(self.id)
        return await asks_when_met((other,))

    @update
    async def beside(self) -> str:
        """An activity that asks somebody else is no cycle."""
        return await asks(("z",))


met: list[str] = []


@activity(retry=False)
async def asks_when_met(path: tuple[str, ...]) -> str:
    while len(met) < 2:
        await asyncio.sleep(0)
    found: str = await asks.fn(path)
    return found


@activity(retry=False)
async def asks(path: tuple[str, ...]) -> str:
    first, *rest = path
    if rest:
        return await monolite.actor(Node, first).by_activity(*rest)
    return await monolite.actor(Node, first).plain()


@workflow
async def asking_in_activity(key: str) -> str:
    return await asks((key,))


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


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (["a"], "Node/a asks Node/a"),
        (["b", "a"], "Node/b asks Node/a asks Node/b"),
        (["b", "c", "a"], "Node/c asks Node/a asks Node/b asks Node/c"),
    ],
    ids=len,
)
async def test_a_cycle_through_activities_is_told(world: World, path: list[str], told: str) -> None:
    async with world.runtime(Node) as rt:
        with pytest.raises(ActivityFailed, match=rf"{told}.*send\(\) the message"):
            await rt.actor(Node, "a").by_activity(*path)
        for key in "abc":
            assert await rt.actor(Node, key).plain() == key


async def test_a_cycle_through_a_childs_activity_is_told(world: World) -> None:
    async with world.runtime(Node, asking_in_activity) as rt:
        with pytest.raises(Exception, match=r"asks Node/a asks .*send\(\) the message"):
            await rt.actor(Node, "a").by_child_activity()
        assert await rt.actor(Node, "a").plain() == "a"


async def test_activities_that_ask_each_others_actors_at_once_end_with_an_error(
    world: World,
) -> None:
    met.clear()
    async with world.runtime(Node) as rt:
        found = await asyncio.gather(
            rt.actor(Node, "a").meet("b"), rt.actor(Node, "b").meet("a"), return_exceptions=True
        )
        assert sorted(type(x).__name__ for x in found) == ["ActivityFailed", "str"]
        assert await rt.actor(Node, "a").plain() == "a"
        assert await rt.actor(Node, "b").plain() == "b"


async def test_an_activity_may_ask_somebody_who_does_not_wait(world: World) -> None:
    async with world.runtime(Node) as rt:
        assert await rt.actor(Node, "a").beside() == "z"
        assert await asyncio.gather(*(rt.actor(Node, key).beside() for key in "abc")) == ["z"] * 3
