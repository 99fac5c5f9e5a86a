"""Versions: a hundred open runs meet new code; those it fits go on, the others wait, visibly."""

from __future__ import annotations

from typing import Any

from monolite import Signal, activity, workflow
from tests.host.hosts import World, until, until_waiting

go_on = Signal("go_on", str)


@activity
async def said(word: str) -> str:
    return word


def first() -> Any:
    @workflow
    async def talk(*, early: bool) -> str:
        word = await said("one") if early else ""
        while await go_on.receive():
            pass
        return f"1 {word}"

    return talk


def second() -> Any:
    """Fits the runs that have said nothing yet."""

    @workflow(version=2)
    async def talk(*, early: bool) -> str:
        word = await said("two") if early else ""
        while await go_on.receive():
            pass
        return f"2 {word}"

    return talk


RUNS = 100


def id_of(number: int) -> str:
    return f"talk-{number}"


async def begun(lives: World) -> None:
    async with lives.runtime(old := first()) as rt:
        for number in range(RUNS):
            await rt.spawn(old(early=number % 2 == 0), id=id_of(number))
        for number in range(RUNS):
            await until_waiting(rt.handle(id_of(number)), "signal")


async def test_runs_that_fit_go_on_and_the_others_are_parked_and_never_lost(
    lives: World,
) -> None:
    await begun(lives)
    async with lives.runtime(second()) as rt:
        for number in range(RUNS):
            await rt.handle(id_of(number)).signal(go_on, "")
        for number in range(1, RUNS, 2):
            assert await rt.handle(id_of(number)).result() == "2 "
        parked = await rt.list(status="diverged", limit=RUNS)
        assert {info.id for info in parked} == {id_of(n) for n in range(0, RUNS, 2)}
        assert all(info.error for info in parked)
    async with lives.runtime(first()) as rt:
        for number in range(0, RUNS, 2):
            assert await rt.handle(id_of(number)).result() == "1 one"


async def test_old_code_beside_the_new_keeps_old_runs_going(lives: World) -> None:
    await begun(lives)
    async with lives.runtime(first(), new := second()) as rt:
        await rt.spawn(new(early=True), id="new")
        await until_waiting(rt.handle("new"), "signal")
        for id in [*map(id_of, range(RUNS)), "new"]:
            await rt.handle(id).signal(go_on, "")
        for number in range(RUNS):
            expected = "1 one" if number % 2 == 0 else "1 "
            assert await rt.handle(id_of(number)).result() == expected
        assert await rt.handle("new").result() == "2 two"
        assert (await rt.describe("new")).version == 2


async def test_a_run_keeps_the_version_it_went_over_to(lives: World) -> None:
    async with lives.runtime(old := first()) as rt:
        run = await rt.spawn(old(early=False), id="r")
        await until_waiting(run, "signal")
    async with lives.runtime(second()) as rt:
        await rt.handle("r").signal(go_on, "wake")  # it slept, and nobody had looked at it
        await until(rt.handle("r"), lambda info: info.version == 2)
    async with lives.runtime(first(), second()) as rt:
        await rt.handle("r").signal(go_on, "")
        assert await rt.handle("r").result() == "2 "
