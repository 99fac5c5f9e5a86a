"""Replay is delivering the recorded entries again: the same machine comes out."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import monolite
from monolite import Signal, View, activity, workflow
from tests.core.play import Play, Stage

approval = Signal("approval", str)
progress = View("progress", str)


@activity
async def fetch(page: int) -> str:
    return f"page {page}"


@workflow
async def child(name: str) -> str:
    return name


@workflow
async def everything() -> list[object]:
    """Use most of what a workflow can."""
    drawn = [monolite.random().randrange(1_000), str(monolite.uuid4())]
    seen: list[object] = [*drawn]
    progress.set("fetching")
    pages: list[str] = []
    async with asyncio.TaskGroup() as group:
        for page in range(3):
            group.create_task(fetch(page)).add_done_callback(lambda t: pages.append(t.result()))
    seen += pages
    handle = await monolite.spawn(child("kid"))
    try:
        async with asyncio.timeout(30):
            seen.append(await approval.receive())
    except TimeoutError:
        seen.append("no approval")
    with anyio.move_on_after(5) as scope:
        await anyio.Event().wait()
    seen += [scope.cancelled_caught, f"{monolite.now():%H:%M:%S}", monolite.random().random()]
    progress.set("waiting for the child")
    seen.append(await handle.result())
    await asyncio.wait_for(asyncio.sleep(1), 10)
    seen.append(await approval.receive())
    return seen


SCRIPT: list[Callable[[Play], Any]] = [
    lambda play: play.answer("fetch#2", "two"),
    lambda play: play.answer("fetch#1", "one"),
    lambda play: play.answer("fetch#3", "three"),
    lambda play: play.ring(),
    lambda play: play.signal("approval", "late"),
    lambda play: play.ring(),
    lambda play: play.answer("child#1", "grown"),
    lambda play: play.ring(),
]


def test_the_same_entries_give_the_same_requests_and_the_same_machine(stage: Stage) -> None:
    play = stage.start(everything())
    for happen in SCRIPT:
        happen(play)
        again = play.replayed()
        assert again.asked == [words for words in play.asked if not words.startswith("view")]
        assert again.state() == play.replayed().state()
        again.machine.unload()
    assert play.machine.outcome is not None
    play.all_seen()


@pytest.mark.parametrize("every", range(1, len(SCRIPT) + 1))
def test_leaving_memory_and_coming_back_changes_nothing(stage: Stage, every: int) -> None:
    straight = stage.start(everything())
    interrupted = Play(straight.definition, straight.run)
    for number, happen in enumerate(SCRIPT, 1):
        happen(straight)
        happen(interrupted)
        if number % every == 0:
            interrupted.machine.unload()
            interrupted = interrupted.replayed()
    assert interrupted.journal == straight.journal
    assert interrupted.machine.outcome == straight.machine.outcome
    assert interrupted.state() == straight.replayed().state()
    straight.all_seen()
    assert straight.result[2:] == [
        "two", "one", "three", "no approval", True, "12:00:35", straight.result[8], "grown", "late",
    ]  # fmt: skip


def test_a_replay_publishes_no_view_a_second_time(stage: Stage) -> None:
    @workflow
    async def showing() -> None:
        progress.set("before")
        await asyncio.sleep(1)
        progress.set("after")
        await approval.receive()

    play = (
        stage.start(showing()).skip(1).asks('view progress = "before"', 'view progress = "after"')
    )
    again = stage.enter(play.replayed()).asks()
    again.signal("approval", "x").completes()
    play.goes_on("signal approval")


def test_a_replayed_machine_publishes_what_is_new(stage: Stage) -> None:
    @workflow
    async def showing() -> None:
        for number in range(3):
            await asyncio.sleep(1)
            progress.set(str(number))

    play = stage.start(showing()).skip(1).asks('view progress = "0"')
    again = stage.enter(play.replayed())
    again.skip(1).asks('view progress = "1"').skip(1).asks('view progress = "2"').completes()


def test_a_failure_is_raised_in_a_replay_as_it_was_live(stage: Stage) -> None:
    @workflow
    async def catching() -> list[str]:
        caught: list[str] = []
        try:
            await fetch(1)
        except ValueError as error:
            caught = [type(error).__name__, *map(str, error.args)]
        await approval.receive()
        return caught

    play = stage.start(catching()).asks("activity fetch#1(1)")
    play.fail("fetch#1", ValueError("bad", 3))
    again = stage.enter(play.replayed()).asks("activity fetch#1(1)")
    again.signal("approval", "x").completes(["ValueError", "bad", "3"])


def test_a_run_that_left_memory_leaves_nothing_behind(stage: Stage) -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    @workflow
    async def holding() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        async with asyncio.TaskGroup() as group:
            group.create_task(approval.receive())
            group.create_task(asyncio.sleep(60))

    play = stage.start(holding())
    again = play.replayed()
    again.machine.unload()
    del again
    gc.collect()
    assert [ref() is not None for ref in held] == [True, False]


def test_a_run_that_has_ended_is_freed_without_the_garbage_collector(stage: Stage) -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    @workflow
    async def holding() -> int:
        mine = Held()
        held.append(weakref.ref(mine))
        first, second = await asyncio.gather(fetch(1), fetch(2))
        return len(first) + len(second)

    gc.disable()
    try:
        play = stage.start(holding()).asks("activity fetch#1(1)", "activity fetch#2(2)")
        again = play.answer("fetch#1", "a").answer("fetch#2", "b").completes(2).replayed()
        again.machine.retire()
        del again
        assert held[1]() is None
    finally:
        gc.enable()
