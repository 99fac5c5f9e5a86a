"""Versions: a run is begun and brought back by the version that it was spawned with."""

from __future__ import annotations

import monolite
from monolite import Signal, current, workflow
from tests.host.hosts import World, hosted

go_on = Signal("go_on", str)


@workflow(name="order")
async def old_order() -> str:
    return f"old code, version {current().version}: {await go_on.receive()}"


@workflow(name="order", version=2)
async def new_order() -> str:
    return f"new code, version {current().version}: {await go_on.receive()}"


@workflow
async def shop() -> list[str]:
    """Runs children of both versions."""
    children = [
        await monolite.spawn(old_order()),
        await monolite.spawn(old_order(), id="named"),
        await monolite.spawn(new_order()),
    ]
    for child in children:
        await child.signal(go_on, "go")
    return [await child.result() for child in children]


@hosted
async def test_a_run_is_begun_by_the_version_that_was_spawned(lives: World) -> None:
    async with lives.runtime(old_order, new_order) as rt:
        for id, call in (("old", old_order()), ("new", new_order())):
            await rt.spawn(call, id=id)
        quick = await rt.spawn(old_order())
        await quick.signal(go_on, "go")
        assert await quick.result() == "old code, version 1: go"
    async with lives.runtime(old_order, new_order) as rt:
        for id in ("old", "new"):
            await rt.handle(id).signal(go_on, "go")
        assert await rt.handle("old").result() == "old code, version 1: go"
        assert await rt.handle("new").result() == "new code, version 2: go"


@hosted
async def test_a_child_is_of_the_version_that_was_called(lives: World) -> None:
    async with lives.runtime(old_order, new_order, shop) as rt:
        found = await (await rt.spawn(shop(), id="s")).result()
        assert found == [
            "old code, version 1: go",
            "old code, version 1: go",
            "new code, version 2: go",
        ]


@hosted
async def test_a_version_whose_code_is_gone_begins_as_the_newest(lives: World) -> None:
    async with lives.runtime(new_order) as rt:
        run = await rt.spawn(old_order(), id="old")
        await run.signal(go_on, "go")
        assert await run.result() == "new code, version 2: go"
        assert (await run.describe()).version == 2
