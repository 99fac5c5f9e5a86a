"""Mailboxes for messages of other processes: judged by the engine, once, and told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

import monolite
from monolite import Client, Runtime
from monolite.core import entry as e
from monolite.core import failure
from monolite.core.entry import RunNo
from monolite.errors import Rejected
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Message, Store
from monolite.store.sqlite.store import SqliteStore
from tests.actors.test_mailboxes import Desk
from tests.actors.watching import in_turn
from tests.host.clocks import ManualClock
from tests.host.homes import RuntimeOn
from tests.host.hosts import World
from tests.store.samples import a_message, a_run, batch


async def verdicts(*calls: Awaitable[Any]) -> list[Any]:
    """What came of calls: a result, or the reason that refused it."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    return [x.reason if isinstance(x, Rejected) else x for x in found]


async def idle(rt: Runtime, world: World, turn: asyncio.Future[Any]) -> list[str]:
    """End the turn under way; return what the desk has taken when all is quiet."""
    await world.skip(rt, "1m")
    await turn
    return await rt.actor(Desk, "d").read()


async def looked(rt: Runtime) -> None:
    """Have the engine look at the file."""
    await rt.describe("Desk/d")


async def test_a_full_mailbox_rejects_a_client(lives: World) -> None:
    async with lives.runtime(Desk) as rt, Client(lives.path) as client:
        turn = asyncio.ensure_future(rt.actor(Desk, "d").work())
        await in_turn(rt, "Desk/d")
        outside = client.actor(Desk, "d")
        sent = [asyncio.ensure_future(outside.bounded(word)) for word in "abc"]
        done, _ = await asyncio.wait(sent, return_when="FIRST_COMPLETED")
        (refused,) = done
        with pytest.raises(Rejected, match="mailbox of bounded is full"):
            refused.result()
        with pytest.raises(Rejected, match="mailbox of bounded is full"):
            await rt.actor(Desk, "d").bounded("d")
        taken = await idle(rt, lives, turn)
        others = [await x for x in sent if x is not refused]
        assert taken == others
        assert len(others) == 2


async def test_latest_keeps_only_the_newest_of_a_clients_messages(lives: World) -> None:
    async with lives.runtime(Desk) as rt, Client(lives.path) as client:
        turn = asyncio.ensure_future(rt.actor(Desk, "d").work())
        await in_turn(rt, "Desk/d")
        outside = client.actor(Desk, "d")
        first = asyncio.ensure_future(outside.latest_answered("a"))
        await asyncio.sleep(0)
        for word in "xyz":
            await outside.latest(word)
        with pytest.raises(Rejected, match="newer message took its place"):
            await asyncio.gather(first, rt.actor(Desk, "d").latest_answered("b"))
        assert await idle(rt, lives, turn) in (["z", "b"], ["b", "z"])


async def test_drop_refuses_a_client_while_busy_and_says_so_when_asked_again(lives: World) -> None:
    async with lives.runtime(Desk) as rt, Client(lives.path) as client:
        turn = asyncio.ensure_future(rt.actor(Desk, "d").work())
        await in_turn(rt, "Desk/d")
        outside = client.actor(Desk, "d")
        assert await monolite.send(outside.dropped("b"), id="m") is None  # it cannot know yet
        await looked(rt)
        for _ in range(2):
            with pytest.raises(Rejected, match="drops messages while busy"):
                await monolite.send(outside.dropped("b"), id="m")
        again = await client.send_signal("Desk/d", "dropped", '["b"]', "m")
        assert (again.accepted, again.reason) == (False, "dropped drops messages while busy")
        here = await rt.send_signal("Desk/d", "dropped", '["b"]', "m")
        assert here == again
        assert await idle(rt, lives, turn) == []
        await outside.dropped("c")
        await looked(rt)
        assert await rt.actor(Desk, "d").read() == ["c"]


