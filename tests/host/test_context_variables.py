"""Context variables: what one activity or workflow sets, no other sees."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any, NoReturn

import anyio
import anyio.lowlevel
import pytest
import trio

from monolite import activity, workflow
from tests.host import gate
from tests.host.homes import Home
from tests.host.loops import on_both_loops

TIMES = 100

name: ContextVar[str] = ContextVar("name", default="nobody")


class Touchy:
    """A value that cannot be compared, as arrays cannot."""

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError

    __hash__ = None  # type: ignore[assignment]


touchy: ContextVar[Touchy] = ContextVar("touchy")


@on_both_loops
async def test_what_an_activity_sets_no_other_sees(home: Home) -> None:
    @activity
    async def at_once(own: str) -> str:
        found = name.get()
        name.set(own)
        return found

    @activity
    async def after_a_wait(own: str) -> str:
        found = name.get()
        name.set(own)
        await anyio.lowlevel.checkpoint()
        return found if name.get() == own else f"{name.get()} instead of {own}"

    @activity
    def in_a_thread(own: str) -> str:
        found = name.get()
        name.set(own)
        return found

    @workflow
    async def asking(n: int) -> list[str]:
        return [
            await at_once(f"first {n}"),
            await after_a_wait(f"second {n}"),
            await in_a_thread(f"third {n}"),
            await at_once(f"fourth {n}"),
        ]

    async with home.runtime(asking) as rt:
        runs = [await rt.spawn(asking(n)) for n in range(TIMES)]
        for run in runs:
            assert await run.result() == ["nobody"] * 4


async def test_activities_that_wait_side_by_side_each_keep_their_own(home: Home) -> None:
    everyone = asyncio.Barrier(TIMES)

    @activity
    async def keeping(own: str) -> bool:
        assert name.get() == "nobody"
        name.set(own)
        await everyone.wait()
        return name.get() == own

    @workflow
    async def asking() -> list[bool]:
        return list(await asyncio.gather(*(keeping(str(n)) for n in range(TIMES))))

    async with home.runtime(asking) as rt:
        assert await (await rt.spawn(asking())).result() == [True] * TIMES


@on_both_loops
async def test_a_value_that_cannot_be_compared_does_no_harm(home: Home) -> None:
    @activity(retry=False)
    async def setting() -> bool:
        is_fresh = touchy.get(None) is None
        touchy.set(Touchy())
        await anyio.lowlevel.checkpoint()
        touchy.set(Touchy())
        return is_fresh

    @workflow
    async def asking() -> bool:
        return await setting()

    async with home.runtime(asking) as rt:
        with anyio.fail_after(10):
            for _ in range(20):
                assert await (await rt.spawn(asking())).result()


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_what_the_program_had_set_to_such_a_value_does_no_harm(home: Home, run: Any) -> None:
    @activity(retry=False)
    async def setting() -> None:
        touchy.set(Touchy())

    @workflow
    async def asking() -> str:
        await setting()
        return "unharmed"

    async def program() -> None:
        async with home.runtime(asking) as rt:
            with anyio.fail_after(10):
                for _ in range(20):
                    assert await (await rt.spawn(asking())).result() == "unharmed"

    def program_with_such_a_value() -> None:
        touchy.set(Touchy())
        run(program if run is trio.run else program())

    copy_context().run(program_with_such_a_value)


@on_both_loops
async def test_what_a_workflow_sets_no_other_sees(home: Home) -> None:
    @workflow
    async def setting(own: str) -> list[str]:
        found = name.get()
        name.set(own)
        await gate.wait_for_it()
        return [found, name.get()]

    async with home.runtime(setting) as rt:
        runs = [await rt.spawn(setting(f"run {n}")) for n in range(10)]
        for run in runs:
            await gate.open(run)
        for n, run in enumerate(runs):
            assert await run.result() == ["nobody", f"run {n}"]


async def test_a_workflow_s_tasks_inherit_what_it_set_as_in_asyncio(home: Home) -> None:
    @workflow
    async def inheriting() -> list[str]:
        async def task(own: str) -> str:
            found = name.get()
            name.set(own)
            await asyncio.sleep(0)
            return f"{found} then {name.get()}"

        name.set("main")
        seen = await asyncio.gather(task("a"), task("b"))
        return [*seen, name.get()]

    async with home.runtime(inheriting) as rt:
        assert await (await rt.spawn(inheriting())).result() == [
            "main then a",
            "main then b",
            "main",
        ]


async def test_workflow_child_activity_and_program_do_not_see_each_other_s(home: Home) -> None:
    @activity
    async def act() -> str:
        found = name.get()
        name.set("activity")
        return found

    @workflow
    async def child() -> str:
        found = name.get()
        name.set("child")
        return found

    @workflow
    async def parent() -> list[str]:
        found = [name.get()]
        name.set("parent")
        found += [await act(), await child(), name.get()]
        return found

    name.set("program")
    async with home.runtime(parent, child) as rt:
        assert await (await rt.spawn(parent())).result() == [
            "nobody",
            "nobody",
            "nobody",
            "parent",
        ]
        assert name.get() == "program"


async def test_a_replay_sets_them_again(home: Home) -> None:
    @workflow
    async def setting() -> str:
        name.set("before")
        await gate.wait_for_it()
        return name.get()

    async with home.runtime(setting) as rt:
        await rt.spawn(setting(), id="s")

    async with home.runtime(setting) as rt:
        await gate.open(rt.handle("s"))
        assert await rt.handle("s").result() == "before"
