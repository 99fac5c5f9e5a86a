"""Arguments that a function does not take fail at the call, as in Python, without an attempt."""

from __future__ import annotations

from typing import Any

from monolite import activity, workflow
from tests.host.homes import Home


@activity
async def add(a: int, b: int) -> int:
    return a + b


@workflow
async def miscounting() -> str:
    untyped: Any = add
    try:
        await untyped(1)
    except TypeError as error:
        return str(error)
    return "nothing was said"


async def test_wrong_arguments_fail_at_the_call(home: Home) -> None:
    async with home.runtime(miscounting) as rt:
        run = await rt.spawn(miscounting())
        assert "missing a required argument: 'b'" in await run.result()
        assert [line.kind for line in await run.history()] == ["started", "completed"]
