"""A crash in the middle of a test: what is committed stays, and everything goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest

import monolite
from monolite import (
    Actor,
    Signal,
    Stream,
    View,
    activity,
    attempt,
    errors,
    signal,
    testing,
    update,
    workflow,
)
from tests.host.loops import on_both_loops

word = Signal("word", str)
heard = View("heard", str)
lines = Stream("lines", str)


@workflow
async def listens(times: int) -> list[str]:
    said: list[str] = []
    for _ in range(times):
        said.append(await word.receive())
        heard.set(said[-1])
    await asyncio.sleep(60)
    return said


class Counter(Actor):
    """Counts."""

    count: int = 0

    @update
    async def add(self, n: int) -> int:
        self.count += n
        return self.count

    @signal
    async def reset(self) -> None:
        self.count = 0


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path / "x.db"


@on_both_loops
async def test_runs_go_on_where_they_were(path: Path | None) -> None:
    async with testing.environment(actors=[listens], path=path) as env:
        handle = await env.spawn(listens(2), id="l")
        await handle.signal(word, "one")
        await env.crash()
        await handle.signal(word, "two")
        await env.crash()
        await env.skip("1m")
        await env.crash()
        assert await handle.result() == ["one", "two"]
        assert await handle.view(heard) == "two"


@on_both_loops
async def test_activities_under_way_are_interrupted_and_run_again(path: Path | None) -> None:
    seen: list[tuple[int, bool, str]] = []

    @activity
    async def work() -> str:
        here = attempt()
        seen.append((here.number, here.interrupted, here.idempotency_key))
        if here.number == 1:
            await anyio.sleep_forever()
        return "done"

    @workflow
    async def works() -> str:
        return await work()

    async with testing.environment(actors=[works], path=path, patience="1ms") as env:
        handle = await env.spawn(works())
        await env.quiet()
        await env.crash()
        assert await handle.result() == "done"
    assert [(number, cut_off) for number, cut_off, _ in seen] == [(1, False), (2, True)]
    assert len({key for _, _, key in seen}) == 1


async def test_at_most_once_is_not_run_again() -> None:
    @activity(at_most_once=True)
    async def launch() -> None:
        await anyio.sleep_forever()

    @workflow
    async def launches() -> str:
        try:
            await launch()
        except errors.Interrupted:
            return "nobody knows"
        return ""

    async with testing.environment(actors=[launches], patience="1ms") as env:
        handle = await env.spawn(launches())
        await env.quiet()
        await env.crash()
        assert await handle.result() == "nobody knows"


@on_both_loops
async def test_who_waits_goes_on_waiting(path: Path | None) -> None:
    results: list[list[str]] = []
    shown: list[str] = []

    async with testing.environment(actors=[listens], path=path) as env:
        handle = await env.spawn(listens(2))

        async def wait() -> None:
            results.append(await handle.result())

        async def watch() -> None:
            shown.extend([value async for value in handle.watch(heard)])

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(watch)
            await handle.signal(word, "one")
            await env.quiet()
            await env.crash()
            await handle.signal(word, "two")
            await env.skip("1m")
    assert results == [["one", "two"]]
    assert shown == ["one", "two"]


@on_both_loops
async def test_actors_keep_what_was_committed() -> None:
    async with testing.environment(actors=[Counter]) as env:
        counter = env.actor(Counter, "c")
        assert await counter.add(3) == 3
        await env.crash()
        assert await counter.add(4) == 7
        monolite.send(counter.reset(), delay="1h")
        await env.quiet()
        await env.crash()
        assert await counter.add(0) == 7
        await env.skip("1h")
        assert await counter.add(0) == 0


async def test_a_thread_of_an_earlier_life_is_not_heard() -> None:
    import threading

    go = threading.Event()
    gone = threading.Event()

    @activity
    def write() -> int:
        here = attempt()
        if here.number == 1:
            go.wait()
            lines.append("from the grave")
            gone.set()
            return -1
        lines.append("alive")
        go.set()
        gone.wait()
        return here.number

    @workflow
    async def writes() -> int:
        return await write()

    async with testing.environment(actors=[writes], patience="1ms") as env:
        handle = await env.spawn(writes())
        await env.quiet()
        await env.crash()
        assert await handle.result() == 2
        assert [item async for _, item in handle.read(lines)] == ["alive"]


async def test_a_workflow_that_does_not_replay_is_found_out() -> None:
    luck = iter(range(10))

    @activity
    async def step() -> None:
        return

    @workflow
    async def fickle() -> None:
        await step().options(name=f"step-{next(luck)}")
        await word.receive()

    async with testing.environment(actors=[fickle]) as env:
        handle = await env.spawn(fickle(), id="f")
        await env.quiet()
        await env.crash()
        await env.quiet()
        assert (await handle.describe()).status == "diverged"
        with pytest.raises(testing.NeverEnded, match=r"f has diverged.*step-0#1.*step-1#1"):
            await env.until_ended("f")
