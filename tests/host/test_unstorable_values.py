"""Values that cannot be stored fail the one call; what shares its commit goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

import monolite
from monolite import Signal, View, activity, attempt, errors, step, workflow
from monolite.core.payload import PAYLOAD_BYTES_MAX
from tests.host import gate
from tests.host.homes import Home
from tests.host.loops import on_both_loops

CROWD = 100
ODD = 42
"""The one of the crowd that is different."""

value: Signal[Any] = Signal("value")
seen: View[Any] = View("seen")


class Opaque:
    """Not JSON."""


def endless() -> list[Any]:
    holds_itself: list[Any] = []
    holds_itself.append(holds_itself)
    return holds_itself


UNSTORABLE: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "nan within": {"a": [1, 2, {"b": float("nan")}]},
    "beyond 64 bits": 2**64,
    "an object": Opaque(),
    "a set of objects": {Opaque()},
    "a lone surrogate": "\ud800",
    "a list that holds itself": endless(),
    "too large": "x" * PAYLOAD_BYTES_MAX,
    "a class": Opaque,
    "a function": endless,
}
unstorable = pytest.mark.parametrize("what", UNSTORABLE)


@workflow
async def echo(given: Any) -> Any:
    return given


@unstorable
async def test_an_argument_is_refused_at_the_spawn_and_nothing_is_stored(
    home: Home, what: str
) -> None:
    async with home.runtime(echo) as rt:
        with pytest.raises(errors.PayloadInvalid, match="arguments of echo"):
            await rt.spawn(echo(UNSTORABLE[what]), id="e")
        assert await rt.list() == []
        assert await (await rt.spawn(echo("fine"), id="e")).result() == "fine"


@unstorable
async def test_a_message_is_refused_at_its_sender_and_nothing_is_stored(
    home: Home, what: str
) -> None:
    @workflow
    async def listening() -> Any:
        return await value.receive()

    async with home.runtime(listening) as rt:
        run = await rt.spawn(listening())
        with pytest.raises(errors.PayloadInvalid, match="signal value"):
            await run.signal(value, UNSTORABLE[what], id="one")
        assert (await run.signal(value, "fine", id="one")).reason == ""
        assert await run.result() == "fine"


@unstorable
async def test_the_result_of_a_workflow_fails_it(home: Home, what: str) -> None:
    @workflow
    async def returning() -> Any:
        return UNSTORABLE[what]

    async with home.runtime(returning) as rt:
        run = await rt.spawn(returning())
        with pytest.raises(errors.WorkflowFailed) as failed:
            await run.result()

    assert isinstance(failed.value.cause, errors.PayloadInvalid)
    assert failed.value.cause.where == "result of workflow returning"


@unstorable
@pytest.mark.parametrize("in_thread", [False, True])
async def test_the_result_of_an_activity_fails_it_without_running_it_again(
    home: Home, what: str, in_thread: bool
) -> None:
    numbers: list[int] = []

    @activity
    async def on_the_loop() -> Any:
        numbers.append(attempt().number)
        return UNSTORABLE[what]

    @activity
    def in_a_thread() -> Any:
        numbers.append(attempt().number)
        return UNSTORABLE[what]

    @workflow
    async def asking() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await (in_a_thread() if in_thread else on_the_loop())
        assert isinstance(caught.value.cause, errors.PayloadInvalid)
        assert caught.value.attempts == 1
        return caught.value.cause.where

    async with home.runtime(asking) as rt:
        where = await (await rt.spawn(asking())).result()

    assert where == ("result of in_a_thread" if in_thread else "result of on_the_loop")
    assert numbers == [1]


@unstorable
async def test_inside_a_workflow_it_is_refused_where_it_is_given_away(
    home: Home, what: str
) -> None:
    bad = UNSTORABLE[what]

    @activity
    async def act(given: Any) -> Any:
        return given

    @workflow
    async def trying() -> list[str]:
        places: list[str] = []
        for give in (
            lambda: act(bad),
            lambda: act(given=bad),
            lambda: echo(bad),
            lambda: step("ad hoc", str, bad),
            lambda: monolite.spawn(echo(bad)),
            lambda: monolite.spawn(echo(bad), id="kid"),
            lambda: monolite.spawn(echo(bad), detached=True),
        ):
            with pytest.raises(errors.PayloadInvalid) as caught:
                await give()
            places.append(caught.value.where)
        with pytest.raises(errors.PayloadInvalid, match="view seen"):
            seen.set(bad)
        return [*places, await act("fine")]

    async with home.runtime(trying, echo) as rt:
        run = await rt.spawn(trying())
        assert await run.result() == [
            "arguments of act",
            "arguments of act",
            "arguments of echo",
            "arguments of ad hoc",
            "arguments of echo",
            "arguments of echo",
            "arguments of echo",
            "fine",
        ]
        assert await run.view(seen) is None
        assert len(await rt.list()) == 1
        assert [x.kind for x in await run.history()] == ["started", "activity", "completed"]


async def test_after_a_replay_it_is_refused_again(home: Home) -> None:
    @activity
    async def act(given: Any) -> Any:
        return given

    @workflow
    async def trying() -> str:
        with pytest.raises(errors.PayloadInvalid):
            await act(float("nan"))
        first = await act("first")
        return f"{first} {await gate.wait_for_it()}"

    async with home.runtime(trying) as rt:
        run = await rt.spawn(trying(), id="t")
        await gate.reached(run)

    async with home.runtime(trying) as rt:
        await gate.open(rt.handle("t"), "second")
        assert await rt.handle("t").result() == "first second"


# In a crowd.


@on_both_loops
async def test_one_result_among_a_hundred_fails_alone(home: Home) -> None:
    everyone = Crowd()

    @activity
    async def act(n: int) -> Any:
        await everyone.wait()  # so that the results come at one moment
        return float("nan") if n == ODD else n

    @workflow
    async def asking(n: int) -> Any:
        return await act(n)

    async with home.runtime(asking) as rt:
        runs = [await rt.spawn(asking(n)) for n in range(CROWD)]
        for n, run in enumerate(runs):
            if n == ODD:
                with pytest.raises(errors.WorkflowFailed, match="which JSON cannot hold"):
                    await run.result()
            else:
                assert await run.result() == n


async def test_one_spawn_among_a_hundred_is_refused_alone(home: Home) -> None:
    async with home.runtime(echo) as rt:
        spawns = (rt.spawn(echo(Opaque() if n == ODD else n)) for n in range(CROWD))
        found = await asyncio.gather(*spawns, return_exceptions=True)
        for n, run in enumerate(found):
            if isinstance(run, BaseException):
                assert n == ODD
                assert isinstance(run, errors.PayloadInvalid)
            else:
                assert await run.result() == n
        assert len(await rt.list()) == CROWD - 1


async def test_one_message_among_a_hundred_is_refused_alone(home: Home) -> None:
    @workflow
    async def counting() -> int:
        return sum([await value.receive() for _ in range(CROWD - 1)])

    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        sends = (run.signal(value, float("inf") if n == ODD else n) for n in range(CROWD))
        answers = await asyncio.gather(*sends, return_exceptions=True)
        assert await run.result() == sum(range(CROWD)) - ODD

    refused = [n for n, answer in enumerate(answers) if isinstance(answer, BaseException)]
    assert refused == [ODD]


async def test_one_workflow_s_result_among_a_hundred_fails_alone(home: Home) -> None:
    @workflow
    async def together(n: int) -> Any:
        await gate.wait_for_it()
        return Opaque() if n == ODD else n

    async with home.runtime(together) as rt:
        runs = [await rt.spawn(together(n)) for n in range(CROWD)]
        await asyncio.gather(*(gate.open(run) for run in runs))
        results = await asyncio.gather(*(run.result() for run in runs), return_exceptions=True)

    failed = results.pop(ODD)
    assert isinstance(failed, errors.WorkflowFailed)
    assert results == [n for n in range(CROWD) if n != ODD]


class Crowd:
    """Lets everyone through once the whole crowd is there, on any event loop."""

    def __init__(self) -> None:
        self._there = 0
        self._complete = anyio.Event()

    async def wait(self) -> None:
        self._there += 1
        if self._there == CROWD:
            self._complete.set()
        await self._complete.wait()
