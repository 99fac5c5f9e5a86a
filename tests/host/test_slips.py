"""Slips of untyped code: each is refused with a word on what to do, and harms nobody else."""

from __future__ import annotations

from typing import Any

import pytest

import monolite
from monolite import (
    Actor,
    ContinueAsNew,
    Handle,
    Runtime,
    Saga,
    Signal,
    Stream,
    View,
    activity,
    errors,
    query,
    workflow,
)
from tests.host.homes import Home

note = Signal("note", str)
seen = View("seen", str)
words = Stream("words", str)


@workflow
async def again(what: str) -> str:
    """Continue with what is no fresh call of this workflow."""
    untyped: Any = again
    if what == "done":
        return what
    used = again("done")
    used.close()
    given = {"definition": untyped, "used": used, "too few": None}[what]
    raise ContinueAsNew(untyped() if given is None else given)


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("definition", "Misused: ContinueAsNew takes a call of the workflow, such as order"),
        ("used", "Misused: again.* was already awaited or spawned"),
        ("too few", "TypeError: again.*missing a required argument"),
    ],
)
@pytest.mark.filterwarnings("ignore:again.* was never awaited:RuntimeWarning")
async def test_continuing_with_something_else_fails_that_run_alone(
    home: Home, what: str, problem: str
) -> None:
    async with home.runtime(again) as rt:
        with pytest.raises(errors.WorkflowFailed, match=problem):
            await (await rt.spawn(again(what))).result()
        assert await (await rt.spawn(again("done"))).result() == "done"


class Quitter(Actor):
    @query
    def quits(self) -> int:
        raise SystemExit(3)

    @query
    def stays(self) -> int:
        return 1


async def test_a_query_that_would_end_the_process_fails_alone(home: Home) -> None:
    async with home.runtime(Quitter) as rt:
        with pytest.raises(errors.RemoteError, match="SystemExit: 3"):
            await rt.actor(Quitter, "q").quits()
        assert await rt.actor(Quitter, "q").stays() == 1


async def test_a_channel_of_another_kind_is_refused(home: Home) -> None:
    async with home.runtime(again) as rt:
        run: Handle[str] = await rt.spawn(again("done"))
        untyped: Any = run
        no_signals: list[Any] = ["note", seen, words]
        no_views: list[Any] = ["seen", note]
        for wrong in no_signals:
            with pytest.raises(errors.Misused, match=r"is not a Signal; pass what was made by"):
                await untyped.signal(wrong, "x")
        for wrong in no_views:
            with pytest.raises(errors.Misused, match="is not a View"):
                await untyped.view(wrong)
            with pytest.raises(errors.Misused, match="is not a View"):
                await anext(untyped.watch(wrong))
            with pytest.raises(errors.Misused, match="is not a Stream"):
                await anext(untyped.read(wrong))
            with pytest.raises(errors.Misused, match="is not a Update"):
                await untyped.update(wrong, 1)


async def test_a_runtime_is_not_for_the_inside_of_a_workflow(home: Home) -> None:
    held: list[Runtime] = []

    async def use(verb: str, rt: Runtime) -> None:
        match verb:
            case "spawn":
                await rt.spawn(again("done"), id="inner")
            case "list":
                await rt.list()
            case "describe":
                await rt.describe("x")
            case _:
                rt.read().__enter__()

    @workflow
    async def inside(verb: str) -> str:
        with pytest.raises(errors.Misused, match=r"use monolite\.spawn") as refused:
            await use(verb, held[0])
        return type(refused.value).__name__

    async with home.runtime(inside, again) as rt:
        held.append(rt)
        for verb in ("spawn", "list", "describe", "read"):
            assert await (await rt.spawn(inside(verb))).result() == "Misused"
        with pytest.raises(errors.UnknownWorkflow):
            await rt.describe("inner")


async def test_a_definition_instead_of_a_call_is_no_child(home: Home) -> None:
    untyped: Any = again

    @workflow
    async def parent() -> str:
        with pytest.raises(errors.Misused, match="spawn takes a call of a @workflow") as refused:
            await monolite.spawn(untyped)
        return type(refused.value).__name__

    async with home.runtime(parent) as rt:
        assert await (await rt.spawn(parent())).result() == "Misused"


def test_definitions_and_sagas_take_what_they_can_use() -> None:
    untyped: Any = 5
    with pytest.raises(TypeError, match="@activity needs a function, not 5"):
        activity(untyped)
    for version in (0, "2"):
        wrong: Any = version
        with pytest.raises(errors.Misused, match="must be a whole number from 1"):
            workflow(version=wrong)(again.fn)
    with pytest.raises(errors.Misused, match=r"Saga\.add takes a call"):
        Saga().add(untyped)
