"""Spawning: what an id that is taken means, later starts, attributes, and what is refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

import monolite
from monolite import Client, Runtime, Signal, View, activity, current, errors, workflow
from monolite.host import engine
from tests.host import gate
from tests.host.clocks import START, ManualClock
from tests.host.homes import Home
from tests.host.loops import on_both_loops

began = View("began", int)
note = Signal("note", str)


@workflow
async def passing(word: str = "") -> str:
    """Wait at the gate, then return the word it was opened with, or was started with."""
    began.set(current().attempt)
    return await gate.wait_for_it(word)


@workflow
async def echo(word: str, *, times: int = 1) -> str:
    return word * times


@workflow
async def other(word: str = "") -> str:
    return await gate.wait_for_it(word)


@on_both_loops
async def test_a_run_is_in_the_file_when_its_spawn_returns(home: Home) -> None:
    async with home.runtime(passing) as rt:
        run = await rt.spawn(passing(), id="p")
        assert [info.id for info in await rt.list()] == ["p"]
        assert repr(run) == "<handle of p>"

    async with home.runtime(passing) as rt:
        await gate.open(rt.handle("p"), "still here")
        assert await rt.handle("p").result() == "still here"


async def test_runs_without_an_id_are_all_different(home: Home) -> None:
    async with home.runtime(echo) as rt:
        runs = [await rt.spawn(echo(str(n))) for n in range(10)]
        assert [await run.result() for run in runs] == [str(n) for n in range(10)]

    assert len({run.id for run in runs}) == 10


async def test_arguments_may_be_given_by_keyword_and_left_out(home: Home) -> None:
    async with home.runtime(echo, passing) as rt:
        assert await (await rt.spawn(echo("ab"))).result() == "ab"
        assert await (await rt.spawn(echo("ab", times=2))).result() == "abab"
        assert await (await rt.spawn(echo(word="ab", times=3))).result() == "ababab"


# An id that is taken.


async def test_attach_joins_the_run_that_goes_on(home: Home) -> None:
    async with home.runtime(passing) as rt:
        first = await rt.spawn(passing("first"), id="p")
        second = await rt.spawn(passing("second"), id="p")
        await gate.open(second)
        assert await first.result() == "first"
        assert await second.result() == "first"
        assert len(await rt.list()) == 1


async def test_attach_joins_the_run_that_has_ended(home: Home) -> None:
    async with home.runtime(echo) as rt:
        assert await (await rt.spawn(echo("first"), id="e")).result() == "first"
        assert await (await rt.spawn(echo("second"), id="e", id_conflict="attach")).result() == (
            "first"
        )
        assert (await rt.describe("e")).generation == 1


async def test_attach_does_not_join_another_workflow(home: Home) -> None:
    async with home.runtime(passing, other) as rt:
        run = await rt.spawn(passing(), id="p")
        with pytest.raises(errors.AlreadyExists, match="it runs 'passing', not 'other'"):
            await rt.spawn(other(), id="p")
        assert (await run.describe()).name == "passing"


async def test_a_hundred_spawns_of_one_id_make_one_run(home: Home) -> None:
    async with home.runtime(passing) as rt:
        runs = await asyncio.gather(*(rt.spawn(passing(str(n)), id="p") for n in range(100)))
        await gate.open(runs[0])
        assert {await run.result() for run in runs} == {"0"}
        assert len(await rt.list()) == 1


@pytest.mark.parametrize("ended", [False, True])
async def test_reject_refuses_an_id_that_is_taken(home: Home, ended: bool) -> None:
    async with home.runtime(passing) as rt:
        run = await rt.spawn(passing("first"), id="p", id_conflict="reject")
        if ended:
            await gate.open(run)
            await run.result()
        with pytest.raises(errors.AlreadyExists, match="'p' exists"):
            await rt.spawn(passing("second"), id="p", id_conflict="reject")
        if not ended:
            await gate.open(run)
        assert await run.result() == "first"


async def test_restart_runs_an_ended_run_anew(home: Home) -> None:
    async with home.runtime(echo) as rt:
        assert await (await rt.spawn(echo("first"), id="e")).result() == "first"
        again = await rt.spawn(echo("second"), id="e", id_conflict="restart")
        assert await again.result() == "second"
        assert (await again.describe()).generation == 2
        assert [info.generation for info in await rt.list()] == [2, 1]


@on_both_loops
async def test_restart_terminates_the_run_that_goes_on(home: Home) -> None:
    seen: list[BaseException] = []

    async with home.runtime(passing) as rt, anyio.create_task_group() as group:
        first = await rt.spawn(passing("first"), id="p")
        asked = anyio.Event()

        async def wait_for_the_first() -> None:
            asked.set()
            try:
                await first.result()
            except errors.Terminated as error:
                seen.append(error)

        group.start_soon(wait_for_the_first)
        await asked.wait()
        await first.describe()  # asked for after the result, so the result is waited for
        second = await rt.spawn(passing("second"), id="p", id_conflict="restart")
        assert await second.view(began) == 2
        await gate.open(second)
        assert await second.result() == "second"
        assert [info.status for info in await rt.list()] == ["completed", "terminated"]

    assert [str(error) for error in seen] == ["workflow 'p' was terminated: restarted"]


async def test_restart_stops_the_activity_that_runs(home: Home) -> None:
    running, stopped = anyio.Event(), anyio.Event()

    @activity
    async def endless() -> None:
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    @workflow
    async def job(wait: bool) -> str:
        if wait:
            await endless()
        return "quick"

    async with home.runtime(job) as rt:
        await rt.spawn(job(wait=True), id="j")
        await running.wait()
        again = await rt.spawn(job(wait=False), id="j", id_conflict="restart")
        assert await again.result() == "quick"
        await stopped.wait()


async def test_restart_replaces_a_run_that_has_not_begun(home: Home, clock: ManualClock) -> None:
    async with home.runtime(passing, clock=clock) as rt:
        await rt.spawn(passing("later"), id="p", delay="1h")
        again = await rt.spawn(passing("now"), id="p", id_conflict="restart")
        await gate.open(again)
        assert await again.result() == "now"
        await clock.skip(rt, "2h")
        assert [info.status for info in await rt.list()] == ["completed", "terminated"]


async def test_restart_may_change_the_workflow(home: Home) -> None:
    async with home.runtime(passing, echo) as rt:
        await rt.spawn(passing(), id="x")
        again = await rt.spawn(echo("other"), id="x", id_conflict="restart")
        assert await again.result() == "other"


async def test_messages_of_the_run_that_was_replaced_do_not_reach_the_new_one(home: Home) -> None:
    @workflow
    async def counting() -> int:
        await gate.wait_for_it()
        return note.pending()

    async with home.runtime(counting) as rt:
        first = await rt.spawn(counting(), id="c")
        await first.signal(note, "for the first", id="n1")
        second = await rt.spawn(counting(), id="c", id_conflict="restart")
        assert (await second.signal(note, "for the second", id="n1")).reason == ""
        await gate.open(second)
        assert await second.result() == 1


# Later.


async def test_a_delayed_run_begins_when_its_time_has_come(home: Home, clock: ManualClock) -> None:
    async with home.runtime(passing, clock=clock) as rt:
        run = await rt.spawn(passing(), delay=timedelta(hours=1))
        info = await run.describe()
        assert info.status == "queued"
        assert info.waiting_on == "an engine, from 2030-01-01T01:00:00+00:00"
        await clock.skip(rt, 3599.999)
        assert (await run.describe()).status == "queued"
        assert await run.view(began) is None
        await clock.skip(rt, 0.001)
        assert await run.view(began) == 1
        assert (await run.describe()).status == "waiting"
        await gate.open(run, "on time")
        assert await run.result() == "on time"
        history = await run.history()

    assert history[0].kind == "started"
    assert history[0].at == START + timedelta(hours=1)


async def test_delayed_runs_begin_in_the_order_of_their_times(
    home: Home, clock: ManualClock
) -> None:
    order: list[int] = []

    @activity
    async def mark(number: int) -> None:
        order.append(number)

    @workflow
    async def marking(number: int) -> None:
        await mark(number)

    async with home.runtime(marking, clock=clock) as rt:
        runs = [await rt.spawn(marking(n), delay=60 * n) for n in (3, 1, 2)]
        await clock.skip(rt, "10m")
        for run in runs:
            await run.result()

    assert order == [1, 2, 3]


async def test_a_delayed_run_begins_in_the_next_life(home: Home, clock: ManualClock) -> None:
    async with home.runtime(passing, clock=clock) as rt:
        await rt.spawn(passing("late"), id="p", delay="1h")

    clock.advance("30m")
    async with home.runtime(passing, clock=clock) as rt:
        assert (await rt.describe("p")).status == "queued"
        await clock.skip(rt, "30m")
        assert (await rt.describe("p")).status == "waiting"
        await gate.open(rt.handle("p"))
        assert await rt.handle("p").result() == "late"


async def test_a_message_that_comes_as_a_delayed_run_begins_is_not_lost(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(passing, clock=clock) as rt:
        run = await rt.spawn(passing(), delay="1h")
        clock.advance("1h")  # the engine sees the time and the message in one turn
        await gate.open(run, "just in time")
        with anyio.fail_after(5):
            assert await run.result() == "just in time"


@pytest.mark.parametrize("delay", [-1, "soon", float("nan"), "-5s"])
async def test_a_delay_that_is_no_duration_is_refused(home: Home, delay: Any) -> None:
    async with home.runtime(passing) as rt:
        with pytest.raises(ValueError, match="delay"):
            await rt.spawn(passing(), delay=delay)
        assert await rt.list() == []


# Attributes.


async def test_runs_are_found_by_their_attributes(home: Home) -> None:
    async with home.runtime(echo) as rt:
        await rt.spawn(echo("a"), id="a", attributes={"tenant": "acme", "size": 3})
        await rt.spawn(echo("b"), id="b", attributes={"tenant": "acme", "size": 4, "tag": None})
        await rt.spawn(echo("c"), id="c")

        async def found(attributes: dict[str, Any]) -> list[str]:
            return [info.id for info in await rt.list(attributes=attributes)]

        assert await found({"tenant": "acme"}) == ["b", "a"]
        assert await found({"tenant": "acme", "size": 3}) == ["a"]
        assert await found({"tenant": "none"}) == []
        assert await found({}) == ["c", "b", "a"]
        assert (await rt.describe("b")).attributes == {"tenant": "acme", "size": 4, "tag": None}
        assert (await rt.describe("c")).attributes == {}


async def test_attributes_that_are_not_json_are_refused(home: Home) -> None:
    async with home.runtime(echo) as rt:
        for bad in (object(), float("inf"), {1, object()}):
            with pytest.raises(errors.PayloadInvalid, match="attributes"):
                await rt.spawn(echo("a"), attributes={"bad": bad})
        assert await rt.list() == []


# What is refused.


@pytest.mark.parametrize("id", ["", "x" * 513, "new\nline", "tab\t", 7])
async def test_an_id_that_cannot_name_a_run_is_refused(home: Home, id: Any) -> None:
    async with home.runtime(echo) as rt:
        if id != "":  # like None: no id was given
            with pytest.raises(errors.Misused, match="id "):
                await rt.spawn(echo("a"), id=id)
        with pytest.raises(errors.Misused, match="id "):
            rt.handle(id)
        assert await rt.list() == []


async def test_a_conflict_rule_that_does_not_exist_is_refused(home: Home) -> None:
    async with home.runtime(echo) as rt:
        with pytest.raises(errors.Misused, match="'attach', 'reject', 'restart'"):
            await rt.spawn(echo("a"), id="a", id_conflict="replace")
        assert await rt.list() == []


async def test_arguments_that_do_not_fit_the_function_are_refused(home: Home) -> None:
    async with home.runtime(echo) as rt:
        untyped: Any = echo
        for call in (untyped(), untyped("a", "b"), untyped("a", size=1)):
            with pytest.raises(TypeError, match=r"echo\(\): "):
                await rt.spawn(call)
        assert await rt.list() == []


async def test_arguments_of_another_type_are_refused(home: Home) -> None:
    untyped: Any = echo
    async with home.runtime(echo) as rt:
        for call in (untyped(["not", "text"]), untyped(word=["not", "text"])):
            with pytest.raises(errors.PayloadInvalid, match="is not a str") as refused:
                await rt.spawn(call)
            assert refused.value.where == "argument word of echo"
        assert await rt.list() == []


async def test_arguments_of_another_type_that_came_without_the_code_fail_the_run(
    tmp_path: Path,
) -> None:
    async with Client(tmp_path / "app.db", create=True) as client:
        run = await client.spawn_by_name("echo", '[["not", "text"]]', id="e")
        async with Runtime(tmp_path / "app.db", actors=[echo]):
            with pytest.raises(errors.WorkflowFailed) as failed:
                await run.result()
    assert isinstance(failed.value.cause, errors.PayloadInvalid)
    assert failed.value.cause.where == "argument word of echo"


async def test_a_call_can_be_spawned_once(home: Home) -> None:
    async with home.runtime(echo) as rt:
        call = echo("once")
        assert await (await rt.spawn(call)).result() == "once"
        with pytest.raises(errors.Misused, match="already awaited or spawned"):
            await rt.spawn(call)
        assert len(await rt.list()) == 1


async def test_an_activity_cannot_be_spawned(home: Home) -> None:
    @activity
    async def act() -> None:
        return

    async with home.runtime() as rt:
        with pytest.raises(errors.Misused, match="is an activity"):
            await rt.spawn(act())


# From an activity.


async def test_an_activity_may_spawn_a_run_of_its_own(home: Home) -> None:
    @activity
    async def start() -> str:
        return (await monolite.spawn(passing("independent"), id="p")).id

    @workflow
    async def starting() -> str:
        return await start()

    async with home.runtime(starting, passing) as rt:
        assert await (await rt.spawn(starting())).result() == "p"
        info = await rt.describe("p")
        assert (info.status, info.parent) == ("waiting", None)
        await gate.open(rt.handle("p"))
        assert await rt.handle("p").result() == "independent"


async def test_elsewhere_spawn_needs_a_runtime(home: Home) -> None:
    async with home.runtime(echo) as rt:
        with pytest.raises(errors.Misused, match=r"Runtime\.spawn"):
            await monolite.spawn(echo("a"))
        assert await rt.list() == []


def test_runtime_has_no_settings_that_make_no_sense() -> None:
    with pytest.raises(errors.Misused, match="durability='some'"):
        Runtime(":memory:", durability="some")
    with pytest.raises(errors.Misused, match="max_live"):
        Runtime(":memory:", max_live=0)
    with pytest.raises(ValueError, match="shutdown_grace"):
        Runtime(":memory:", shutdown_grace=-1)


async def test_a_run_may_be_replaced_again_before_the_first_one_has_ended(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with home.runtime(passing) as rt:
        await rt.spawn(passing("1"), id="p")
        with monkeypatch.context() as busy:
            busy.setattr(engine, "CASCADE_MAX", 0)  # the end of the first waits for a later turn
            for n in ("2", "3", "4"):
                await rt.spawn(passing(n), id="p", id_conflict="restart", delay="1ms")
        await gate.open(rt.handle("p"))
        assert await rt.handle("p").result() == "4"
        statuses = [info.status for info in await rt.list()]

    assert statuses == ["completed", "terminated", "terminated", "terminated"]


async def test_a_delayed_run_that_is_spawned_as_another_begins_is_not_forgotten(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(echo, clock=clock) as rt:
        first = await rt.spawn(echo("first"), delay=60)
        clock.advance(60)  # the engine sees the time and the spawn in one turn
        second = await rt.spawn(echo("second"), delay=60)
        assert await first.result() == "first"
        await clock.skip(rt, 60)
        with anyio.fail_after(5):
            assert await second.result() == "second"
