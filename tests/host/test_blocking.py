"""Blocked activities: held when their attempts have run out, until somebody decides."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anyio
import pytest

from monolite import Client, Retry, activity, attempt, errors, workflow
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops


class CardDeclined(Exception):
    """What the bank says until it is told otherwise."""


class Bank:
    """Declines cards while it is strict."""

    def __init__(self) -> None:
        self.strict = True
        self.numbers: list[int] = []

    @property
    def charge(self) -> Any:
        @activity(name="charge", retry=Retry(2, first_delay=0), on_exhausted="block")
        async def charge(card: str) -> str:
            self.numbers.append(attempt().number)
            if self.strict:
                raise CardDeclined(card)
            return f"charged {card}"

        return charge


REASON = "charge failed 2 times: CardDeclined: visa"


@on_both_loops
async def test_it_is_held_with_its_reason_and_a_retry_gives_it_fresh_attempts(home: Home) -> None:
    bank = Bank()
    charge = bank.charge

    @workflow
    async def order() -> str:
        said: str = await charge("visa")
        return said

    async with home.runtime(order) as rt:
        run = await rt.spawn(order(), id="o")
        info = await waits_on(run, REASON)
        assert info.status == "blocked"
        assert info.waiting_on == f"{REASON}; monolite retry, skip or set-result FILE o"
        assert info.error == "CardDeclined: visa"
        assert [x.id for x in await rt.list(status="blocked")] == ["o"]
        assert await run.retry("charge#1", id="again")
        await waits_on(run, REASON)
        assert bank.numbers == [1, 2, 3, 4]
        assert (await run.retry(id="again")).reason == "duplicate"
        assert (await run.describe()).status == "blocked"
        bank.strict = False
        assert await run.retry()
        assert await run.result() == "charged visa"
        info = await run.describe()
        assert (info.status, info.error) == ("completed", None)

    assert bank.numbers == [1, 2, 3, 4, 5]


async def test_it_can_be_skipped_or_given_a_result_and_the_replay_is_the_same(home: Home) -> None:
    bank = Bank()
    charge = bank.charge

    @workflow
    async def order(card: str) -> list[Any]:
        return [await charge(card), await gate.wait_for_it()]

    async with home.runtime(order) as rt:
        skipped, paid = [await rt.spawn(order("visa"), id=id) for id in ("skipped", "paid")]
        for run in (skipped, paid):
            await waits_on(run, REASON)
        assert await skipped.skip()
        refused = await paid.set_result(5)
        assert not refused
        assert refused.reason.startswith("result of charge#1: ")
        assert await paid.set_result("by cheque", "charge")
        for run in (skipped, paid):
            await gate.reached(run)
    async with home.runtime(order) as rt:
        for id, result in (("skipped", None), ("paid", "by cheque")):
            await gate.open(rt.handle(id), "on")
            assert await rt.handle(id).result() == [result, "on"]


async def test_only_what_is_blocked_can_be_released(home: Home) -> None:
    bank = Bank()
    charge = bank.charge

    @workflow
    async def order() -> list[str]:
        first, second = _awaited(charge("visa")), _awaited(charge("visa"))
        return list(await asyncio.gather(first, second))

    async with home.runtime(order) as rt:
        run = await rt.spawn(order(), id="o")
        await waits_on(run, "(and 1 more)")
        assert (await run.retry("ship#1")).reason == (
            "ship#1 is not blocked in o; this is: charge#1, charge#2"
        )
        assert "say for which" in (await run.set_result("x")).reason
        assert await run.set_result("x", "charge#2")
        assert (await run.skip("charge#2")).reason == (
            "charge#2 is not blocked in o; this is: charge#1"
        )
        assert await run.set_result("y")
        assert await run.result() == ["y", "x"]
        assert (await run.retry()).reason == "the run has completed"
        with pytest.raises(errors.UnknownWorkflow):
            await rt.handle("nobody").retry()


async def test_other_branches_of_the_run_go_on(home: Home, clock: ManualClock) -> None:
    bank = Bank()
    charge = bank.charge

    @workflow
    async def order() -> list[str]:
        async with asyncio.TaskGroup() as group:
            paid = group.create_task(_awaited(charge("visa")))
            await asyncio.sleep(3_600)
            word = await gate.wait_for_it()
        return [paid.result(), word]

    async with home.runtime(order, clock=clock) as rt:
        run = await rt.spawn(order(), id="o")
        await waits_on(run, REASON)
        await clock.skip(rt, "2h")
        await gate.open(run, "heard")
        assert (await run.describe()).status == "blocked"
    async with home.runtime(order, clock=clock) as rt:
        run = rt.handle("o")
        assert (await run.describe()).status == "blocked"
        await run.set_result("cash")
        assert await run.result() == ["cash", "heard"]


async def _awaited(call: Any) -> str:
    found: str = await call
    return found


async def test_what_is_not_worth_retrying_is_held_at_once_and_so_is_what_may_run_once(
    home: Home,
) -> None:
    begun = anyio.Event()

    @activity(retry=Retry(non_retryable=(CardDeclined,)))
    async def declined() -> None:
        raise CardDeclined

    @activity(at_most_once=True)
    async def once() -> str:
        begun.set()
        await anyio.sleep_forever()
        return "?"

    @workflow
    async def hopeless() -> None:
        await declined().options(on_exhausted="block")

    @workflow
    async def careful() -> str:
        return await once().options(on_exhausted="block")

    async with home.runtime(hopeless, careful, shutdown_grace=0) as rt:
        await waits_on(await rt.spawn(hopeless()), "declined failed once: CardDeclined")
        await rt.spawn(careful(), id="c")
        await begun.wait()
    async with home.runtime(hopeless, careful) as rt:
        run = rt.handle("c")
        await waits_on(run, "once failed once: Interrupted")
        assert await run.set_result("it had happened")
        assert await run.result() == "it had happened"


async def test_a_blocked_run_can_be_cancelled_paused_and_timed_out(
    home: Home, clock: ManualClock
) -> None:
    bank = Bank()
    charge = bank.charge

    @workflow
    async def order() -> str:
        try:
            return str(await charge("visa").options(schedule_to_close="1h"))
        except errors.ActivityTimedOut as error:
            return f"{error.kind} {error.attempts}"

    async with home.runtime(order, clock=clock, max_live=1) as rt:
        cancelled, late, paused = [await rt.spawn(order(), id=id) for id in ("c", "l", "p")]
        for run in (cancelled, late, paused):
            while "charge failed" not in ((await rt.handle(run.id).describe()).waiting_on or ""):
                await clock.skip(rt, "10ms")
        await cancelled.cancel()
        assert (await ended(cancelled)).status == "cancelled"
        await paused.pause()
        assert (await paused.describe()).status == "paused"
        await clock.skip(rt, "2h")
        assert await late.result() == "schedule-to-close 2"
        await paused.resume()
        assert await paused.result() == "schedule-to-close 2"


async def test_a_run_that_has_failed_is_spawned_again(home: Home) -> None:
    bank = Bank()
    charge = bank.charge

    @workflow
    async def order(card: str) -> str:
        return str(await charge(card).options(on_exhausted="fail"))

    async with home.runtime(order) as rt:
        run = await rt.spawn(order("visa"), id="o", attributes={"shop": 1})
        assert (await ended(run)).status == "failed"
        bank.strict = False
        assert (await run.retry(id="r")).reason == "spawned again, as generation 2"
        assert await run.result() == "charged visa"
        info = await run.describe()
        assert (info.generation, info.attributes) == (2, {"shop": 1})
        assert (await run.retry(id="r")).reason == "duplicate"
        assert (await run.retry()).reason == "the run has completed"


async def test_a_client_decides_with_or_without_an_engine(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    if home.path is None:
        pytest.skip("a client needs a file")
    bank = Bank()
    charge = bank.charge

    @workflow
    async def order() -> str:
        return str(await charge("visa"))

    async with home.runtime(order) as rt:
        for id in ("result", "retry", "failed"):
            await waits_on(await rt.spawn(order(), id=id), REASON)
    async with Client(home.path) as client:
        info = await client.handle("retry").describe()
        assert (info.status, info.error) == ("blocked", "CardDeclined: visa")
        assert not await client.handle("retry").retry("ship")
        assert await client.handle("retry").retry("charge")
        assert await client.handle("result").set_result(5, id="wrong")
        assert await client.handle("result").set_result("cash")
        bank.strict = False
        async with home.runtime(order) as rt:
            assert await rt.handle("result").result() == "cash"
            assert await rt.handle("retry").result() == "charged visa"
            assert await client.handle("failed").set_result(5)
            assert await client.handle("failed").skip()
            await rt.handle("failed").result()
            assert not await client.handle("failed").skip()
    said = [r for r in caplog.get_records("call") if r.levelno == logging.WARNING]
    assert any("stays blocked: result of charge#1" in r.getMessage() for r in said)
    caplog.clear()


async def test_a_client_spawns_a_failed_run_again(home: Home) -> None:
    if home.path is None:
        pytest.skip("a client needs a file")
    bank = Bank()
    charge = bank.charge

    @workflow
    async def order() -> str:
        return str(await charge("visa").options(on_exhausted="fail"))

    async with home.runtime(order) as rt:
        assert (await ended(await rt.spawn(order(), id="o"))).status == "failed"
    async with Client(home.path) as client:
        assert (await client.handle("o").retry(id="x")).reason == "spawned again, as generation 2"
        assert (await client.handle("o").retry(id="x")).reason == "duplicate"
        assert (await client.handle("o").retry()).reason == "nothing in o is blocked"
    bank.strict = False
    async with home.runtime(order) as rt:
        assert await rt.handle("o").result() == "charged visa"
