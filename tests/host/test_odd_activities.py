"""Whatever an activity raises or returns, the engine goes on."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import anyio
import pytest

from monolite import activity, attempt, errors, workflow
from tests.host.homes import Home
from tests.host.loops import on_both_loops


class Odd(BaseException):
    """Not an Exception."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        msg = "no words"
        raise ValueError(msg)

    __repr__ = __str__


class Demanding(Exception):
    def __init__(self, *, must: str) -> None:
        super().__init__(must)


def recurse() -> int:
    return recurse() + 1


def raising(error: BaseException | type[BaseException]) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


def leave() -> NoReturn:
    sys.exit(3)


ODDITIES: dict[str, tuple[Callable[[], Any], str]] = {
    "KeyboardInterrupt": (raising(KeyboardInterrupt("stop")), "KeyboardInterrupt: stop"),
    "SystemExit": (leave, "SystemExit: 3"),
    "GeneratorExit": (raising(GeneratorExit("odd")), "GeneratorExit: odd"),
    "CancelledError": (
        raising(asyncio.CancelledError("me")),
        "asyncio.exceptions.CancelledError: me",
    ),
    "StopIteration": (raising(StopIteration(3)), "RuntimeError: coroutine raised StopIteration"),
    "StopAsyncIteration": (raising(StopAsyncIteration(3)), "StopAsyncIteration: 3"),
    "BaseException": (raising(Odd("odd")), "test_odd_activities.Odd: odd"),
    "a group": (
        raising(BaseExceptionGroup("all", [KeyError("a"), Odd("b")])),
        "BaseExceptionGroup: all (2 sub-exceptions)",
    ),
    "no text": (
        raising(Unspeakable),
        "test_odd_activities.Unspeakable: <its __str__ raised ValueError>",
    ),
    "wants more": (raising(Demanding(must="x")), "test_odd_activities.Demanding: x"),
    "recursion": (recurse, "RecursionError: maximum recursion depth exceeded"),
    "our own": (
        raising(errors.FileOwned("a.db", "process 3")),
        "monolite.errors.FileOwned: a.db is",
    ),
    "not JSON": (object, "monolite.errors.PayloadInvalid: result of odd: cannot be"),
    "nan": (lambda: float("nan"), "monolite.errors.PayloadInvalid: result of odd: $ is nan"),
    "surrogates": (lambda: "\ud800", "monolite.errors.PayloadInvalid: result of odd: contains"),
    "huge message": (raising(ValueError("x" * 5_000_000)), "ValueError: xxx"),
    "huge result": (
        lambda: "x" * 20_000_000,
        "monolite.errors.PayloadInvalid: result of odd: is 20",
    ),
}

per_oddity = pytest.mark.parametrize("name", ODDITIES)


@activity(retry=False)
async def odd(name: str) -> Any:
    return ODDITIES[name][0]()


@activity(name="odd", retry=False)
def odd_in_a_thread(name: str) -> Any:
    return ODDITIES[name][0]()


@activity(name="odd", retry=False)
async def odd_after_waiting(name: str) -> Any:
    await anyio.sleep(0)
    return ODDITIES[name][0]()


@activity(name="odd", retry=False, timeout="1m")
async def odd_with_a_limit(name: str) -> Any:
    return ODDITIES[name][0]()


WAYS = [odd, odd_in_a_thread, odd_after_waiting, odd_with_a_limit]


@workflow
async def tries(way: int, name: str) -> str:
    try:
        return f"returned {await WAYS[way](name)}"
    except errors.ActivityFailed as failed:
        cause = failed.cause
        if isinstance(cause, errors.RemoteError):
            return str(cause)[:200]
        module = type(cause).__module__
        prefix = "" if module == "builtins" else f"{module}."
        return f"{prefix}{type(cause).__name__}: {cause}"[:200]


@workflow
async def fine() -> str:
    return "fine"


@per_oddity
@on_both_loops
async def test_what_it_raises_or_returns_reaches_the_workflow(name: str) -> None:
    home = Home(None)
    async with home.runtime(tries, fine) as rt:
        for way in range(len(WAYS)):
            handle = await rt.spawn(tries(way, name))
            with anyio.fail_after(5):
                found = await handle.result()
            expected = ODDITIES[name][1]
            assert found.startswith(expected), WAYS[way].fn.__name__
        assert await (await rt.spawn(fine())).result() == "fine"


@workflow
async def odd_itself(name: str) -> Any:
    await anyio.sleep(0)
    return ODDITIES[name][0]()


@per_oddity
@on_both_loops
async def test_a_workflow_may_be_odd_itself(name: str) -> None:
    home = Home(None)
    async with home.runtime(odd_itself, fine) as rt:
        handle = await rt.spawn(odd_itself(name))
        with pytest.raises(errors.MonoliteError) as caught:
            await handle.result()
        if name == "CancelledError":
            assert isinstance(caught.value, errors.Cancelled)
        else:
            assert isinstance(caught.value, errors.WorkflowFailed)
            assert (await handle.describe()).status == "failed"
        assert await (await rt.spawn(fine())).result() == "fine"


@on_both_loops
async def test_an_activity_may_cancel_itself(home: Home) -> None:
    @activity(retry=False)
    async def cancels_itself() -> str:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep(1)
        return "cancelled itself"

    @workflow
    async def asks() -> list[str]:
        return [await cancels_itself() for _ in range(3)]

    async with home.runtime(asks) as rt:
        assert await (await rt.spawn(asks())).result() == ["cancelled itself"] * 3


async def test_an_activity_may_cancel_its_task() -> None:
    @activity(retry=False)
    async def cancels_its_task() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    @activity(retry=False, timeout="5s")
    async def goes_on() -> str:
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return "fine"

    @workflow
    async def asks() -> list[str]:
        found: list[str] = []
        for _ in range(3):
            try:
                await cancels_its_task()
            except errors.ActivityFailed as failed:
                found.append(str(failed.cause).partition(":")[0])
            found.append(await goes_on())
        return found

    async with Home(None).runtime(asks) as rt:
        found = await (await rt.spawn(asks())).result()
        assert found == ["asyncio.exceptions.CancelledError", "fine"] * 3


tint: contextvars.ContextVar[str] = contextvars.ContextVar("tint", default="none")


@on_both_loops
async def test_context_variables_do_not_leak_from_one_activity_to_the_next(home: Home) -> None:
    @activity
    async def paint(colour: str) -> str:
        before = tint.get()
        tint.set(colour)
        return before

    @activity
    def paint_in_a_thread(colour: str) -> str:
        before = tint.get()
        tint.set(colour)
        return before

    @workflow
    async def painting() -> list[str]:
        return [
            await paint("red"),
            await paint("blue"),
            await paint_in_a_thread("green"),
            await paint("black"),
            tint.get(),
        ]

    async with home.runtime(painting) as rt:
        assert await (await rt.spawn(painting())).result() == ["none"] * 5


@on_both_loops
async def test_a_hundred_odd_activities_at_once_do_not_disturb_a_hundred_others(home: Home) -> None:
    @activity(retry=False)
    async def sometimes(number: int) -> int:
        await anyio.sleep(0)
        if number % 2:
            raise Odd(number)
        assert attempt().number == 1
        return number

    @workflow
    async def asks(number: int) -> int:
        try:
            return await sometimes(number)
        except errors.ActivityFailed:
            return -1

    async with home.runtime(asks) as rt:
        handles = [await rt.spawn(asks(number)) for number in range(200)]
        found = [await handle.result() for handle in handles]
    assert found == [-1 if number % 2 else number for number in range(200)]
