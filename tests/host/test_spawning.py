"""Spawning: a run is durable when `spawn` returns, and an id names one run at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

import monolite
from monolite import Runtime, Signal, activity, errors, workflow
from tests.host.hosts import World, hosted, until_waiting

go_on = Signal("go_on", str)


@workflow
async def echo(word: str) -> str:
    return word


@workflow
async def waits(word: str) -> str:
    return word + await go_on.receive()


@workflow
async def unknown_here() -> None: ...


@hosted
async def test_a_run_that_ends_in_its_first_turn_is_kept_like_any_other(world: World) -> None:
    async with world.runtime(echo) as rt:
        handle = await rt.spawn(echo("hi"), id="e")
        assert await handle.result() == "hi"
        info = await handle.describe()
        assert (info.status, info.waiting_on, info.error) == ("completed", None, None)
        assert [line.kind for line in await handle.history()] == ["started", "completed"]


@hosted
async def test_a_result_can_be_asked_for_any_number_of_times(world: World) -> None:
    async with world.runtime(echo) as rt:
        handle = await rt.spawn(echo("hi"), id="e")
        assert [await handle.result() for _ in range(3)] == ["hi"] * 3
        assert await rt.handle("e", echo).result() == "hi"
        assert await rt.handle("e").result() == "hi"


@hosted
async def test_many_may_wait_for_one_result(world: World) -> None:
    async with world.runtime(waits) as rt:
        handle = await rt.spawn(waits("a"))
        found: list[str] = []

        async def wait() -> None:
            found.append(await handle.result())

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(wait)
            await handle.signal(go_on, "b")
        assert found == ["ab"] * 5


@hosted
async def test_without_an_id_each_spawn_is_a_run_of_its_own(world: World) -> None:
    async with world.runtime(echo) as rt:
        handles = [await rt.spawn(echo("hi")) for _ in range(3)]
        assert len({handle.id for handle in handles}) == 3
        assert [await handle.result() for handle in handles] == ["hi"] * 3


@hosted
async def test_the_same_id_joins_the_run_there_is(world: World) -> None:
    async with world.runtime(waits) as rt:
        first = await rt.spawn(waits("first"), id="w")
        second = await rt.spawn(waits("second"), id="w")
        await first.signal(go_on, "!")
        assert await second.result() == "first!"
        third = await rt.spawn(waits("third"), id="w", id_conflict="attach")
        assert await third.result() == "first!"
        assert len(await rt.list()) == 1


@hosted
async def test_joining_can_be_refused(world: World) -> None:
    async with world.runtime(waits) as rt:
        handle = await rt.spawn(waits("first"), id="w", id_conflict="reject")
        with pytest.raises(errors.AlreadyExists, match="a run with id 'w' exists"):
            await rt.spawn(waits("second"), id="w", id_conflict="reject")
        await handle.signal(go_on, "!")
        await handle.result()
        with pytest.raises(errors.AlreadyExists, match=r"exists \(completed\)"):
            await rt.spawn(waits("third"), id="w", id_conflict="reject")
        assert len(await rt.list()) == 1


@hosted
async def test_an_id_of_another_workflow_is_never_joined(world: World) -> None:
    async with world.runtime(waits, echo) as rt:
        await rt.spawn(waits("first"), id="w")
        with pytest.raises(errors.AlreadyExists, match="it runs 'waits', not 'echo'"):
            await rt.spawn(echo("second"), id="w")


@hosted
async def test_a_restart_ends_the_run_there_is_and_starts_anew(world: World) -> None:
    async with world.runtime(waits) as rt:
        old = await rt.spawn(waits("old"), id="w")
        waiting: list[BaseException] = []

        async def wait() -> None:
            try:
                await old.result()
            except errors.Terminated as ended:
                waiting.append(ended)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await until_waiting(old, "signal go_on")
            new = await rt.spawn(waits("new"), id="w", id_conflict="restart")
        assert [str(ended) for ended in waiting] in ([], ["workflow 'w' was terminated: restarted"])
        await new.signal(go_on, "!")
        assert await new.result() == "new!"
        runs = await rt.list()
        assert [(run.generation, run.status) for run in runs] == [
            (2, "completed"),
            (1, "terminated"),
        ]
        again = await rt.spawn(waits("third"), id="w", id_conflict="restart")
        assert (await again.describe()).generation == 3


@hosted
async def test_a_delayed_run_starts_when_its_time_has_come(world: World) -> None:
    async with world.runtime(echo) as rt:
        handle = await rt.spawn(echo("late"), id="e", delay="1h")
        info = await handle.describe()
        assert (info.status, info.waiting_on) == (
            "queued",
            "an engine, from 2026-01-01T13:00:00+00:00",
        )
        await world.skip(rt, "59m")
        assert (await handle.describe()).status == "queued"
        await world.skip(rt, "1m")
        assert await handle.result() == "late"


@hosted
async def test_a_delay_passes_while_nobody_runs(lives: World) -> None:
    async with lives.runtime(echo) as rt:
        await rt.spawn(echo("late"), id="e", delay="1h")
    lives.clock.advance("2h")
    async with lives.runtime(echo) as rt:
        assert await rt.handle("e").result() == "late"


@hosted
async def test_a_message_to_a_delayed_run_waits_for_it(world: World) -> None:
    async with world.runtime(waits) as rt:
        handle = await rt.spawn(waits("late"), delay="1h")
        assert await handle.signal(go_on, "!")
        await world.skip(rt, "1h")
        assert await handle.result() == "late!"


@hosted
async def test_a_workflow_whose_code_is_not_here_is_refused(world: World) -> None:
    async with world.runtime(echo, waits) as rt:
        with pytest.raises(errors.UnknownWorkflow, match="there is code for: echo, waits"):
            await rt.spawn(unknown_here())
        assert await rt.list() == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"id": ""}, "must have 1 to 512 characters, it has 0"),
        ({"id": "x" * 513}, "must have 1 to 512 characters, it has 513"),
        ({"id": "a\nb"}, "must be printable text"),
        ({"id": 5}, "must be text, not int"),
        ({"id_conflict": "guess"}, "id_conflict='guess' is none of 'attach', 'reject', 'restart'"),
    ],
)
@hosted
async def test_a_spawn_that_makes_no_sense_is_refused(
    world: World, options: dict[str, Any], problem: str
) -> None:
    async with world.runtime(echo) as rt:
        with pytest.raises(errors.Misused, match=problem):
            await rt.spawn(echo("hi"), **options)
        with pytest.raises(ValueError, match="delay must be zero or more"):
            await rt.spawn(echo("hi"), delay=1e30)
        with pytest.raises(errors.PayloadInvalid, match="^attributes: "):
            await rt.spawn(echo("hi"), attributes={"x": object()})
        assert await rt.list() == []


@hosted
async def test_a_run_that_nobody_knows_is_unknown_to_every_question(world: World) -> None:
    async with world.runtime(echo) as rt:
        handle = rt.handle("nobody")
        for ask in (
            handle.result,
            handle.describe,
            handle.history,
            handle.cancel,
            handle.terminate,
            lambda: handle.signal(go_on, "x"),
            lambda: rt.describe("nobody"),
        ):
            with pytest.raises(errors.UnknownWorkflow, match="no run has the id 'nobody'"):
                await ask()


@hosted
async def test_an_activity_can_start_a_run_of_its_own(world: World) -> None:
    @activity
    async def starts() -> str:
        handle = await monolite.spawn(echo("from an activity"), id="started")
        return await handle.result()

    @workflow
    async def asks() -> str:
        return await starts()

    async with world.runtime(asks, echo) as rt:
        handle = await rt.spawn(asks())
        assert await handle.result() == "from an activity"
        assert (await rt.describe("started")).parent is None


@hosted
async def test_runs_are_found_by_what_they_were_given(world: World) -> None:
    async with world.runtime(waits, echo) as rt:
        await rt.spawn(waits("a"), id="a-1", attributes={"tenant": "x", "size": {"b": 1, "a": 2}})
        await rt.spawn(waits("b"), id="a-2", attributes={"tenant": "y"})
        done = await rt.spawn(echo("c"), id="b-1", attributes={"tenant": "x"})
        await done.result()

        async def ids(**where: Any) -> list[str]:
            return [info.id for info in await rt.list(**where)]

        assert await ids() == ["b-1", "a-2", "a-1"]
        assert await ids(name="waits") == ["a-2", "a-1"]
        assert await ids(id_prefix="a-") == ["a-2", "a-1"]
        assert await ids(attributes={"tenant": "x"}) == ["b-1", "a-1"]
        assert await ids(attributes={"size": {"a": 2, "b": 1}}) == ["a-1"]
        assert await ids(status="completed") == ["b-1"]
        assert await ids(status="waiting") == ["a-2", "a-1"]
        assert await ids(status="waiting", attributes={"tenant": "y"}) == ["a-2"]
        assert await ids(limit=1) == ["b-1"]
        assert await ids(limit=0) == []
        assert (await rt.describe("a-1")).attributes == {"tenant": "x", "size": {"a": 2, "b": 1}}


@hosted
async def test_a_thousand_runs_at_once_all_end(world: World) -> None:
    @activity
    async def double(number: int) -> int:
        return 2 * number

    @workflow
    async def doubles(number: int) -> int:
        return await double(number)

    async with world.runtime(doubles) as rt:
        handles = [await rt.spawn(doubles(number)) for number in range(1_000)]
        assert [await handle.result() for handle in handles] == [2 * n for n in range(1_000)]


async def test_a_host_that_is_asyncio_without_anyio_is_served(tmp_path: Any) -> None:
    """A program that never heard of anyio."""
    async with Runtime(tmp_path / "app.db", actors=[echo]) as rt:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(rt.spawn(echo(str(number)))) for number in range(3)]
        assert [await task.result().result() for task in tasks] == ["0", "1", "2"]
