"""Environments: the real engine under a clock that a test moves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

import monolite
from monolite import (
    Actor,
    Client,
    Runtime,
    Signal,
    Update,
    View,
    activity,
    errors,
    query,
    testing,
    update,
    workflow,
)
from tests.host.loops import on_both_loops

approval = Signal("approval", bool)
stage = View("stage", str)
price = Update("price", int, int)


@activity
async def shout(word: str) -> str:
    await anyio.sleep(0)
    return word.upper()


@activity
def double(n: int) -> int:
    return 2 * n


@workflow
async def remind(word: str) -> str:
    await asyncio.sleep(30 * 86_400)
    return f"{await shout(word)} at {monolite.now():%Y-%m-%d}"


@workflow
async def chores() -> list[str]:
    done: list[str] = []

    async def chore(word: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        done.append(f"{word} {monolite.now():%H:%M}")

    await asyncio.gather(chore("cook", 7_200), chore("wash", 3_600), chore("rest", 7_200))
    return done


@workflow
async def asks() -> bool:
    stage.set("asking")
    async with asyncio.timeout(86_400):
        return await approval.receive()


@workflow
async def listens() -> bool:
    return await approval.receive()


@workflow
async def sells() -> int:
    async for request in price:
        request.reply(request.value * 2)
        return request.value
    return 0


@workflow
async def family(n: int) -> int:
    if n == 0:
        await asyncio.sleep(60)
        return await double(4)
    return await family(n - 1)


class Account(Actor):
    """Holds money, and pays interest to those who wait."""

    balance: int = 0

    @update
    async def deposit(self, cents: int) -> int:
        self.balance += await double(cents)
        return self.balance

    @update
    async def save(self) -> int:
        await asyncio.sleep(365 * 86_400)
        self.balance += 1
        return self.balance

    @query
    def statement(self) -> int:
        return self.balance


@on_both_loops
async def test_a_month_passes_at_once() -> None:
    async with testing.environment(actors=[remind]) as env:
        assert env.now == datetime(2030, 1, 1, tzinfo=UTC)
        handle = await env.spawn(remind("ada"), id="r")
        await env.skip("29d")
        assert (
            await handle.describe()
        ).waiting_on == "sleeping until 2030-01-31T00:00:00.000+00:00"
        await env.skip("1d")
        assert await handle.result() == "ADA at 2030-01-31"
        assert env.now == datetime(2030, 1, 31, tzinfo=UTC)


@on_both_loops
async def test_what_is_due_on_the_way_fires_in_its_order_at_its_time() -> None:
    async with testing.environment(actors=[chores]) as env:
        handle = await env.spawn(chores())
        await env.skip("1d")
        assert await handle.result() == ["wash 01:00", "cook 02:00", "rest 02:00"]


@on_both_loops
async def test_a_run_is_played_to_its_end() -> None:
    async with testing.environment(actors=[remind, family]) as env:
        assert await env.run(remind("bob")) == "BOB at 2030-01-31"
        assert await env.run(family(3), id="family") == 8
        assert env.now == datetime(2030, 1, 31, 0, 1, tzinfo=UTC)


async def test_one_that_waits_for_a_message_that_nobody_sends_says_so() -> None:
    async with testing.environment(actors=[listens]) as env:
        with pytest.raises(testing.NeverEnded, match="l-1 waits for signal approval, and nothing"):
            await env.run(listens(), id="l-1")


async def test_one_that_times_out_meanwhile_does_so() -> None:
    async with testing.environment(actors=[asks]) as env:
        with pytest.raises(errors.WorkflowFailed, match="TimeoutError"):
            await env.run(asks())
        assert env.now == datetime(2030, 1, 2, tzinfo=UTC)


async def test_one_that_needs_longer_than_it_may_says_so() -> None:
    async with testing.environment(actors=[remind]) as env:
        with pytest.raises(testing.NeverEnded, match="has not ended within 5d: it waits for sleep"):
            await env.run(remind("ada"), within="5d")


async def test_a_failed_run_raises_what_it_failed_with() -> None:
    @workflow
    async def fails() -> None:
        raise LookupError("there is none")

    async with testing.environment(actors=[fails]) as env:
        with pytest.raises(errors.WorkflowFailed, match="there is none"):
            await env.run(fails())


@on_both_loops
async def test_messages_views_updates_and_lists_work() -> None:
    async with testing.environment(actors=[asks, sells]) as env:
        handle = await env.spawn(asks(), id="a")
        await env.quiet()
        assert await handle.view(stage) == "asking"
        assert [info.id for info in await env.list(name="asks")] == ["a"]
        assert await env.handle("a", asks).signal(approval, value=True)
        assert await handle.result() is True
        assert await (await env.spawn(sells())).update(price, 4) == 8
        assert await env.runtime.list(status="waiting") == []


@on_both_loops
async def test_actors_live_in_it() -> None:
    async with testing.environment(actors=[Account]) as env:
        ada = env.actor(Account, "ada")
        assert await ada.deposit(5) == 10
        monolite.send(ada.save())
        await env.quiet()
        await env.skip("365d")
        assert await ada.statement() == 11


async def test_back_offs_take_no_time() -> None:
    tries: list[datetime] = []

    async with testing.environment() as env:

        @activity(retry=monolite.Retry(4, first_delay="1h", max_delay="1d", jitter=0))
        async def flaky() -> int:
            tries.append(env.now)
            if len(tries) < 4:
                raise ConnectionError
            return len(tries)

        @workflow
        async def patient() -> int:
            return await flaky()

        env.add(patient)
        assert await env.run(patient()) == 4
    assert [at - tries[0] for at in tries] == [timedelta(hours=h) for h in (0, 1, 3, 7)]


@on_both_loops
async def test_an_activity_that_hangs_is_timed_out_in_virtual_time() -> None:
    @activity(timeout="1h", retry=False)
    async def hangs() -> None:
        await anyio.sleep_forever()

    @workflow
    async def stuck() -> str:
        try:
            await hangs()
        except errors.ActivityTimedOut as error:
            return error.kind
        return ""

    async with testing.environment(actors=[stuck], patience="10ms") as env:
        assert await env.run(stuck()) == "start-to-close"
        assert env.now == datetime(2030, 1, 1, 1, tzinfo=UTC)


async def test_an_activity_that_waits_for_something_real_is_waited_for() -> None:
    opened = anyio.Event()

    @activity
    async def waits() -> str:
        await opened.wait()
        return "at last"

    @workflow
    async def real() -> str:
        return await waits()

    async with testing.environment(actors=[real], patience="1ms") as env:
        handle = await env.spawn(real())
        await env.quiet()
        async with anyio.create_task_group() as group:
            assert (await handle.describe()).waiting_on == "running waits#1 (attempt 1)"
            group.start_soon(env.until_ended, handle.id)
            opened.set()
        assert await handle.result() == "at last"


async def test_it_begins_when_it_is_told_to() -> None:
    start = datetime(2024, 2, 28, 12, tzinfo=UTC)
    async with testing.environment(actors=[remind], start=start) as env:
        assert await env.run(remind("ada")) == "ADA at 2024-03-29"


async def test_runs_that_have_waited_for_long_come_back_by_replay() -> None:
    async with testing.environment(actors=[remind], max_live=1) as env:
        handles = [await env.spawn(remind(str(n))) for n in range(5)]
        await env.skip("31d")
        assert [await handle.result() for handle in handles] == [
            f"{n} at 2030-01-31" for n in range(5)
        ]


async def test_in_a_file_it_is_found_again_by_the_next_and_by_others(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with testing.environment(actors=[remind, listens], path=path) as env:
        await env.spawn(remind("ada"), id="r")
        await env.skip("10d")
    async with testing.environment(actors=[remind, listens], path=path) as env:
        assert env.now >= datetime(2030, 1, 1, tzinfo=UTC)
        async with Client(path) as client:
            outside = await client.spawn(listens(), id="l")
            await outside.signal(approval, value=True)
        await env.quiet()
        assert await env.handle("l").result() is True
        await env.until_ended("r")
        assert await env.handle("r").result() == "ADA at 2030-01-31"
    async with Runtime(path, actors=[remind, listens]) as rt:
        assert await rt.handle("r").result() == "ADA at 2030-01-31"


async def test_it_starts_with_its_first_use_and_ends_for_good() -> None:
    env = testing.environment(actors=[remind])
    assert await env.run(remind("ada")) == "ADA at 2030-01-31"
    env.close()
    with pytest.raises(errors.Misused, match="closed"):
        await env.quiet()


async def test_its_runtime_is_not_to_be_entered() -> None:
    async with testing.environment() as env:
        with pytest.raises(errors.Misused, match="running already"):
            async with env.runtime:
                pass


async def test_two_of_them_have_nothing_in_common() -> None:
    async with (
        testing.environment(actors=[remind]) as one,
        testing.environment(actors=[remind]) as other,
    ):
        await one.spawn(remind("ada"), id="r")
        await one.skip("1h")
        assert await other.list() == []
        assert other.now < one.now
