"""`attempt()` in an activity: its number, a key that stays the same, and whose it is."""

from __future__ import annotations

import asyncio

import pytest

from monolite import Retry, activity, attempt, current, errors, step, workflow
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, waits_on
from tests.host.loops import on_both_loops


class Busy(Exception):
    """A failure that another attempt may cure."""


def who() -> list[str | int | bool]:
    a = attempt()
    return [a.name, a.number, a.interrupted, a.workflow_id]


@on_both_loops
async def test_it_says_which_activity_which_attempt_and_whose(home: Home) -> None:
    @activity
    async def on_the_loop() -> list[str | int | bool]:
        return who()

    @activity
    def in_a_thread() -> list[str | int | bool]:
        return who()

    @workflow
    async def curious() -> list[list[str | int | bool]]:
        return [
            await on_the_loop(),
            await in_a_thread(),
            await step("ad hoc", who),
            await on_the_loop().options(name="renamed"),
        ]

    async with home.runtime(curious) as rt:
        run = await rt.spawn(curious(), id="run-1")
        assert await run.result() == [
            ["on_the_loop", 1, False, "run-1"],
            ["in_a_thread", 1, False, "run-1"],
            ["ad hoc", 1, False, "run-1"],
            ["renamed", 1, False, "run-1"],
        ]


async def test_the_key_is_the_same_for_every_attempt_and_for_no_other_activity(home: Home) -> None:
    keys: dict[str, list[str]] = {}

    @activity(retry=Retry(3, first_delay=0))
    async def flaky(name: str) -> None:
        keys.setdefault(name, []).append(attempt().idempotency_key)
        if attempt().number < 3:
            raise Busy

    @workflow
    async def several(name: str) -> None:
        await asyncio.gather(flaky(f"{name} 1"), flaky(f"{name} 2"))

    async with home.runtime(several) as rt:
        for name in ("a", "b"):
            await (await rt.spawn(several(name), id=name)).result()
        await (await rt.spawn(several("c"), id="a", id_conflict="restart")).result()

    assert sorted(keys) == ["a 1", "a 2", "b 1", "b 2", "c 1", "c 2"]
    assert {len(of_one) for of_one in keys.values()} == {3}
    assert {len(set(of_one)) for of_one in keys.values()} == {1}
    assert len({of_one[0] for of_one in keys.values()}) == 6


async def test_the_key_is_the_same_in_the_next_life(home: Home, clock: ManualClock) -> None:
    keys: list[str] = []

    @activity(retry=Retry(first_delay=10))
    async def flaky() -> int:
        keys.append(attempt().idempotency_key)
        if len(keys) == 1:
            raise Busy
        return attempt().number

    @workflow
    async def patient() -> int:
        return await flaky()

    async with home.runtime(patient, clock=clock) as rt:
        await waits_on(await rt.spawn(patient(), id="p"), "attempt 2 at ")

    async with home.runtime(patient, clock=clock) as rt:
        await clock.skip(rt, 20)
        assert await rt.handle("p").result() == 2

    assert len(keys) == 2
    assert len(set(keys)) == 1


async def test_attempts_side_by_side_each_see_their_own(home: Home) -> None:
    everyone = asyncio.Barrier(50)

    @activity
    async def look(name: str) -> bool:
        before = attempt().workflow_id
        await everyone.wait()
        return before == attempt().workflow_id == name

    @workflow
    async def curious() -> bool:
        return await look(current().id)

    async with home.runtime(curious) as rt:
        runs = [await rt.spawn(curious(), id=f"run-{n}") for n in range(50)]
        assert [await run.result() for run in runs] == [True] * 50


async def test_a_workflow_has_no_attempt(home: Home) -> None:
    @workflow
    async def confused() -> None:
        attempt()

    async with home.runtime(confused) as rt:
        run = await rt.spawn(confused())
        with pytest.raises(errors.WorkflowFailed) as failed:
            await run.result()

    assert isinstance(failed.value.cause, errors.Misused)
    assert "monolite.current()" in str(failed.value.cause)


async def test_outside_a_runtime_it_is_a_first_attempt_without_a_key(home: Home) -> None:
    @activity
    async def bare() -> list[str | int | bool]:
        return [*who(), attempt().idempotency_key]

    @workflow
    async def passing() -> None:
        await bare()
        await gate.wait_for_it()

    async with home.runtime(passing) as rt:
        run = await rt.spawn(passing())
        await gate.reached(run)
        assert await bare() == ["", 1, False, "", ""]
