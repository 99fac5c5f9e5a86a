"""Updates and promises: questions into a workflow, and one answer from outside."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

import monolite
from monolite import Client, Promise, Update, View, workflow
from monolite.errors import Misused, MonoliteError, PayloadInvalid, Rejected
from monolite.host.clock import SystemClock
from tests.host.hosts import World, until_waiting

add = Update("add", int, int)
token = View("token", str)


@workflow
async def adder() -> int:
    """Add what is asked; reject what is negative; end on nought, unanswered."""
    total = 0
    async for request in add:
        if request.value == 0:
            break
        if request.value < 0:
            request.reject(f"{request.value} is negative")
            continue
        total += request.value
        request.reply(total)
    return total


@workflow
async def asker(id: str, *values: int) -> list[str]:
    handle = await monolite.spawn(adder(), id=id, detached=True)
    found: list[str] = []
    for value in values:
        try:
            total = await handle.update(add, value)
            found.append(str(total))
        except Rejected as error:
            found.append(error.reason)
    return found


@workflow
async def promised(first: int) -> list[int]:
    promise = Promise(int)
    token.set(promise.token)
    await asyncio.sleep(first)
    return [await promise, await promise]


@workflow
async def rejected() -> str:
    promise = Promise(int)
    token.set(promise.token)
    try:
        await promise
    except MonoliteError as error:
        return str(error)
    return "given"


async def test_a_request_is_answered_or_rejected(world: World) -> None:
    async with world.runtime(adder) as rt:
        run = await rt.spawn(adder())
        assert await run.update(add, 2) == 2
        assert await run.update(add, 3) == 5
        with pytest.raises(Rejected, match="-1 is negative"):
            await run.update(add, -1)
        with pytest.raises(PayloadInvalid):
            await rt.send_update(run.id, add.name, add.encode(cast("int", "word")))
        with pytest.raises(Rejected, match="the run has completed"):
            await run.update(add, 0)
        assert await run.result() == 5
        with pytest.raises(Rejected):
            await run.update(add, 1)


async def test_the_same_id_is_asked_once_in_every_life(lives: World) -> None:
    for _ in range(3):
        async with lives.runtime(adder) as rt:
            run = await rt.spawn(adder(), id="a")
            assert await run.update(add, 2, id="x") == 2
            with pytest.raises(Rejected, match="negative"):
                await run.update(add, -1, id="y")
    async with lives.runtime(adder) as rt:
        assert await rt.handle("a").update(add, 1) == 3


async def test_requests_that_wait_are_answered_by_the_next_life(lives: World) -> None:
    async with lives.runtime(adder) as rt:
        run = await rt.spawn(adder(), id="a")
        await run.pause()
        asked = asyncio.ensure_future(run.update(add, 2, id="x"))
        await rt.list()
    assert isinstance((await asyncio.gather(asked, return_exceptions=True))[0], MonoliteError)
    async with lives.runtime(adder) as rt:
        await rt.handle("a").resume()
        assert await rt.handle("a").update(add, 2, id="x") == 2


async def test_a_workflow_asks_another(world: World) -> None:
    async with world.runtime(adder, asker) as rt:
        found = await (await rt.spawn(asker("a", 1, 2, -1, 0, 1))).result()
        assert found[:3] == ["1", "3", "-1 is negative"]
        assert "the run has completed" in found[3]
        assert len(found) == 5


async def test_a_request_is_refused_when_its_run_is_ended(world: World) -> None:
    async with world.runtime(adder) as rt:
        run = await rt.spawn(adder())
        await run.pause()
        asked = asyncio.ensure_future(run.update(add, 1))
        await rt.list()
        await run.terminate()
        with pytest.raises(Rejected, match="terminated"):
            await asked


async def test_another_process_asks(lives: World) -> None:
    async with lives.runtime(adder, clock=SystemClock()) as rt:
        await rt.spawn(adder(), id="a")
        async with Client(lives.path) as client:
            run = client.handle("a")
            assert await run.update(add, 2, id="x") == 2
            assert await run.update(add, 2, id="x") == 2
            with pytest.raises(Rejected, match="negative"):
                await run.update(add, -1)


@pytest.mark.parametrize("wait", [0, 60], ids=["after it waits", "before it waits"])
async def test_a_promise_is_resolved(world: World, wait: int) -> None:
    async with world.runtime(promised) as rt:
        run = await rt.spawn(promised(wait))
        await until_waiting(run, "")
        text = await run.view(token)
        assert text is not None
        assert await rt.resolve(text, 7)
        again = await rt.resolve(text, 8)
        assert not again.accepted or again.reason == "duplicate"
        await world.skip(rt, "1m")
        assert await run.result() == [7, 7]
        assert (await rt.resolve(text, 9)).reason != ""


async def test_a_promise_is_rejected_with_an_error(world: World) -> None:
    async with world.runtime(rejected) as rt:
        run = await rt.spawn(rejected())
        text = await run.view(token)
        assert text is not None
        await rt.reject(text, "no thanks")
        assert await run.result() == "no thanks"


async def test_another_process_resolves_it_with_no_engine_running(lives: World) -> None:
    async with lives.runtime(promised) as rt:
        run = await rt.spawn(promised(0), id="p")
        await until_waiting(run, "")
        text = await run.view(token)
        assert text is not None
    async with Client(lives.path) as client:
        await client.resolve(text, 3)
        async with lives.runtime(promised) as rt:
            assert await rt.handle("p").result() == [3, 3]


async def test_a_token_of_no_promise_is_refused(world: World) -> None:
    async with world.runtime(promised) as rt:
        for text in ("", "mp_", "mp_!!", "word"):
            with pytest.raises(Misused, match="not a promise's token"):
                await rt.resolve(text, 1)
