"""Deferred activities: the function has returned, and the outcome comes from elsewhere."""

from __future__ import annotations

import anyio
import pytest

from monolite import Client, Retry, activity, attempt, errors, workflow
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops


class Farm:
    """Hands out jobs, and remembers the tokens to answer them by."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.handed_out = anyio.Event()
        self.may_return = anyio.Event()
        self.returned = anyio.Event()

    def hand_out(self) -> None:
        self.tokens.append(attempt().defer())
        self.handed_out.set()


@on_both_loops
async def test_it_stays_open_until_it_is_answered_once(home: Home) -> None:
    farm = Farm()

    @activity
    async def render() -> str:
        farm.hand_out()
        return "ignored"

    @activity
    def in_a_thread() -> str:
        farm.tokens.append(attempt().defer())
        return "ignored"

    @workflow
    async def film() -> list[str]:
        return [await render(), await in_a_thread()]

    async with home.runtime(film) as rt:
        run = await rt.spawn(film(), id="f")
        info = await waits_on(run, "an answer for render#1")
        assert info.status == "waiting"
        assert await rt.resolve(farm.tokens[0], "rendered")
        assert (await rt.resolve(farm.tokens[0], "again")).reason == "duplicate"
        await waits_on(run, "an answer for in_a_thread#1")
        assert await rt.resolve(farm.tokens[1], "threaded")
        assert await run.result() == ["rendered", "threaded"]
        assert (await rt.reject(farm.tokens[0], "no")).reason == "duplicate"
        kinds = [x.kind for x in await run.history()]

    assert kinds.count("attempt deferred") == 2
    assert farm.tokens[0].startswith("ma_")
    assert len(set(farm.tokens)) == 2


async def test_it_may_be_answered_before_its_function_has_returned(home: Home) -> None:
    farm = Farm()

    @activity
    async def render() -> str:
        farm.hand_out()
        await farm.may_return.wait()
        farm.returned.set()
        return "ignored"

    @workflow
    async def film() -> str:
        return await render()

    async with home.runtime(film) as rt:
        run = await rt.spawn(film())
        await farm.handed_out.wait()
        assert await rt.resolve(farm.tokens[0], "early")
        assert await run.result() == "early"
        farm.may_return.set()
        await farm.returned.wait()


async def test_it_outlives_the_runtime_and_any_client_may_answer(
    home: Home, clock: ManualClock
) -> None:
    farm = Farm()

    @activity
    async def render() -> str:
        farm.hand_out()
        return "ignored"

    @workflow
    async def film() -> str:
        return await render()

    async with home.runtime(film, clock=clock) as rt:
        await waits_on(await rt.spawn(film(), id="f"), "an answer for render#1")
    async with home.runtime(film, clock=clock) as rt:
        await waits_on(rt.handle("f"), "an answer for render#1")
        if home.path is None:
            assert await rt.resolve(farm.tokens[0], "later")
    if home.path is not None:
        async with Client(home.path) as client:
            assert await client.resolve(farm.tokens[0], "later")
            assert (await client.resolve(farm.tokens[0], "again")).reason == "duplicate"
    async with home.runtime(film, clock=clock) as rt:
        assert await rt.handle("f").result() == "later"

    assert len(farm.tokens) == 1


async def test_a_rejection_is_its_last_failure_raised_or_held(home: Home) -> None:
    farm = Farm()

    @activity(retry=Retry(3, first_delay=0))
    async def render() -> str:
        farm.hand_out()
        return "ignored"

    @workflow
    async def film() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await render()
        return f"{caught.value.attempts} {caught.value.cause}"

    @workflow
    async def careful() -> str:
        return await render().options(on_exhausted="block")

    async with home.runtime(film, careful) as rt:
        run = await rt.spawn(film())
        await waits_on(run, "an answer for")
        assert await rt.reject(farm.tokens[0], ValueError("the farm burned down"))
        assert await run.result() == "1 the farm burned down"
        run = await rt.spawn(careful())
        await waits_on(run, "an answer for")
        await rt.reject(farm.tokens[1], ValueError("the farm burned down"))
        await waits_on(run, "render failed once: ValueError: the farm burned down")
        await run.set_result("from the archive")
        assert await run.result() == "from the archive"


async def test_one_whose_function_raises_is_tried_again_and_its_token_stays(home: Home) -> None:
    farm = Farm()

    @activity(retry=Retry(2, first_delay=0))
    async def render() -> str:
        farm.hand_out()
        if attempt().number == 1:
            raise ValueError
        return "ignored"

    @workflow
    async def film() -> str:
        return await render()

    async with home.runtime(film) as rt:
        run = await rt.spawn(film())
        await waits_on(run, "an answer for render#1")
        assert len(set(farm.tokens)) == 1
        assert len(farm.tokens) == 2
        await rt.resolve(farm.tokens[0], "done")
        assert await run.result() == "done"


async def test_its_deadline_and_a_cancellation_end_it(home: Home, clock: ManualClock) -> None:
    farm = Farm()

    @activity(schedule_to_close="1h", schedule_to_start="1m", timeout="1s")
    async def render() -> str:
        farm.hand_out()
        return "ignored"

    @workflow
    async def film() -> str:
        try:
            return await render()
        except errors.ActivityTimedOut as late:
            return f"{late.kind} {late.attempts}"

    async with home.runtime(film, clock=clock, max_live=1) as rt:
        late, cancelled = [await rt.spawn(film(), id=id) for id in ("l", "c")]
        for run in (late, cancelled):
            while "an answer for" not in ((await run.describe()).waiting_on or ""):
                await clock.skip(rt, "10ms")
        await clock.skip(rt, "5m")
        await cancelled.cancel()
        assert (await ended(cancelled)).status == "cancelled"
        await clock.skip(rt, "1h")
        assert await late.result() == "schedule-to-close 1"
        for token in farm.tokens:
            assert not await rt.resolve(token, "too late")


async def test_an_answer_that_nobody_waits_for_is_not_accepted(home: Home) -> None:
    farm = Farm()

    @activity
    async def render() -> str:
        farm.hand_out()
        return "ignored"

    @workflow
    async def film() -> str:
        with anyio.move_on_after(3_600):
            return await render()
        await anyio.sleep(3_600)
        return "without"

    clock = ManualClock()
    async with home.runtime(film, clock=clock) as rt:
        run = await rt.spawn(film(), id="f")
        await waits_on(run, "an answer for render#1")
        await clock.skip(rt, "1h")
        answer = await rt.resolve(farm.tokens[0], "too late")
        assert answer.reason == "nothing in f waits for this answer any more"
        await clock.skip(rt, "1h")
        assert await run.result() == "without"


def test_outside_a_runtime_there_is_no_token() -> None:
    assert attempt().defer() == ""
