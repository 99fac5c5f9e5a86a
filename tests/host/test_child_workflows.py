"""Children: runs that a workflow awaits or spawns, and that end with it."""

from __future__ import annotations

import asyncio

import anyio
import pytest

import monolite
from monolite import Handle, activity, errors, workflow
from monolite.host import engine
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops


class Spoilt(Exception):
    """What a child raises."""


monolite.register_exception(Spoilt)


@workflow
async def double(number: int) -> int:
    return 2 * number


@workflow
async def waiting(word: str = "child") -> str:
    return await gate.wait_for_it(word)


@workflow
async def failing() -> None:
    raise Spoilt("milk")


@on_both_loops
async def test_awaiting_a_child_runs_it_and_returns_its_result(home: Home) -> None:
    @workflow
    async def parent() -> int:
        return await double(await double(1)) + await double(10)

    async with home.runtime(parent, double) as rt:
        run = await rt.spawn(parent(), id="p")
        assert await run.result() == 24
        children = await rt.list(parent="p")
        history = await run.history()

    assert [(info.id, info.parent, info.status) for info in children] == [
        ("p/double#3", "p", "completed"),
        ("p/double#2", "p", "completed"),
        ("p/double#1", "p", "completed"),
    ]
    assert [(x.kind, x.key, x.output) for x in history[1:-1]] == [
        ("child", "double#1", 2),
        ("child", "double#2", 4),
        ("child", "double#3", 20),
    ]


async def test_children_run_side_by_side(home: Home) -> None:
    everyone = asyncio.Barrier(20)

    @activity
    async def meet() -> None:
        await everyone.wait()

    @workflow
    async def child(number: int) -> int:
        await meet()
        return number

    @workflow
    async def parent() -> list[int]:
        return list(await asyncio.gather(*(child(n) for n in range(20))))

    async with home.runtime(parent, child) as rt:
        assert await (await rt.spawn(parent())).result() == list(range(20))


async def test_children_may_have_children(home: Home) -> None:
    @workflow
    async def nested(depth: int) -> str:
        if depth == 0:
            return monolite.current().id
        return await nested(depth - 1)

    async with home.runtime(nested) as rt:
        found = await (await rt.spawn(nested(20), id="top")).result()

    assert found == "top" + "/nested#1" * 20


async def test_a_spawned_child_goes_on_beside_its_parent(home: Home) -> None:
    @workflow
    async def parent() -> str:
        child = await monolite.spawn(waiting())
        assert child.id == "p/waiting#1"
        word = await gate.wait_for_it()
        return f"{word}, {await child.result()}, {await child.result()}"

    async with home.runtime(parent, waiting) as rt:
        run = await rt.spawn(parent(), id="p")
        await gate.open(run, "parent")
        await waits_on(run, "child waiting#1")
        await gate.open(rt.handle("p/waiting#1"))
        assert await run.result() == "parent, child, child"


async def test_a_spawned_child_may_have_an_id_of_its_own(home: Home) -> None:
    @workflow
    async def parent() -> str:
        child = await monolite.spawn(waiting(), id="kid")
        return f"{child.id}: {await child.result()}"

    async with home.runtime(parent, waiting) as rt:
        run = await rt.spawn(parent(), id="p")
        assert (await rt.describe("kid")).parent == "p"
        await gate.open(rt.handle("kid"), "grown")
        assert await run.result() == "kid: grown"


async def test_a_child_that_ends_before_it_is_asked_is_heard_later(home: Home) -> None:
    @workflow
    async def parent(id: str | None) -> int:
        child = await monolite.spawn(double(4), id=id)
        await gate.wait_for_it()
        return await child.result()

    async with home.runtime(parent, double) as rt:
        for id in (None, "kid"):
            run = await rt.spawn(parent(id))
            await gate.open(run)
            assert await run.result() == 8


# Detached.


