"""A run's history is in the order of its journal, whatever the clock did meanwhile."""

from __future__ import annotations

from pathlib import Path

import apsw

from monolite import Client, Runtime, activity, workflow


@activity
async def step(number: int) -> int:
    return number


@workflow
async def three() -> None:
    for number in (1, 2, 3):
        await step(number)


async def test_a_clock_that_was_set_back_changes_no_order(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=[three]) as rt:
        await (await rt.spawn(three(), id="t")).result()
    con = apsw.Connection(str(path))
    con.execute("UPDATE monolite_journal SET at_us = at_us - 3600000000 WHERE n > 0")
    con.close()
    async with Client(path) as client:
        history = await client.handle("t").history()
    assert [line.key for line in history] == ["three", "step#1", "step#2", "step#3", "three"]
    assert history[2].at < history[1].at