async def test_debounce_takes_the_newest_of_a_clients_messages(lives: World) -> None:
    async with lives.runtime(Desk) as rt, Client(lives.path) as client:
        await rt.actor(Desk, "d").plain("p")  # the actor is of this clock's time
        for word in "abc":
            await client.actor(Desk, "d").debounced(word)
            await looked(rt)
            await lives.skip(rt, "9s")
            assert await rt.actor(Desk, "d").read() == ["p"]
        await lives.skip(rt, "1s")
        assert await rt.actor(Desk, "d").read() == ["p", "c"]


async def test_the_shells_way_in_is_held_to_the_policy_too(lives: World) -> None:
    """By the run's id, without the class."""
    async with lives.runtime(Desk) as rt, Client(lives.path) as client:
        turn = asyncio.ensure_future(rt.actor(Desk, "d").work())
        await in_turn(rt, "Desk/d")
        for word in ("a", "b"):
            await client.send_signal("Desk/d", "latest", f'["{word}"]')
        with pytest.raises(Rejected, match="full"):
            await asyncio.gather(
                *(client.send_update("Desk/d", "bounded", '["x"]') for _ in range(3))
            )
        assert sorted(await idle(rt, lives, turn)) == ["b", "x", "x"]


async def test_what_was_admitted_is_not_judged_again_in_the_next_life(lives: World) -> None:
    """Its policy is applied to what came later; what waits was promised a turn."""
    async with Client(lives.path, create=True) as client:
        async with lives.runtime(Desk) as rt:
            turn = asyncio.ensure_future(rt.actor(Desk, "d").work())
            await in_turn(rt, "Desk/d")
            outside = client.actor(Desk, "d")
            kept = [asyncio.ensure_future(outside.bounded(word)) for word in "ab"]
            while len([x for x in await rt.handle("Desk/d").history() if x.n is None]) < 3:
                await looked(rt)
        await asyncio.gather(turn, return_exceptions=True)  # that life took its caller along
        late = asyncio.ensure_future(outside.bounded("c"))
        async with lives.runtime(Desk) as rt:
            with pytest.raises(Rejected, match="full"):
                await late
            await in_turn(rt, "Desk/d")
            await lives.skip(rt, "1m")
            assert sorted(await asyncio.gather(*kept)) == ["a", "b"]


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_what_was_sent_while_no_engine_ran_is_judged_in_file_order(
    lives: World, kind: str, clock: ManualClock
) -> None:
    store: Store = MemoryStore()
    if kind == "file":
        assert not isinstance(lives.path, str)
        store = SqliteStore.own(lives.path, durability="normal", now_us=clock.now_us())
    run = a_run(3, "Desk/d", name="Desk", status=e.QUEUED, started_us=None)
    run.version = 1
    words = [("work", "[]")]
    words += [("bounded", f'["{x}"]') for x in "abc"]
    words += [("latest", f'["{x}"]') for x in "xyz"]
    words += [("dropped", '["no"]'), ("plain", '["plain"]')]
    rows = [
        a_message(3, channel, value=value, kind=_kind(channel), message_id=str(i), outside=1)
        for i, (channel, value) in enumerate(words)
    ]
    store.commit(batch(run, *rows))
    async with RuntimeOn(store, actors=[Desk], clock=clock) as rt:
        await in_turn(rt, "Desk/d")
        refused = [_refusal(store, number) for number in range(len(words))]
        full, newer = "the mailbox of bounded is full (2 wait)", "a newer message took its place"
        busy = "dropped drops messages while busy"
        assert refused == ["", "", "", full, newer, newer, "", busy, ""]
        await clock.skip(rt, "1m")
        assert await rt.actor(Desk, "d").read() == ["a", "b", "z", "plain"]
        waiting: list[Message] = store.undelivered(RunNo(3))
        assert waiting == []


def _kind(channel: str) -> str:
    handler: Any = vars(Desk)[channel]
    return str(handler.kind)


def _refusal(store: Store, number: int) -> str:
    answer = store.answer(a_run(3, "Desk/d"), str(number))
    if answer is None or answer[1] is None:
        return ""
    return failure.decode(answer[1]).message.partition(";")[0]