@pytest.mark.parametrize("id", [None, "kid"])
async def test_a_detached_child_outlives_its_parent(home: Home, id: str | None) -> None:
    @workflow
    async def parent() -> str:
        return (await monolite.spawn(waiting(), id=id, detached=True)).id

    async with home.runtime(parent, waiting) as rt:
        child_id = await (await rt.spawn(parent(), id="p")).result()
        info = await rt.describe(child_id)
        assert info.status == "waiting"
        assert info.parent == "p"
        await gate.open(rt.handle(child_id))
        assert await rt.handle(child_id).result() == "child"


@pytest.mark.parametrize("id", [None, "kid"])
async def test_the_result_of_a_detached_child_can_be_awaited(home: Home, id: str | None) -> None:
    @workflow
    async def parent() -> list[str]:
        child = await monolite.spawn(waiting(), id=id, detached=True)
        return [await child.result(), await child.result()]

    async with home.runtime(parent, waiting) as rt:
        run = await rt.spawn(parent(), id="p")
        await waits_on(run, "result ")
        await gate.open(rt.handle(id or "p/waiting#1"))
        assert await run.result() == ["child", "child"]


@pytest.mark.parametrize("id", [None, "kid"])
async def test_a_detached_child_is_not_cancelled_with_its_parent(
    home: Home, id: str | None
) -> None:
    @workflow
    async def parent() -> None:
        child = await monolite.spawn(waiting(), id=id, detached=True)
        await child.result()

    async with home.runtime(parent, waiting) as rt:
        run = await rt.spawn(parent(), id="p")
        await run.cancel()
        with pytest.raises(errors.Cancelled):
            await run.result()
        child = rt.handle(id or "p/waiting#1")
        await gate.open(child)
        assert await child.result() == "child"


# Ends.


@on_both_loops
async def test_a_child_is_cancelled_with_its_parent(home: Home) -> None:
    stopped = anyio.Event()

    @activity
    async def endless() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    @workflow
    async def child() -> None:
        await endless()

    @workflow
    async def parent() -> None:
        await child()

    async with home.runtime(parent, child) as rt:
        run = await rt.spawn(parent(), id="p")
        await waits_on(rt.handle("p/child#1"), "running endless")
        await run.cancel("no more")
        with pytest.raises(errors.Cancelled, match="no more"):
            await run.result()
        with pytest.raises(errors.Cancelled, match="its parent no longer waits for it"):
            await rt.handle("p/child#1").result()
        await stopped.wait()


@pytest.mark.parametrize("end", ["returns", "raises", "terminated"])
@pytest.mark.parametrize("id", [None, "kid"])
async def test_a_child_that_is_left_is_cancelled_at_its_parent_s_end(
    home: Home, id: str | None, end: str
) -> None:
    @workflow
    async def parent() -> str:
        await monolite.spawn(waiting(), id=id)
        await gate.wait_for_it()
        if end == "raises":
            raise Spoilt
        return "done"

    async with home.runtime(parent, waiting) as rt:
        run = await rt.spawn(parent(), id="p")
        child = rt.handle(id or "p/waiting#1")
        await gate.reached(child)
        if end == "terminated":
            await run.terminate()
        else:
            await gate.open(run)
        with pytest.raises(errors.Cancelled, match="no longer waits"):
            await child.result()
        assert (await run.describe()).status == {
            "returns": "completed",
            "raises": "failed",
            "terminated": "terminated",
        }[end]


async def test_a_child_spawned_in_its_parent_s_last_words_is_cancelled_too(home: Home) -> None:
    @workflow
    async def parent() -> str:
        await monolite.spawn(waiting(), id="kid")
        return "done"

    async with home.runtime(parent, waiting) as rt:
        assert await (await rt.spawn(parent())).result() == "done"
        with pytest.raises(errors.Cancelled):
            await rt.handle("kid").result()


async def test_a_time_limit_of_the_parent_cancels_the_child(home: Home) -> None:
    @workflow
    async def parent() -> str:
        try:
            async with asyncio.timeout(0.01):
                return await waiting()
        except TimeoutError:
            return "gave up"

    async with home.runtime(parent, waiting) as rt:
        assert await (await rt.spawn(parent(), id="p")).result() == "gave up"
        with pytest.raises(errors.Cancelled):
            await rt.handle("p/waiting#1").result()


