"""Streams: what was appended is read once and in order, from any position, in any process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from monolite import Client, Handle, Signal, Stream, activity, attempt, workflow
from monolite.host.clock import SystemClock
from tests.host.hosts import World, until_waiting

go_on = Signal("go_on", int)
lines = Stream("lines", int)


@activity(retry=3)
async def talk(count: int, fails_at: int) -> str:
    """Append numbers; fail once in the middle."""
    for number in range(count):
        if attempt().number == 1 and number == fails_at:
            raise ConnectionError
        lines.append(number)
    return "said"


@activity
def talk_in_thread(first: int, count: int) -> None:
    for number in range(first, first + count):
        lines.append(number)


@activity
async def hang_after(count: int) -> None:
    for number in range(count):
        lines.append(number)
    if not attempt().interrupted:
        await asyncio.Event().wait()


@workflow
async def echoing() -> int:
    said = 0
    while (count := await go_on.receive()) > 0:
        for _ in range(count):
            lines.append(said)
            said += 1
    return said


@workflow
async def talking(count: int, fails_at: int) -> str:
    return await talk(count, fails_at)


@workflow
async def threads() -> None:
    await talk_in_thread(0, 100)
    await talk_in_thread(100, 100)


@workflow
async def cut_off(count: int) -> None:
    await hang_after(count)


async def heard(run: Handle[object], after: int = 0) -> list[tuple[int, int]]:
    return [item async for item in run.read(lines, after=after, follow=False)]


def counted(count: int, after: int = 0) -> list[tuple[int, int]]:
    return [(n + 1, n) for n in range(after, count)]


async def test_a_reader_begins_where_it_likes_and_follows_to_the_end(world: World) -> None:
    async with world.runtime(echoing) as rt:
        run = await rt.spawn(echoing())
        await run.signal(go_on, 5)

        async def follow(after: int) -> list[tuple[int, int]]:
            return [item async for item in run.read(lines, after=after)]

        followers = [asyncio.ensure_future(follow(after)) for after in (0, 3, 7)]
        assert await heard(run, 2) == counted(5, 2)
        for count in (1, 2, 0):
            await run.signal(go_on, count)
        assert await run.result() == 8
        assert await asyncio.gather(*followers) == [counted(8), counted(8, 3), counted(8, 7)]
        assert await heard(run, 8) == []


async def test_a_retry_repeats_nothing_and_loses_nothing(world: World) -> None:
    async with world.runtime(talking) as rt:
        run = await rt.spawn(talking(10, 4))
        await until_waiting(run, "retrying")
        assert await heard(run) == counted(4)
        await world.skip(rt, "1h")
        assert await run.result() == "said"
        assert await heard(run) == counted(10)


async def test_threads_append_too(world: World) -> None:
    async with world.runtime(threads) as rt:
        run = await rt.spawn(threads())
        await run.result()
        assert await heard(run) == counted(200)


async def test_an_attempt_that_was_cut_off_repeats_nothing(lives: World) -> None:
    async with lives.runtime(cut_off) as rt:
        run = await rt.spawn(cut_off(6), id="c")
        assert [item async for item, _ in _first(run, 6)] == [1, 2, 3, 4, 5, 6]
    async with lives.runtime(cut_off) as rt:
        await rt.handle("c").result()
        assert await heard(rt.handle("c")) == counted(6)


async def _first(run: Handle[None], count: int) -> AsyncGenerator[tuple[int, int], None]:
    async for item in run.read(lines):
        yield item
        if item[0] == count:
            return


async def test_another_process_reads_and_follows(lives: World) -> None:
    async with lives.runtime(echoing, clock=SystemClock()) as rt, Client(lives.path) as client:
        run = await rt.spawn(echoing(), id="e")
        await run.signal(go_on, 3)
        far = client.handle("e")
        assert await heard(far) == counted(3)
        following = asyncio.ensure_future(_all(far))
        await run.signal(go_on, 3)
        await run.signal(go_on, 0)
        assert await following == counted(6)
    async with Client(lives.path) as client:
        assert await _all(client.handle("e")) == counted(6)


async def _all(run: Handle[object]) -> list[tuple[int, int]]:
    return [item async for item in run.read(lines)]
