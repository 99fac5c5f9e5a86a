"""patched: runs that were there before a change go the old way, later ones the new way."""

from __future__ import annotations

from typing import Any

import monolite
from monolite import Signal, activity, workflow
from tests.host.hosts import World, until_waiting

go_on = Signal("go_on", str)


@activity
async def said(word: str) -> str:
    return word


def old_code() -> Any:
    @workflow
    async def changing() -> list[str]:
        found = [await said("old")]
        await go_on.receive()
        found.append(await said("end"))
        return found

    return changing


def new_code() -> Any:
    @workflow
    async def changing() -> list[str]:
        found = [await said("new" if monolite.patched("newer") else "old")]
        await go_on.receive()
        found.append(await said("end"))
        return found

    return changing


def looping_code(*, is_new: bool) -> Any:
    @workflow
    async def looping() -> list[str]:
        found: list[str] = []
        while await go_on.receive() != "end":
            found.append(await said("new" if is_new and monolite.patched("newer") else "old"))
        return found

    return looping


async def test_an_old_run_goes_the_old_way_and_a_new_one_the_new(lives: World) -> None:
    old, new = old_code(), new_code()
    async with lives.runtime(old) as rt:
        await until_waiting(await rt.spawn(old(), id="old"), "signal")
    async with lives.runtime(new) as rt:
        await until_waiting(rt.handle("old"), "signal")
        await until_waiting(await rt.spawn(new(), id="new"), "signal")
    async with lives.runtime(new) as rt:
        for id, found in (("old", ["old", "end"]), ("new", ["new", "end"])):
            await rt.handle(id).signal(go_on, "")
            assert await rt.handle(id).result() == found


async def test_a_run_goes_one_way_from_its_first_answer_on(lives: World) -> None:
    """A loop that was begun the old way goes on the old way, in every later life."""
    old, new = looping_code(is_new=False), looping_code(is_new=True)
    async with lives.runtime(old) as rt:
        run = await rt.spawn(old(), id="r")
        await run.signal(go_on, "")
        await until_waiting(run, "signal")
    for _ in range(3):
        async with lives.runtime(new) as rt:
            run = rt.handle("r")
            await until_waiting(run, "signal")
            await run.signal(go_on, "")
            await until_waiting(run, "signal")
    async with lives.runtime(new) as rt:
        await rt.handle("r").signal(go_on, "end")
        assert await rt.handle("r").result() == ["old"] * 4


async def test_a_change_that_lies_ahead_is_taken(lives: World) -> None:
    """The run had not come to it yet when the code changed."""
    old, new = looping_code(is_new=False), looping_code(is_new=True)
    async with lives.runtime(old) as rt:
        await until_waiting(await rt.spawn(old(), id="r"), "signal")
    for _ in range(3):
        async with lives.runtime(new) as rt:
            run = rt.handle("r")
            await run.signal(go_on, "")
            await until_waiting(run, "signal")
    async with lives.runtime(new) as rt:
        await rt.handle("r").signal(go_on, "end")
        assert await rt.handle("r").result() == ["new"] * 3