async def test_giving_up_a_wait_for_a_spawned_child_leaves_it_be(home: Home) -> None:
    @workflow
    async def parent() -> str:
        child = await monolite.spawn(waiting(), id="kid")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await child.result()
        await gate.wait_for_it()
        return await child.result()

    async with home.runtime(parent, waiting) as rt:
        run = await rt.spawn(parent())
        await gate.reached(run)
        await gate.reached(rt.handle("kid"))
        await gate.open(rt.handle("kid"))
        await gate.open(run)
        assert await run.result() == "child"


@pytest.mark.parametrize("how", ["awaited", "spawned", "spawned with an id", "detached"])
async def test_a_failing_child_raises_workflow_failed_with_its_cause(home: Home, how: str) -> None:
    async def run_child() -> None:
        if how == "awaited":
            return await failing()
        id = "kid" if how == "spawned with an id" else None
        child = await monolite.spawn(failing(), id=id, detached=how == "detached")
        return await child.result()

    @workflow
    async def parent() -> str:
        with pytest.raises(errors.WorkflowFailed) as caught:
            await run_child()
        assert caught.value.__cause__ is caught.value.cause
        return f"{caught.value.id}: {caught.value.cause!r}"

    async with home.runtime(parent, failing) as rt:
        found = await (await rt.spawn(parent(), id="p")).result()

    id = "kid" if how == "spawned with an id" else "p/failing#1"
    assert found == f"{id}: Spoilt('milk')"


async def test_a_failing_child_fails_a_parent_that_does_not_catch_it(home: Home) -> None:
    @workflow
    async def parent() -> None:
        await failing()

    async with home.runtime(parent, failing) as rt:
        run = await rt.spawn(parent(), id="p")
        with pytest.raises(errors.WorkflowFailed) as failed:
            await run.result()

    assert failed.value.id == "p"
    below = failed.value.cause
    assert isinstance(below, errors.WorkflowFailed)
    assert below.id == "p/failing#1"
    assert isinstance(below.cause, Spoilt)


async def test_a_failing_child_that_nobody_asks_about_fails_nobody(home: Home) -> None:
    @workflow
    async def parent() -> str:
        await monolite.spawn(failing(), id="kid")
        return await gate.wait_for_it()

    async with home.runtime(parent, failing) as rt:
        run = await rt.spawn(parent())
        with pytest.raises(errors.WorkflowFailed):
            await rt.handle("kid").result()
        await gate.open(run, "unmoved")
        assert await run.result() == "unmoved"


@pytest.mark.parametrize("end", ["cancel", "terminate", "restart"])
async def test_a_child_that_is_ended_from_outside_says_so_to_its_parent(
    home: Home, end: str
) -> None:
    @workflow
    async def parent() -> str:
        with pytest.raises((errors.Cancelled, errors.Terminated)) as caught:
            await waiting()
        return str(caught.value)

    async with home.runtime(parent, waiting) as rt:
        run = await rt.spawn(parent(), id="p")
        child = rt.handle("p/waiting#1")
        await gate.reached(child)
        if end == "cancel":
            await child.cancel("enough")
        elif end == "terminate":
            await child.terminate("enough")
        else:
            await rt.spawn(waiting(), id="p/waiting#1", id_conflict="restart")
        found = await run.result()

    word = {"cancel": "cancelled: enough", "terminate": "terminated: enough"}
    assert found == f"workflow 'p/waiting#1' was {word.get(end, 'terminated: restarted')}"


