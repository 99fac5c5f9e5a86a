"""ContinueAsNew: the next run of an id takes over all that the last one had not used."""

from __future__ import annotations

import asyncio

import pytest

import monolite
from monolite import Client, ContinueAsNew, Signal, Stream, Update, View, workflow
from monolite.errors import Rejected
from tests.host.hosts import World, until, until_waiting

steps = Signal("steps", str)
data = Signal("data", int)
asks = Update("asks", int, int)
progress = View("progress", str)
lines = Stream("lines", str)


@workflow
async def counting(left: int) -> str:
    if left:
        raise ContinueAsNew(counting(left - 1))
    return f"generation {monolite.current().id}"


@workflow
async def stepping(taken: list[int]) -> list[int]:
    """Begin anew at each step; at "end", take the data that have come."""
    progress.set(f"{len(taken)} taken")
    lines.append(f"{len(taken)} taken")
    step = await steps.receive()
    if step == "take":
        taken.append(await data.receive())
    if step == "end":
        while data.pending():
            taken.append(await data.receive())
        return taken
    raise ContinueAsNew(stepping(taken))


@workflow
async def answering(generation: int) -> int:
    """Answer one request in each life."""
    await steps.receive()
    request = await asks.receive()
    request.reply(request.value + generation)
    if generation == 3:
        return generation
    raise ContinueAsNew(answering(generation + 1))


@workflow
async def parent() -> str:
    return await counting(5)


async def test_a_thousand_generations_keep_one_id(world: World) -> None:
    async with world.runtime(counting) as rt:
        run = await rt.spawn(counting(1_000), id="c")
        assert await run.result() == "generation c"
        assert (await run.describe()).generation == 1_001


async def test_a_parent_waits_for_the_last_generation(world: World) -> None:
    async with world.runtime(parent, counting) as rt:
        assert (await (await rt.spawn(parent())).result()).startswith("generation ")


async def test_signals_that_were_not_received_go_over(world: World) -> None:
    async with world.runtime(stepping) as rt:
        run = await rt.spawn(stepping([]), id="s")
        for number in range(4):
            await run.signal(data, number)
        await run.signal(steps, "take")
        await run.signal(steps, "again")
        await run.signal(steps, "again")
        await run.signal(steps, "end")
        assert await run.result() == [0, 1, 2, 3]
        assert (await run.describe()).generation == 4


async def test_signals_that_other_processes_left_go_over(lives: World) -> None:
    """They were addressed to a generation that has ended before they were looked at."""
    async with lives.runtime(stepping) as rt:
        await rt.spawn(stepping([]), id="s")
    async with Client(lives.path) as client:
        run = client.handle("s", stepping)
        for number in range(4):
            await run.signal(steps, "again")
            assert await run.signal(data, number, id=f"data-{number}")
        await run.signal(steps, "end")
        async with lives.runtime(stepping):
            assert await run.result() == [0, 1, 2, 3]
        again = await run.signal(data, 3, id="data-3")
        assert again.reason == "duplicate" or not again.accepted


async def test_signals_that_wait_while_the_run_is_paused_go_over(world: World) -> None:
    async with world.runtime(stepping) as rt:
        run = await rt.spawn(stepping([]), id="s")
        await run.pause()
        await run.signal(steps, "again")
        await run.signal(data, 1)
        await run.signal(steps, "end")
        await run.resume()
        assert await run.result() == [1]


async def test_a_message_id_counts_once_over_all_generations(world: World) -> None:
    async with world.runtime(stepping) as rt:
        run = await rt.spawn(stepping([]), id="s")
        await run.signal(data, 1, id="one")
        await run.signal(steps, "take")
        await until(run, lambda info: info.generation == 2)
        again = await run.signal(data, 1, id="one")
        assert again == monolite.Accepted(accepted=True, reason="duplicate")
        await run.signal(steps, "end")
        assert await run.result() == [1]


async def test_an_update_asked_again_in_a_later_generation_has_its_first_answer(
    world: World,
) -> None:
    async with world.runtime(answering) as rt:
        run = await rt.spawn(answering(1), id="a")
        for _ in range(3):
            await run.signal(steps, "go")
        assert await run.update(asks, 10, id="first") == 11
        assert await run.update(asks, 10, id="first") == 11
        assert await run.update(asks, 10, id="second") == 12
        assert await run.update(asks, 10, id="first") == 11
        assert await run.update(asks, 10, id="third") == 13
        assert await run.update(asks, 10, id="first") == 11
        assert await run.result() == 3
        with pytest.raises(Rejected):
            await run.update(asks, 10, id="late")


async def test_updates_that_were_not_received_are_answered_by_the_next(world: World) -> None:
    async with world.runtime(answering) as rt:
        run = await rt.spawn(answering(1), id="a")
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(run.update(asks, 10)) for _ in range(3)]
            await asyncio.sleep(0)
            for _ in range(3):
                await run.signal(steps, "go")
            assert [await x for x in waiting] == [11, 12, 13]
        assert await run.result() == 3


async def test_views_streams_and_waiters_go_over(world: World) -> None:
    async with world.runtime(stepping) as rt:
        run = await rt.spawn(stepping([]), id="s")
        async with asyncio.TaskGroup() as group:
            result = group.create_task(run.result())
            await asyncio.sleep(0)
            for number in range(3):
                await run.signal(data, number)
                await run.signal(steps, "take")
                await until(run, lambda info, n=number: info.generation == n + 2)  # type: ignore[misc]
                assert await run.view(progress) == f"{number + 1} taken"
            await until_waiting(run, "signal steps")
            found = [item async for item in run.read(lines, follow=False)]
            assert found == [(n + 1, f"{n} taken") for n in range(4)]
            await run.signal(steps, "end")
            assert await result == [0, 1, 2]


async def test_another_workflow_cannot_continue_a_run(world: World) -> None:
    @workflow
    async def wrong() -> None:
        raise ContinueAsNew(counting(1))

    async with world.runtime(wrong, counting) as rt:
        with pytest.raises(Exception, match="takes a call of 'wrong'"):
            await (await rt.spawn(wrong())).result()
