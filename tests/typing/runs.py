"""What a run is to a type checker: handles know the result, channels what goes through them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, assert_type

import monolite
from monolite import Accepted, Client, Handle, Info, Runtime, Signal, View, workflow

approval = Signal("approval", bool)
notes = Signal("notes", list[str])
anything = Signal("anything")
progress = View("progress", int)
anything_seen = View("anything")


@workflow
async def order(number: str) -> dict[str, int]:
    return {number: 1}


async def spawned(rt: Runtime, client: Client) -> None:
    assert_type(await rt.spawn(order("1"), id="a", delay=5), Handle[dict[str, int]])
    assert_type(await client.spawn(order("1"), attributes={"a": 1}), Handle[dict[str, int]])
    assert_type(await monolite.spawn(order("1"), detached=True), Handle[dict[str, int]])
    assert_type(rt.handle("a"), Handle[Any])
    assert_type(client.handle("a"), Handle[Any])


async def handled(rt: Runtime) -> None:
    handle = await rt.spawn(order("1"))
    assert_type(await handle.result(), dict[str, int])
    assert_type(await handle.signal(approval, True, id="m"), Accepted)
    assert_type(await handle.cancel("why"), Accepted)
    assert_type(await handle.terminate(), Accepted)
    assert_type(await handle.view(progress), int | None)
    assert_type(handle.watch(progress), AsyncGenerator[int, None])
    async for value in handle.watch(progress):
        assert_type(value, int)
    assert_type(await handle.describe(), Info)
    assert_type(await handle.history(), list[monolite.Entry])


def channels() -> None:
    assert_type(approval, Signal[bool])
    assert_type(notes, Signal[list[str]])
    assert_type(anything, Signal[Any])
    assert_type(progress, View[int])
    assert_type(anything_seen, View[Any])


async def received() -> None:
    assert_type(await approval.receive(), bool)
    assert_type(await notes.receive(), list[str])
    assert_type(await anything.receive(), Any)
    assert_type(approval.pending(), int)
    async for texts in notes:
        assert_type(texts, list[str])


def published() -> None:
    progress.set(3)
    anything_seen.set({"any": "thing"})