async def test_a_parent_may_cancel_and_terminate_its_children(home: Home) -> None:
    @workflow
    async def parent() -> list[str]:
        first, second = await monolite.spawn(waiting()), await monolite.spawn(waiting())
        assert (await first.cancel("one")).accepted
        assert (await second.terminate("two")).accepted
        with pytest.raises(errors.Cancelled) as cancelled:
            await first.result()
        with pytest.raises(errors.Terminated) as terminated:
            await second.result()
        again = await first.cancel()
        return [cancelled.value.reason, terminated.value.reason, again.reason]

    async with home.runtime(parent, waiting) as rt:
        assert await (await rt.spawn(parent())).result() == [
            "one",
            "two",
            "the run has been cancelled",
        ]


# Runs that exist.


@pytest.mark.parametrize("ended", [False, True])
async def test_a_spawn_joins_a_run_that_exists_and_gets_its_result(home: Home, ended: bool) -> None:
    @workflow
    async def joining() -> list[str]:
        there = await monolite.spawn(waiting("mine"), id="there")
        return [await there.result(), await there.result()]

    async with home.runtime(joining, waiting) as rt:
        there = await rt.spawn(waiting("theirs"), id="there")
        if ended:
            await gate.open(there)
            await there.result()
        run = await rt.spawn(joining())
        if not ended:
            await waits_on(run, "result result:there#1")
            await gate.open(there)
        assert await run.result() == ["theirs", "theirs"]
        assert (await there.describe()).parent is None


async def test_a_run_that_was_joined_outlives_who_joined_it(home: Home) -> None:
    @workflow
    async def joining() -> str:
        there = await monolite.spawn(waiting(), id="there")
        return await there.result()

    async with home.runtime(joining, waiting) as rt:
        there = await rt.spawn(waiting(), id="there")
        run = await rt.spawn(joining())
        await waits_on(run, "result ")
        await run.cancel()
        with pytest.raises(errors.Cancelled):
            await run.result()
        await gate.open(there)
        assert await there.result() == "child"


async def test_a_spawn_may_reject_a_run_that_exists(home: Home) -> None:
    @workflow
    async def rejecting() -> str:
        with pytest.raises(errors.AlreadyExists) as caught:
            await monolite.spawn(waiting(), id="there", id_conflict="reject")
        return str(caught.value)

    async with home.runtime(rejecting, waiting) as rt:
        await rt.spawn(waiting(), id="there")
        assert "'there' exists" in await (await rt.spawn(rejecting())).result()


async def test_a_spawn_may_restart_a_run_that_exists(home: Home) -> None:
    @workflow
    async def restarting() -> str:
        there = await monolite.spawn(waiting("anew"), id="there", id_conflict="restart")
        return await there.result()

    async with home.runtime(restarting, waiting) as rt:
        await rt.spawn(waiting(), id="there")
        run = await rt.spawn(restarting(), id="r")
        await gate.open(rt.handle("there"))
        assert await run.result() == "anew"
        info = await rt.describe("there")
        assert (info.generation, info.parent) == (2, "r")


async def test_several_workflows_wait_for_one_result(home: Home) -> None:
    @workflow
    async def joining() -> str:
        return await (await monolite.spawn(waiting(), id="there")).result()

    async with home.runtime(joining, waiting) as rt:
        there: Handle[str] = await rt.spawn(waiting("ours"), id="there")
        runs = [await rt.spawn(joining()) for _ in range(10)]
        for run in runs:
            await waits_on(run, "result ")
        await gate.open(there)
        assert [await run.result() for run in runs] == ["ours"] * 10


# Lives.


@pytest.mark.parametrize("how", ["awaited", "spawned", "spawned with an id", "detached", "joined"])
async def test_parent_and_child_find_each_other_in_the_next_life(home: Home, how: str) -> None:
    @workflow
    async def parent() -> str:
        if how == "awaited":
            return await waiting()
        child = await monolite.spawn(
            waiting(),
            id="kid" if how in ("spawned with an id", "joined") else None,
            detached=how == "detached",
        )
        return await child.result()

    child_id = "kid" if how in ("spawned with an id", "joined") else "p/waiting#1"
    async with home.runtime(parent, waiting) as rt:
        if how == "joined":
            await rt.spawn(waiting(), id="kid")
        await rt.spawn(parent(), id="p")

    async with home.runtime(parent, waiting) as rt:
        await gate.open(rt.handle(child_id), "after all")
        assert await rt.handle("p").result() == "after all"
        assert len(await rt.list()) == 2


