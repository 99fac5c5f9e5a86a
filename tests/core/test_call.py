"""Calls: values until they are awaited; coroutines for whoever takes one."""

from __future__ import annotations

import asyncio
import gc
import inspect
import warnings
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

import monolite
from monolite import Call, Retry, Runtime, Signal, activity, errors, step, workflow
from monolite.core.call import Options
from tests.core.play import Stage

notes = Signal("notes", str)


@activity(timeout="10s", retry=Retry(3))
async def double(number: int, *, plus: int = 0) -> int:
    return 2 * number + plus


@activity
def triple(number: int) -> int:
    return 3 * number


@workflow
async def six_times(number: int) -> int:
    return await triple(await double(number))


def test_a_call_holds_its_definition_arguments_and_options() -> None:
    call = double(4, plus=1)
    assert (call.definition, call.args, call.kwargs) == (double, (4,), {"plus": 1})
    assert call.opts == Options(timeout_s=10.0, retry=Retry(3))
    assert call.name == "double"
    assert repr(call) == "double(4, plus=1)"
    call.close()


def test_a_call_is_a_coroutine() -> None:
    call = double(1)
    assert isinstance(call, Coroutine)
    assert asyncio.iscoroutine(call)
    assert inspect.isawaitable(call)
    call.close()


def test_options_give_a_changed_copy() -> None:
    call = double(1)
    changed = call.options(timeout="1m", retry=False, name="twice", at_most_once=True)
    assert changed.opts == Options(
        timeout_s=60.0, retry=Retry(1), name="twice", at_most_once=True, run_in="thread"
    )
    assert (changed.definition, changed.args, changed.kwargs) == (double, (1,), {})
    assert changed.name == "twice"
    assert call.opts == Options(timeout_s=10.0, retry=Retry(3))
    again = changed.options(timeout=5)
    assert again.opts == Options(
        timeout_s=5.0, retry=Retry(1), name="twice", at_most_once=True, run_in="thread"
    )
    again.close()


def test_a_call_whose_options_were_changed_need_not_be_awaited_itself() -> None:
    double(1).options(retry=2).close()
    gc.collect()


