"""A result has its declared type, also through a handle made of an id alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from monolite import View, activity, errors, workflow
from tests.host.homes import Home

shown = View("shown", int)


@dataclass
class Receipt:
    cents: int
    seal: bytes


@workflow
async def sell(cents: int) -> Receipt:
    return Receipt(cents, b"seal")


@workflow
async def show(times: int) -> int:
    for i in range(times):
        shown.set(i)
    return times


@activity(retry=False)
async def fail_together() -> None:
    msg = "two went wrong"
    raise ExceptionGroup(msg, [ValueError("card 42 declined"), KeyError("sku")])


@workflow
async def falling() -> None:
    await fail_together()


async def test_in_the_next_life_too(home: Home) -> None:
    async with home.runtime(sell) as rt:
        assert await (await rt.spawn(sell(5), id="s")).result() == Receipt(5, b"seal")
    async with home.runtime(sell) as rt:
        assert await rt.handle("s").result() == Receipt(5, b"seal")
        assert await rt.handle("s", sell).result() == Receipt(5, b"seal")


async def test_a_watcher_gets_the_last_value_of_a_run_that_ended_before(home: Home) -> None:
    async with home.runtime(show) as rt:
        run = await rt.spawn(show(3))
        assert [value async for value in run.watch(shown)][-1:] == [2]


async def test_what_an_exception_group_holds_is_named(home: Home) -> None:
    async with home.runtime(falling) as rt:
        run = await rt.spawn(falling())
        with pytest.raises(errors.WorkflowFailed, match="ValueError: card 42 declined"):
            await run.result()


async def test_spawning_what_is_no_call_says_so(home: Home) -> None:
    untyped: Any = sell
    async with home.runtime(sell) as rt:
        with pytest.raises(errors.Misused, match="takes a call of a @workflow"):
            await rt.spawn(untyped)
