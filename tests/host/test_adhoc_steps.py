"""Steps: a function journaled under a name, without a decorator."""

from __future__ import annotations

import asyncio
import threading

import pytest

from monolite import Retry, activity, attempt, errors, step, workflow
from tests.host import gate
from tests.host.homes import Home
from tests.host.loops import on_both_loops


class Counter:
    """Counts how often it was called, on the loop and in threads."""

    def __init__(self) -> None:
        self.calls = 0
        self.threads: set[str] = set()

    def add(self, a: int, b: int = 1) -> int:
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        return a + b

    async def add_later(self, a: int, *, b: int = 1) -> int:
        return self.add(a, b)


@on_both_loops
async def test_a_step_runs_once_and_its_result_is_kept(home: Home) -> None:
    counter = Counter()

    @workflow
    async def adding() -> list[int]:
        sums = [
            await step("sync", counter.add, 1),
            await step("async", counter.add_later, 10, b=5),
            await step("sync", counter.add, 2, b=2),
        ]
        await gate.wait_for_it()
        return sums

    async with home.runtime(adding) as rt:
        run = await rt.spawn(adding(), id="a")
        await gate.reached(run)

    async with home.runtime(adding) as rt:
        await gate.open(rt.handle("a"))
        assert await rt.handle("a").result() == [2, 15, 4]
        keys = [x.key for x in await rt.handle("a").history() if x.kind == "activity"]

    assert keys == ["sync#1", "async#1", "sync#2"]
    assert counter.calls == 3


async def test_a_plain_function_runs_in_a_thread_and_a_coroutine_on_the_loop(home: Home) -> None:
    sync, coroutine = Counter(), Counter()

    @workflow
    async def adding() -> int:
        return await step("a", sync.add, 1) + await step("b", coroutine.add_later, 1)

    async with home.runtime(adding) as rt:
        assert await (await rt.spawn(adding())).result() == 4

    assert threading.current_thread().name not in sync.threads
    assert coroutine.threads == {threading.current_thread().name}


async def test_a_lambda_will_do(home: Home) -> None:
    @workflow
    async def asking(n: int) -> int:
        doubled = await step("double", lambda: 2 * n)
        return await step("plus one", lambda: doubled + 1)

    async with home.runtime(asking) as rt:
        assert await (await rt.spawn(asking(20))).result() == 41


async def test_a_step_is_an_activity_with_all_its_options(home: Home) -> None:
    numbers: list[int] = []

    def flaky() -> str:
        numbers.append(attempt().number)
        if attempt().number < 3:
            raise ValueError
        return attempt().name

    @workflow
    async def patient() -> str:
        return await step("x", flaky).options(retry=Retry(3, first_delay=0), name="renamed")

    async with home.runtime(patient) as rt:
        assert await (await rt.spawn(patient())).result() == "renamed"

    assert numbers == [1, 2, 3]


async def test_a_step_that_fails_is_an_activity_that_failed(home: Home) -> None:
    def fail() -> None:
        message = "no"
        raise ValueError(message)

    @workflow
    async def failing() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await step("doomed", fail).options(retry=False)
        return f"{caught.value.name}: {caught.value.cause}"

    async with home.runtime(failing) as rt:
        assert await (await rt.spawn(failing())).result() == "doomed: no"


async def test_a_step_that_takes_too_long_times_out(home: Home) -> None:
    @workflow
    async def hurried() -> str:
        with pytest.raises(errors.ActivityTimedOut) as caught:
            await step("endless", asyncio.Event().wait).options(timeout=0.01, retry=False)
        return caught.value.name

    async with home.runtime(hurried) as rt:
        assert await (await rt.spawn(hurried())).result() == "endless"


async def test_steps_run_side_by_side(home: Home) -> None:
    everyone = asyncio.Barrier(10)

    async def meet(n: int) -> int:
        await everyone.wait()
        return n

    @workflow
    async def gathering() -> list[int]:
        return list(await asyncio.gather(*(step("meet", meet, n) for n in range(10))))

    async with home.runtime(gathering) as rt:
        assert await (await rt.spawn(gathering())).result() == list(range(10))


async def test_outside_a_runtime_a_step_just_runs(home: Home) -> None:
    counter = Counter()

    @activity
    async def act() -> int:
        return await step("inner", counter.add, 1)

    @workflow
    async def acting() -> int:
        return await act()

    async with home.runtime(acting) as rt:
        run = await rt.spawn(acting())
        assert await run.result() == 2
        assert [x.key for x in await run.history() if x.kind == "activity"] == ["act#1"]
        assert await step("bare", counter.add, 5) == 6
        assert await step("bare", counter.add_later, 6) == 7
