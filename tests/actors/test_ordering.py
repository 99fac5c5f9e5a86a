"""Order: what one sender sends to one actor arrives in the order of sending."""

from __future__ import annotations

import asyncio

import monolite
from monolite import workflow
from tests.actors.cast import Account
from tests.actors.watching import in_turn
from tests.host.hosts import World, until_waiting

LATE = ["late 0", "late 1", "late 2", "late 3"]


@workflow
async def eager(key: str) -> None:
    """Send much while the actor is in a turn of ours, and more when that ends."""
    account = monolite.actor(Account, key)
    turn = asyncio.ensure_future(account.slow("slow"))
    await asyncio.sleep(1)
    for number in range(10):
        monolite.send(account.note(str(number)))
    await turn
    for line in LATE:
        monolite.send(account.note(line))


async def test_a_late_message_does_not_overtake_those_that_wait(world: World) -> None:
    async with world.runtime(Account, eager) as rt:
        run = await rt.spawn(eager("a"))
        await in_turn(rt, "Account/a", "slow")
        await world.skip(rt, "1s")
        await until_waiting(run, "ask Account.slow")
        await world.skip(rt, "1m")
        await run.result()
        lines = await rt.actor(Account, "a").read_lines()
        assert lines == ["slow begins", "slow ends", *map(str, range(10)), *LATE]


async def test_messages_of_many_senders_keep_each_sender_s_order(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")

        async def send(sender: str) -> None:
            for number in range(50):
                await account.note(f"{sender} {number}")

        await asyncio.gather(*map(send, "xyz"))
        lines = await account.read_lines()
        for sender in "xyz":
            mine = [line for line in lines if line.startswith(sender)]
            assert mine == [f"{sender} {number}" for number in range(50)]