async def test_a_call_that_was_copied_from_can_still_be_awaited() -> None:
    call = double(1)
    changed = call.options(retry=2)
    assert [await call, await changed] == [2, 2]
    with pytest.raises(errors.Misused, match="was already awaited"):
        await call
    call.options(retry=3).close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout": "soon"}, "timeout 'soon' is not a duration"),
        ({"heartbeat": "soon"}, "heartbeat 'soon' is not a duration"),
        ({"schedule_to_start": -1}, "schedule_to_start must be zero or more"),
        ({"schedule_to_close": -1}, "schedule_to_close must be zero or more"),
        ({"timeout": -1}, "timeout must be zero or more"),
        ({"retry": 0}, "max_attempts must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        double(1).options(**options)


def test_a_dropped_call_warns_as_a_coroutine_does() -> None:
    with pytest.warns(RuntimeWarning, match=r"^double\(1, plus=2\) was never awaited or spawned$"):
        double(1, plus=2)


def test_a_call_that_was_closed_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        double(1).close()
        gc.collect()


def test_a_long_call_is_shown_short() -> None:
    call = double("x" * 10_000)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert len(repr(call)) < 220
    assert repr(call).endswith("...)")
    call.close()


# Outside any runtime it just runs the function.


async def test_outside_a_runtime_a_call_runs_its_function() -> None:
    assert await double(4, plus=1) == 9
    assert await triple(2) == 6
    assert await six_times(2) == 12
    assert await step("price", len, "abc") == 3


async def test_the_raw_function_is_at_hand() -> None:
    assert triple.fn(3) == 9
    assert await double.fn(3) == 6


async def test_an_exception_comes_as_it_is() -> None:
    @activity
    async def broken() -> None:
        msg = "no"
        raise KeyError(msg)

    with pytest.raises(KeyError, match="no"):
        await broken()


async def test_what_an_activity_asks_of_its_attempt_has_an_answer_outside() -> None:
    @activity
    async def curious() -> list[object]:
        attempt = monolite.attempt()
        return [attempt.number, attempt.idempotency_key, attempt.interrupted, attempt.workflow_id]

    assert await curious() == [1, "", False, ""]


async def test_asyncio_takes_calls_outside_too() -> None:
    assert list(await asyncio.gather(double(1), triple(1))) == [2, 3]
    assert await asyncio.wait_for(double(1), 5) == 2
    async with asyncio.TaskGroup() as group:
        task = group.create_task(double(3))
    assert task.result() == 6


def test_anyio_and_trio_take_calls_outside_too() -> None:
    found: list[int] = []

    async def main() -> None:
        async def keep(call: Call[int]) -> None:
            found.append(await call)

        async with anyio.create_task_group() as group:
            group.start_soon(keep, double(1))
            group.start_soon(triple, 1)

    anyio.run(main, backend="trio")
    anyio.run(main, backend="asyncio")
    assert found == [2, 2]


async def test_a_call_is_used_once() -> None:
    call = double(1)
    assert await call == 2
    with pytest.raises(errors.Misused, match=r"^double\(1\) was already awaited or spawned; make"):
        await call
    with pytest.raises(errors.Misused):
        await asyncio.gather(call)


async def test_a_cancelled_call_ends_as_a_coroutine_would() -> None:
    started: list[int] = []

    @activity
    async def waiting() -> None:
        started.append(1)
        await asyncio.Event().wait()

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    never = asyncio.create_task(waiting())
    never.cancel()
    with pytest.raises(asyncio.CancelledError):
        await never
    assert started == [1]
    gc.collect()


def test_throwing_into_a_call_that_never_started_ends_it() -> None:
    with pytest.raises(KeyError, match="no"):
        double(1).throw(KeyError("no"))
    with pytest.raises(KeyError):
        double(1).throw(KeyError)
    with pytest.raises(KeyError, match="no"):
        double(1).throw(KeyError, KeyError("no"))


# In a workflow.


def test_asyncio_takes_calls_in_a_workflow(stage: Stage) -> None:
    @workflow
    async def taking() -> list[int]:
        found = list(await asyncio.gather(double(1), triple(1)))
        found.append(await asyncio.wait_for(double(2), 5))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(double(3))
        found.append(task.result())
        found.append(await asyncio.ensure_future(double(4)))
        found.append(await asyncio.shield(triple(4)))
        found += [await one for one in asyncio.as_completed([double(5), triple(5)])]
        done, _ = await asyncio.wait({asyncio.create_task(double(6))})
        return [*found, done.pop().result()]

    def answer(operation: Any) -> int:
        factor = 2 if operation.call.definition is double else 3
        return factor * int(operation.call.args[0])

    play = stage.start(taking()).to_the_end(answer)
    assert play.result == [2, 3, 4, 6, 8, 12, 10, 15, 12]
    play.all_seen()


def test_anyio_takes_calls_in_a_workflow(stage: Stage) -> None:
    @workflow
    async def taking() -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(double, 1)
            group.start_soon(triple, 1)
        return "done"

    play = stage.start(taking()).asks("activity double#1(1)", "activity triple#1(1)")
    play.answer("double#1", 2).answer("triple#1", 3).completes("done")


def test_a_call_is_used_once_in_a_workflow_too(stage: Stage) -> None:
    @workflow
    async def twice() -> str:
        call = double(1)
        await call
        try:
            await call
        except errors.Misused as misused:
            return str(misused)
        return "nothing stopped it"

    play = stage.start(twice()).asks("activity double#1(1)").answer("double#1", 2)
    play.completes("double(1) was already awaited or spawned; make a new call to await it again")


def test_making_a_call_asks_nothing_until_it_is_awaited(stage: Stage) -> None:
    @workflow
    async def lazy() -> int:
        later = double(1)
        await notes.receive()
        return await later

    play = stage.start(lazy()).asks().signal("notes", "go").asks("activity double#1(1)")
    play.answer("double#1", 2).completes(2)


def test_an_activity_is_no_run(stage: Stage) -> None:
    @workflow
    async def confused() -> str:
        try:
            await monolite.spawn(double(1))
        except errors.Misused as misused:
            return str(misused)
        return "nothing stopped it"

    stage.start(confused()).completes("double(1) is an activity; spawn takes a call of a @workflow")


async def test_a_call_that_was_refused_by_spawn_does_not_warn() -> None:
    async with Runtime(":memory:", actors=[six_times]) as rt:
        with pytest.raises(errors.Misused, match="spawn takes a call of a @workflow"):
            await rt.spawn(double(1))
        with pytest.raises(TypeError, match=r"^six_times\(\): missing a required argument"):
            await rt.spawn(six_times())  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
        call = six_times(1)
        handle = await rt.spawn(call)
        assert await handle.result() == 6
        with pytest.raises(errors.Misused, match="make a new call to spawn it again"):
            await rt.spawn(call)
        gc.collect()


# Definitions.


def test_a_definition_knows_its_name_and_function() -> None:
    @activity(name="other")
    def named() -> None:
        """What it does."""

    assert (named.name, named.__doc__, named.fn.__name__) == ("other", "What it does.", "named")
    assert (repr(named), repr(six_times)) == ("<activity other>", "<workflow six_times>")


def test_a_workflow_must_be_async() -> None:
    with pytest.raises(TypeError, match="@workflow needs an `async def`, 'plain' is not one"):

        @workflow  # type: ignore[arg-type] # pyright: ignore[reportArgumentType, reportUntypedFunctionDecorator]
        def plain() -> None: ...


def test_a_place_to_run_that_does_not_exist_is_refused() -> None:
    with pytest.raises(errors.Misused, match="run_in='moon' is not available"):
        activity(run_in="moon")


def test_a_callable_object_can_be_an_activity() -> None:
    class Greeter:
        def __call__(self, name: str) -> str:
            return f"hello {name}"

    greet = activity(name="greet")(Greeter())
    assert greet.name == "greet"
    assert asyncio.run(_awaited(greet("you"))) == "hello you"


async def _awaited(call: Call[Any]) -> Any:
    return await call


def test_a_heartbeat_is_refused_where_nobody_would_hear_it() -> None:
    with pytest.raises(errors.Misused, match="not heard from a process"):
        activity(run_in="process", heartbeat="5s")
