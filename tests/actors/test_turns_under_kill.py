"""kill -9 in the middle of a turn or of a stream: both go on where they were."""

from __future__ import annotations

import asyncio
from pathlib import Path

from monolite import Client
from tests.processes.child import Child
from tests.processes.vocal import Keeper, counting, numbers


async def test_a_turn_that_was_killed_goes_on_and_commits_once(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    async with Client(path, create=True) as client:
        keeper, other = client.actor(Keeper, "k"), client.actor(Keeper, "o")
        asked = asyncio.ensure_future(keeper.keep("word", "o"))
        await asyncio.sleep(0)
        with Child("tests.processes.vocal", path) as engine:
            await asyncio.to_thread(engine.hear, "hangs")
            behind = asyncio.ensure_future(keeper.take("later"))
            assert await keeper.read() == []
            assert await other.read() == []
            engine.kill()
        with Child("tests.processes.vocal", path) as engine:
            assert await asked == ["word begun", "word ended"]
            await behind
            assert await keeper.read() == ["word begun", "word ended", "took later"]
            assert await other.read() == ["took word"]
            assert engine.finish() == 0
    async with Client(path) as client:
        assert await client.actor(Keeper, "o").read() == ["took word"]


async def test_a_stream_that_was_killed_repeats_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    async with Client(path, create=True) as client:
        run = await client.spawn(counting(40), id="c")
        seen: list[tuple[int, int]] = []
        with Child("tests.processes.vocal", path) as engine:
            async for item in run.read(numbers):
                seen.append(item)
                if len(seen) == 20:
                    break
            engine.kill()
        with Child("tests.processes.vocal", path) as engine:
            position = seen[-1][0]
            seen += [item async for item in run.read(numbers, after=position)]
            assert await run.result() == 40
            assert engine.finish() == 0
    assert seen == [(n + 1, n) for n in range(40)]