# Code that is missing.


@pytest.mark.parametrize("how", ["awaited", "spawned", "spawned with an id"])
async def test_a_child_whose_code_is_not_here_is_refused(home: Home, how: str) -> None:
    async def run_child() -> str:
        if how == "awaited":
            return await waiting()
        id = "kid" if how == "spawned with an id" else None
        return await (await monolite.spawn(waiting(), id=id)).result()

    @workflow
    async def parent() -> str:
        with pytest.raises(errors.UnknownWorkflow) as caught:
            await run_child()
        return str(caught.value)

    async with home.runtime(parent) as rt:
        found = await (await rt.spawn(parent())).result()
        assert len(await rt.list()) == 1

    assert "no code for workflow 'waiting' here (there is code for: parent)" in found


async def test_a_detached_child_with_an_id_whose_code_is_not_here_is_refused(home: Home) -> None:
    @workflow
    async def parent() -> None:
        await monolite.spawn(waiting(), id="kid", detached=True)

    async with home.runtime(parent) as rt:
        run = await rt.spawn(parent())
        with pytest.raises(errors.WorkflowFailed, match="no code for workflow 'waiting' here"):
            await run.result()
        assert len(await rt.list()) == 1


async def test_a_detached_child_without_an_id_waits_for_its_code(home: Home) -> None:
    @workflow
    async def parent() -> str:
        return (await monolite.spawn(waiting(), detached=True)).id

    async with home.runtime(parent) as rt:
        child_id = await (await rt.spawn(parent())).result()
        info = await rt.describe(child_id)
        assert (info.status, info.waiting_on) == ("waiting", "no code for 'waiting'")

    async with home.runtime(waiting) as rt:
        await gate.open(rt.handle(child_id), "found")
        assert await rt.handle(child_id).result() == "found"


async def test_a_run_that_ends_in_the_very_turn_in_which_its_result_is_asked_for_is_heard(
    home: Home,
) -> None:
    @workflow
    async def asking() -> str:
        child = await monolite.spawn(waiting(), detached=True)
        answer = asyncio.ensure_future(child.result())
        await asyncio.sleep(0)
        await gate.open(child, "in time")
        return await answer

    async with home.runtime(asking, waiting) as rt:
        with anyio.fail_after(5):
            assert await (await rt.spawn(asking())).result() == "in time"


async def test_ends_that_wait_for_the_next_turn_are_heard_in_the_next_life(
    home: Home, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = anyio.Event()

    @activity
    async def work() -> str:
        await go.wait()
        return "done"

    @workflow
    async def child() -> str:
        return await work()

    @workflow
    async def parent() -> str:
        return await child()

    @workflow
    async def asking() -> str:
        return await (await monolite.spawn(child(), id="kid")).result()

    @workflow
    async def ending() -> str:
        await monolite.spawn(waiting(), id="left")
        return await work()

    actors = (parent, child, asking, ending, waiting)
    async with home.runtime(*actors, clock=clock) as rt:
        await rt.spawn(child(), id="kid")
        for definition in (parent, asking, ending):
            await rt.spawn(definition(), id=definition.name)
        await waits_on(rt.handle("parent/child#1"), "running work")
        for _ in range(3):
            await clock.skip(rt, 2)  # by now every row says what its run waits for
        monkeypatch.setattr(engine, "CASCADE_MAX", 0)
        go.set()
        for id in ("parent/child#1", "kid", "ending"):
            assert await rt.handle(id).result() == "done"
        assert (await rt.describe("parent")).status == "waiting"

    monkeypatch.undo()
    async with home.runtime(*actors, clock=clock) as rt:
        with anyio.fail_after(5):
            assert await rt.handle("parent").result() == "done"
            assert await rt.handle("asking").result() == "done"
            assert (await ended(rt.handle("left"))).status == "cancelled"
