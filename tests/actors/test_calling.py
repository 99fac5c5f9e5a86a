"""Calling actors: from workflows, activities, actors, and other processes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import monolite
from monolite import Client, activity, workflow
from monolite.errors import Misused, Rejected, WorkflowFailed
from monolite.host.clock import SystemClock
from tests.actors.cast import Account, Overdrawn
from tests.actors.watching import in_turn
from tests.host.hosts import World


@activity
async def paying(key: str, cents: int) -> int:
    return await monolite.actor(Account, key).deposit(cents)


@activity
async def noting(key: str, line: str) -> str:
    await monolite.send(monolite.actor(Account, key).note(line), id=f"note {line}")
    return await monolite.actor(Account, key).statement()


@workflow
async def all_ways(key: str) -> list[str]:
    account = monolite.actor(Account, key)
    found = [str(await account.deposit(1))]
    await account.note("a note")
    monolite.send(account.deposit(10))
    found.append(str(await paying(key, 100)))
    found.append(await account.statement())
    found.append(await noting(key, "b"))
    try:
        await account.withdraw(1_000)
    except Overdrawn as error:
        found.append(str(error))
    return found


@workflow
async def sending(key: str, delay: str, id: str) -> None:
    monolite.send(monolite.actor(Account, key).deposit(1), delay=delay, id=id)


@workflow
async def impatient(key: str) -> str:
    try:
        async with asyncio.timeout(10):
            await monolite.actor(Account, key).slow("slow")
    except TimeoutError:
        return "gave up"
    return "had it"


async def test_a_workflow_calls_in_all_ways(world: World) -> None:
    async with world.runtime(Account, all_ways) as rt:
        found = await (await rt.spawn(all_ways("a"))).result()
        assert found == ["1", "111", "a has 111", "a has 111", "a has 111, not 1000"]
        assert await rt.actor(Account, "a").read_lines() == ["a note", "b"]


async def test_a_call_that_is_given_up_still_takes_effect(world: World) -> None:
    async with world.runtime(Account, impatient) as rt:
        run = await rt.spawn(impatient("a"))
        await in_turn(rt, "Account/a")
        await world.skip(rt, "10s")
        assert await run.result() == "gave up"
        await world.skip(rt, "1m")
        assert await rt.actor(Account, "a").read_lines() == ["slow begins", "slow ends"]


async def test_a_delayed_message_comes_in_time_and_once(world: World) -> None:
    async with world.runtime(Account, sending) as rt:
        account = rt.actor(Account, "a")
        for _ in range(3):
            await (await rt.spawn(sending("a", "1h", "x"))).result()
            await monolite.send(account.deposit(10), delay="2h", id="y")
        await world.skip(rt, "59m")
        assert await account.statement() == "a has 0"
        await world.skip(rt, "1m")
        assert await account.statement() == "a has 1"
        await world.skip(rt, "1h")
        assert await account.statement() == "a has 11"
        await monolite.send(account.deposit(10), id="y")
        assert await account.statement() == "a has 11"


async def test_a_delayed_message_wakes_an_actor_in_the_next_life(lives: World) -> None:
    async with lives.runtime(Account) as rt:
        await monolite.send(rt.actor(Account, "a").deposit(1), delay="1h", id="x")
    lives.clock.advance("2h")
    async with lives.runtime(Account) as rt:
        await lives.skip(rt, 0)
        assert await rt.actor(Account, "a").statement() == "a has 1"


async def test_the_same_id_sent_again_has_the_first_answer(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        assert await monolite.send(account.deposit(1), id="x") == 1
        assert await account.deposit(1) == 2
        assert await monolite.send(account.deposit(1), id="x") == 1
        assert await account.statement() == "a has 2"
        for _ in range(2):
            with pytest.raises(Overdrawn):
                await monolite.send(account.withdraw(9), id="too much")
        assert await account.statement() == "a has 2"


async def test_the_same_id_is_known_in_the_next_life(lives: World) -> None:
    for _ in range(3):
        async with lives.runtime(Account) as rt:
            assert await monolite.send(rt.actor(Account, "a").deposit(1), id="x") == 1


async def test_another_process_calls_while_the_engine_runs(lives: World) -> None:
    clock = SystemClock()  # a client goes by the wall's
    async with lives.runtime(Account, clock=clock) as rt, Client(lives.path) as client:
        account = client.actor(Account, "a")
        assert await account.deposit(5) == 5
        await account.note("hello")
        with pytest.raises(Overdrawn):
            await account.withdraw(6)
        assert await rt.actor(Account, "a").deposit(1) == 6
        assert await account.statement() == "a has 6"
        assert await rt.actor(Account, "a").read_lines() == ["hello"]


async def test_another_process_sends_before_there_is_an_engine(lives: World) -> None:
    async with Client(lives.path, create=True) as client:
        account = client.actor(Account, "a")
        await account.note("first")
        await monolite.send(account.note("second"), id="x")
        await monolite.send(account.note("second"), id="x")
        asked = asyncio.ensure_future(account.deposit(5))
        await account.note("third")
        async with lives.runtime(Account, clock=SystemClock()) as rt:
            assert await asked == 5
            assert await rt.actor(Account, "a").read_lines() == ["first", "second", "third"]
            assert await account.read_lines() == ["first", "second", "third"]


async def test_a_reference_of_no_runtime_says_what_to_do() -> None:
    with pytest.raises(Misused, match=r"rt\.actor"):
        await monolite.actor(Account, "a").deposit(1)
    with pytest.raises(Misused, match="actor"):
        monolite.send(monolite.actor(Account, "a").deposit(1))


async def test_a_query_is_not_sent(world: World) -> None:
    @workflow
    async def wrong() -> None:
        monolite.send(monolite.actor(Account, "a").statement())

    async with world.runtime(Account, wrong) as rt:
        with pytest.raises(Misused, match="await it instead"):
            monolite.send(rt.actor(Account, "a").statement())
        with pytest.raises(WorkflowFailed, match="await it instead"):
            await (await rt.spawn(wrong())).result()
        assert await rt.actor(Account, "a").deposit(1) == 1


async def test_many_questions_wait_at_one_moment(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        asked: list[asyncio.Future[Any]] = [asyncio.ensure_future(account.slow("slow"))]
        await in_turn(rt, "Account/a")
        for _ in range(200):
            asked.append(asyncio.ensure_future(account.deposit(1)))
            await account.statement()
        await world.skip(rt, "1m")
        assert (await asyncio.gather(*asked))[1:] == list(range(1, 201))


async def test_one_that_was_terminated_begins_anew_with_the_next_message(world: World) -> None:
    async with world.runtime(Account) as rt:
        account = rt.actor(Account, "a")
        await account.deposit(5)
        await rt.handle("Account/a").terminate("away")
        assert await account.statement() == "a has 0"
        assert await account.deposit(1) == 1
        assert (await rt.describe("Account/a")).generation == 2


async def test_terminating_one_in_mid_turn_refuses_who_asked(world: World) -> None:
    async with world.runtime(Account, impatient) as rt:
        asked = asyncio.ensure_future(rt.actor(Account, "a").slow("slow"))
        await in_turn(rt, "Account/a")
        behind = asyncio.ensure_future(rt.actor(Account, "a").deposit(1))
        await asyncio.sleep(0)
        await rt.handle("Account/a").terminate("away")
        for call in (asked, behind):
            with pytest.raises(Rejected, match="terminated"):
                await call


async def test_a_workflow_that_asked_one_that_is_terminated_is_told_so(world: World) -> None:
    @workflow
    async def asking() -> str:
        account = monolite.actor(Account, "a")
        found = await asyncio.gather(
            account.slow("slow"), account.deposit(1), return_exceptions=True
        )
        return " ".join(type(x).__name__ for x in found)

    async with world.runtime(Account, asking) as rt:
        run = await rt.spawn(asking())
        await in_turn(rt, "Account/a")
        await rt.handle("Account/a").terminate("away")
        assert await run.result() == "Rejected Rejected"
