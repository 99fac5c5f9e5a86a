"""Mailboxes: what happens to messages that come while an actor is busy."""

from __future__ import annotations

import asyncio

import pytest

import monolite
from monolite import Actor, query, signal, update, workflow
from monolite.errors import Misused, Rejected
from tests.actors.watching import in_turn
from tests.host.hosts import World


class Desk(Actor):
    """A desk with a mailbox of every kind."""

    taken: list[str] = []

    @update
    async def work(self) -> None:
        await asyncio.sleep(60)

    @update(mailbox="queue", bound=2)
    async def bounded(self, word: str) -> str:
        self.taken.append(word)
        return word

    @signal(mailbox="latest")
    async def latest(self, word: str) -> None:
        self.taken.append(word)

    @update(mailbox="latest")
    async def latest_answered(self, word: str) -> str:
        self.taken.append(word)
        return word

    @signal(mailbox="drop")
    async def dropped(self, word: str) -> None:
        self.taken.append(word)

    @signal(debounce="10s")
    async def debounced(self, word: str) -> None:
        self.taken.append(word)

    @signal
    async def plain(self, word: str) -> None:
        self.taken.append(word)

    @query
    def read(self) -> list[str]:
        return self.taken


@workflow
async def asking(word: str) -> str:
    try:
        return await monolite.actor(Desk, "d").bounded(word)
    except Rejected as error:
        return error.reason


async def test_a_full_mailbox_rejects_with_the_reason(world: World) -> None:
    async with world.runtime(Desk, asking) as rt:
        desk = rt.actor(Desk, "d")
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(desk.work())
            await in_turn(rt, "Desk/d")
            waiting = [group.create_task(desk.bounded(word)) for word in ("a", "b")]
            await asyncio.sleep(0)
            with pytest.raises(Rejected, match="mailbox of bounded is full"):
                await desk.bounded("c")
            reason = await (await rt.spawn(asking("d"))).result()
            assert "mailbox of bounded is full" in reason
            await desk.plain("others have a mailbox of their own")
            await world.skip(rt, "1m")
            await turn
            assert [await x for x in waiting] == ["a", "b"]
        assert await desk.bounded("e") == "e"
        assert await desk.read() == ["a", "b", "others have a mailbox of their own", "e"]


async def test_a_bound_still_holds_in_the_next_life(lives: World) -> None:
    async with lives.runtime(Desk) as rt:
        desk = rt.actor(Desk, "d")
        sent = [desk.work(), desk.bounded("a"), desk.bounded("b")]
        begun = [asyncio.ensure_future(call) for call in sent]
        await in_turn(rt, "Desk/d")
        await rt.list()
    await asyncio.gather(*begun, return_exceptions=True)
    async with lives.runtime(Desk) as rt:
        desk = rt.actor(Desk, "d")
        with pytest.raises(Rejected, match="full"):
            await desk.bounded("c")
        await in_turn(rt, "Desk/d")
        await lives.skip(rt, "1m")
        assert await desk.bounded("d") == "d"
        assert await desk.read() == ["a", "b", "d"]


async def test_latest_keeps_only_the_newest_that_waits(world: World) -> None:
    async with world.runtime(Desk) as rt:
        desk = rt.actor(Desk, "d")
        await desk.latest("at once")
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(desk.work())
            await in_turn(rt, "Desk/d")
            for word in "abc":
                await desk.latest(word)
                await desk.plain(f"{word} too")
            await world.skip(rt, "1m")
            await turn
        assert await desk.read() == ["at once", "a too", "b too", "c", "c too"]


async def test_an_update_whose_place_is_taken_is_told_so(world: World) -> None:
    async with world.runtime(Desk) as rt:
        desk = rt.actor(Desk, "d")
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(desk.work())
            await in_turn(rt, "Desk/d")
            first = asyncio.ensure_future(desk.latest_answered("a"))
            await asyncio.sleep(0)
            second = group.create_task(desk.latest_answered("b"))
            with pytest.raises(Rejected, match="newer message took its place"):
                await first
            await world.skip(rt, "1m")
            await turn
            assert await second == "b"
        assert await desk.read() == ["b"]


async def test_drop_rejects_what_comes_while_busy(world: World) -> None:
    async with world.runtime(Desk) as rt:
        desk = rt.actor(Desk, "d")
        await desk.dropped("a")
        async with asyncio.TaskGroup() as group:
            turn = group.create_task(desk.work())
            await in_turn(rt, "Desk/d")
            with pytest.raises(Rejected, match="drops messages while busy"):
                await desk.dropped("b")
            await world.skip(rt, "1m")
            await turn
        await desk.dropped("c")
        assert await desk.read() == ["a", "c"]


async def test_debounce_takes_the_newest_when_it_is_quiet(world: World) -> None:
    async with world.runtime(Desk) as rt:
        desk = rt.actor(Desk, "d")
        for word in "abc":
            await desk.debounced(word)
            await world.skip(rt, "9s")
            assert await desk.read() == []
        await world.skip(rt, "1s")
        assert await desk.read() == ["c"]
        await desk.debounced("d")
        await world.skip(rt, "10s")
        assert await desk.read() == ["c", "d"]


async def test_a_debounced_message_comes_in_the_next_life(lives: World) -> None:
    async with lives.runtime(Desk) as rt:
        for word in "abc":
            await rt.actor(Desk, "d").debounced(word)
    lives.clock.advance("1m")
    async with lives.runtime(Desk) as rt:
        await lives.skip(rt, "1s")
        assert await rt.actor(Desk, "d").read() == ["c"]


def test_a_mailbox_of_no_known_kind_is_refused() -> None:
    with pytest.raises(Misused, match="none of 'queue', 'latest', 'drop'"):
        update(mailbox="stack")
    with pytest.raises(Misused, match="at least 1"):
        update(bound=0)
