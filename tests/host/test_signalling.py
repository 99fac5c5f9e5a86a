"""Signals: durable, in order, once each, kept until somebody receives them."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

import monolite
from monolite import Signal, View, activity, errors, workflow
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops

number = Signal("number", int)
word = Signal("word", str)
ticked = View("ticked", int)


@workflow
async def collecting(count: int) -> list[int]:
    return [await number.receive() for _ in range(count)]


@workflow
async def late(count: int) -> list[int]:
    """Receive nothing before the gate was opened."""
    await gate.wait_for_it()
    return [await number.receive() for _ in range(count)]


@on_both_loops
async def test_messages_come_in_the_order_in_which_they_were_sent(home: Home) -> None:
    async with home.runtime(collecting) as rt:
        run = await rt.spawn(collecting(50))
        for n in range(50):
            assert (await run.signal(number, n)).accepted
        assert await run.result() == list(range(50))
        history = await run.history()

    assert [x.input for x in history if x.kind == "signal"] == list(range(50))


async def test_each_sender_s_order_is_kept_when_many_send_at_once(home: Home) -> None:
    senders, each = 10, 20

    @workflow
    async def sorting() -> list[list[int]]:
        seen: list[list[int]] = [[] for _ in range(senders)]
        for _ in range(senders * each):
            sender, n = divmod(await number.receive(), 1_000)
            seen[sender].append(n)
        return seen

    async with home.runtime(sorting) as rt:
        run = await rt.spawn(sorting())

        async def send(sender: int) -> None:
            for n in range(each):
                await run.signal(number, sender * 1_000 + n)

        await asyncio.gather(*(send(sender) for sender in range(senders)))
        assert await run.result() == [list(range(each))] * senders


async def test_a_message_sent_before_anyone_waits_is_kept(home: Home) -> None:
    async with home.runtime(late) as rt:
        run = await rt.spawn(late(3))
        for n in range(3):
            await run.signal(number, n)
        await gate.open(run)
        assert await run.result() == [0, 1, 2]


async def test_a_message_sent_right_after_the_spawn_is_kept(home: Home) -> None:
    async with home.runtime(collecting) as rt:
        runs = [await rt.spawn(collecting(1)) for _ in range(20)]
        for n, run in enumerate(runs):
            await run.signal(number, n)
        assert [await run.result() for run in runs] == [[n] for n in range(20)]


async def test_messages_sent_to_a_delayed_run_wait_for_its_start(
    home: Home, clock: ManualClock
) -> None:
    async with home.runtime(collecting, clock=clock) as rt:
        run = await rt.spawn(collecting(3), delay="1h")
        for n in range(3):
            assert (await run.signal(number, n)).accepted
        assert (await run.describe()).status == "queued"
        assert [x.kind for x in await run.history()] == ["queued", *["signal waiting"] * 3]
        await clock.skip(rt, "1h")
        assert await run.result() == [0, 1, 2]


async def test_messages_that_nobody_received_are_there_in_the_next_life(home: Home) -> None:
    async with home.runtime(late) as rt:
        run = await rt.spawn(late(4), id="late")
        await run.signal(number, 0)
        await run.signal(number, 1)

    async with home.runtime(late) as rt:
        run = rt.handle("late")
        await run.signal(number, 2)
        await gate.open(run)
        await run.signal(number, 3)
        assert await run.result() == [0, 1, 2, 3]


@on_both_loops
async def test_a_message_with_an_id_takes_effect_once(home: Home) -> None:
    async with home.runtime(collecting) as rt:
        run = await rt.spawn(collecting(3), id="c")
        first = await run.signal(number, 1, id="one")
        again = await run.signal(number, 100, id="one")
        assert (first.accepted, first.reason) == (True, "")
        assert (again.accepted, again.reason) == (True, "duplicate")

    async with home.runtime(collecting) as rt:
        run = rt.handle("c")
        assert (await run.signal(number, 100, id="one")).reason == "duplicate"
        await run.signal(number, 2, id="two")
        await run.signal(number, 2)
        assert await run.result() == [1, 2, 2]
        assert (await run.signal(number, 100, id="two")).reason == "duplicate"


async def test_copies_sent_at_the_same_moment_take_effect_once(home: Home) -> None:
    async with home.runtime(late) as rt:
        run = await rt.spawn(late(2))
        answers = await asyncio.gather(*(run.signal(number, n, id="same") for n in range(50)))
        await run.signal(number, 99)
        await gate.open(run)
        assert await run.result() == [0, 99]

    assert [answer.reason for answer in answers] == ["", *["duplicate"] * 49]


async def test_the_same_id_may_be_used_for_another_run(home: Home) -> None:
    async with home.runtime(collecting) as rt:
        runs = [await rt.spawn(collecting(1)) for _ in range(2)]
        for n, run in enumerate(runs):
            assert (await run.signal(number, n, id="same")).reason == ""
        assert [await run.result() for run in runs] == [[0], [1]]


async def test_signals_of_different_names_do_not_mix(home: Home) -> None:
    @workflow
    async def sorting() -> list[Any]:
        first_word = await word.receive()
        return [first_word, await number.receive(), await number.receive(), await word.receive()]

    async with home.runtime(sorting) as rt:
        run = await rt.spawn(sorting())
        await run.signal(number, 1)
        await run.signal(word, "a")
        await run.signal(word, "b")
        await run.signal(number, 2)
        assert await run.result() == ["a", 1, 2, "b"]


async def test_pending_counts_what_could_be_received_now(home: Home) -> None:
    @workflow
    async def counting() -> list[int]:
        counts = [number.pending()]
        await gate.wait_for_it()
        while number.pending():
            counts.append(number.pending())
            await number.receive()
        return counts

    async with home.runtime(counting) as rt:
        run = await rt.spawn(counting())
        for n in range(3):
            await run.signal(number, n)
        await gate.open(run)
        assert await run.result() == [0, 3, 2, 1]


async def test_a_signal_can_be_iterated(home: Home) -> None:
    @workflow
    async def adding() -> int:
        total = 0
        async for n in number:
            if n < 0:
                break
            total += n
        return total + await number.receive()

    async with home.runtime(adding) as rt:
        run = await rt.spawn(adding())
        for n in (1, 2, 3, -1, 1_000):
            await run.signal(number, n)
        assert await run.result() == 1_006


async def test_several_tasks_may_receive_and_each_message_goes_to_one(home: Home) -> None:
    @workflow
    async def sharing() -> list[int]:
        return sorted(await asyncio.gather(*(number.receive() for _ in range(10))))

    async with home.runtime(sharing) as rt:
        run = await rt.spawn(sharing())
        for n in range(10):
            await run.signal(number, n)
        assert await run.result() == list(range(10))


# Time limits.


async def test_a_wait_that_timed_out_loses_no_message(home: Home, clock: ManualClock) -> None:
    @workflow
    async def impatient() -> list[int]:
        timeouts = 0
        try:
            async with asyncio.timeout(10):
                await number.receive()
        except TimeoutError:
            timeouts += 1
        return [timeouts, await number.receive(), await number.receive()]

    async with home.runtime(impatient, clock=clock) as rt:
        run = await rt.spawn(impatient())
        await clock.skip(rt, 11)
        await run.signal(number, 1)
        await run.signal(number, 2)
        assert await run.result() == [1, 1, 2]


async def test_a_message_that_comes_with_the_time_out_is_lost_by_neither(
    home: Home, clock: ManualClock
) -> None:
    @workflow
    async def impatient() -> list[int]:
        seen: list[int] = []
        while len(seen) < 3:
            try:
                async with asyncio.timeout(10):
                    seen.append(await number.receive())
            except TimeoutError:
                seen.append(0)
        return [*seen, number.pending()]

    async with home.runtime(impatient, clock=clock) as rt:
        run = await rt.spawn(impatient())
        clock.advance(10)  # the engine sees the time and the message in one turn
        await run.signal(number, 1)
        clock.advance(10)
        await run.signal(number, 2)
        clock.advance(10)
        await run.signal(number, 3)
        found = await run.result()
        sent = [x.input for x in await run.history() if x.kind == "signal"]

    received = [n for n in found[:3] if n]
    assert received == [1, 2, 3][: len(received)]
    assert found[3] == len(sent) - len(received)


async def test_a_receiver_that_is_cancelled_leaves_the_message_to_the_next(home: Home) -> None:
    @workflow
    async def handing_over() -> str:
        first = asyncio.create_task(number.receive())
        second = asyncio.create_task(number.receive())
        await gate.wait_for_it()
        first.cancel()
        (ended,) = (await asyncio.wait([first]))[0]
        return f"{ended.cancelled()} {await second}"

    async with home.runtime(handing_over) as rt:
        run = await rt.spawn(handing_over())
        await gate.open(run)
        await run.signal(number, 7)
        assert await run.result() == "True 7"


# Between workflows.


async def test_a_workflow_may_signal_its_child(home: Home) -> None:
    @workflow
    async def parent() -> list[int]:
        child = await monolite.spawn(collecting(3))
        for n in range(3):
            assert (await child.signal(number, n)).accepted
        return await child.result()

    async with home.runtime(parent, collecting) as rt:
        assert await (await rt.spawn(parent())).result() == [0, 1, 2]


async def test_a_workflow_s_message_with_an_id_takes_effect_once(home: Home) -> None:
    @workflow
    async def parent() -> list[Any]:
        child = await monolite.spawn(collecting(2))
        reasons = [(await child.signal(number, n, id="same")).reason for n in (1, 2)]
        await child.signal(number, 3)
        return [*reasons, *await child.result()]

    async with home.runtime(parent, collecting) as rt:
        assert await (await rt.spawn(parent())).result() == ["", "duplicate", 1, 3]


async def test_two_workflows_may_talk(home: Home) -> None:
    @workflow
    async def caller() -> list[int]:
        other = await monolite.spawn(answerer(), id="answerer")
        seen: list[int] = []
        for n in range(20):
            await other.signal(number, n)
            seen.append(await number.receive())
        await other.signal(number, -1)
        return seen

    @workflow
    async def answerer() -> None:
        caller_run = await monolite.spawn(caller(), id="caller")
        async for n in number:
            if n < 0:
                return
            await caller_run.signal(number, 2 * n)

    async with home.runtime(caller, answerer) as rt:
        run = await rt.spawn(caller(), id="caller")
        assert await run.result() == [2 * n for n in range(20)]


async def test_a_workflow_hears_that_a_run_has_ended(home: Home) -> None:
    @workflow
    async def calling() -> list[Any]:
        there = await monolite.spawn(collecting(0), id="there")
        answer = await there.signal(number, 1)
        return [answer.accepted, answer.reason]

    async with home.runtime(calling, collecting) as rt:
        await (await rt.spawn(collecting(0), id="there")).result()
        assert await (await rt.spawn(calling())).result() == [False, "the run has completed"]


async def test_a_message_between_workflows_is_sent_once_whatever_replays(home: Home) -> None:
    @workflow
    async def sender() -> None:
        there = await monolite.spawn(collecting(2), id="there")
        await there.signal(number, 1)
        await gate.wait_for_it()
        await there.signal(number, 2)

    async with home.runtime(sender, collecting) as rt:
        await rt.spawn(collecting(2), id="there")
        await gate.reached(await rt.spawn(sender(), id="sender"))

    async with home.runtime(sender, collecting) as rt:
        await gate.open(rt.handle("sender"))
        assert await rt.handle("there").result() == [1, 2]


async def test_an_activity_may_signal_through_the_runtime(home: Home) -> None:
    @activity
    async def nudge(id: str) -> bool:
        return (await rt.handle(id).signal(number, 5)).accepted

    @workflow
    async def nudged() -> list[int]:
        accepted = await nudge(monolite.current().id)
        return [int(accepted), await number.receive()]

    async with home.runtime(nudged) as rt:
        assert await (await rt.spawn(nudged())).result() == [1, 5]


# What is not taken.


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("completed", "the run has completed"),
        ("failed", "the run has failed"),
        ("cancelled", "the run has been cancelled"),
        ("terminated", "the run has been terminated"),
    ],
)
async def test_a_run_that_has_ended_takes_no_message(home: Home, end: str, reason: str) -> None:
    @workflow
    async def ending() -> None:
        if await gate.wait_for_it() == "failed":
            raise ValueError

    async with home.runtime(ending) as rt:
        run = await rt.spawn(ending())
        if end == "cancelled":
            await run.cancel()
        elif end == "terminated":
            await run.terminate()
        else:
            await gate.open(run, end)
        await ended(run)
        lines = len(await run.history())
        for answer in (await run.signal(number, 1), await run.signal(number, 1, id="one")):
            assert (answer.accepted, answer.reason) == (False, reason)
            assert not answer
        assert len(await run.history()) == lines


@on_both_loops
async def test_a_run_that_does_not_exist_takes_no_message(home: Home) -> None:
    async with home.runtime(collecting) as rt:
        nobody = rt.handle("nobody")
        with pytest.raises(errors.UnknownWorkflow, match="no run has the id 'nobody'"):
            await nobody.signal(number, 1)
        with pytest.raises(errors.UnknownWorkflow, match="'nobody'"):
            await nobody.cancel()
        with pytest.raises(errors.UnknownWorkflow, match="'nobody'"):
            await nobody.terminate()
        with pytest.raises(errors.UnknownWorkflow, match="'nobody'"):
            await nobody.result()
        assert await rt.list() == []


async def test_a_value_of_another_type_is_refused_at_the_sender(home: Home) -> None:
    untyped: Any = number
    async with home.runtime(late) as rt:
        run = await rt.spawn(late(1))
        for bad in ("text", None, 1.5, object(), float("nan")):
            with pytest.raises(errors.PayloadInvalid, match="signal number"):
                await run.signal(untyped, bad)
        with pytest.raises(errors.Misused, match="message id"):
            await run.signal(number, 1, id="")
        await run.signal(number, 1)
        await gate.open(run)
        assert await run.result() == [1]
        assert len(await run.history()) == 4


async def test_outside_a_workflow_nothing_can_be_received(home: Home) -> None:
    @activity(retry=False)
    async def confused() -> None:
        await number.receive()

    @workflow
    async def asking() -> str:
        with pytest.raises(errors.ActivityFailed) as caught:
            await confused()
        assert isinstance(caught.value.cause, errors.Misused)
        return str(caught.value.cause)

    async with home.runtime(asking) as rt:
        assert await (await rt.spawn(asking())).result() == (
            "Signal('number').receive() works inside a workflow only, run by a runtime; "
            'in a test, spawn the workflow in Runtime(":memory:")'
        )
        with pytest.raises(errors.Misused):
            number.pending()


async def test_a_message_is_heard_while_something_else_is_awaited(home: Home) -> None:
    began, go = anyio.Event(), anyio.Event()

    @activity
    async def slow() -> str:
        began.set()
        await go.wait()
        return "slow"

    @workflow
    async def both() -> list[Any]:
        async def listen() -> int:
            heard = await number.receive()
            ticked.set(heard)
            return heard

        return list(await asyncio.gather(slow(), listen()))

    async with home.runtime(both) as rt:
        run = await rt.spawn(both())
        await began.wait()
        await run.signal(number, 3)
        assert await run.view(ticked) == 3
        await waits_on(run, "running slow#1")
        go.set()
        assert await run.result() == ["slow", 3]
