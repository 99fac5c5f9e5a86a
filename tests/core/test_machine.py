"""The machine: entries in, commands out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

import monolite
from monolite import Signal, View, activity, errors, step, workflow
from monolite.core import entry as e
from monolite.core.channel import machine_of
from monolite.core.entry import Entry
from tests.core.play import NOON_US, Stage


@dataclass(frozen=True)
class Receipt:
    card: str
    cents: int


@activity
async def charge(card: str, cents: int) -> Receipt:
    return Receipt(card, cents)


@activity
async def refund(receipt: Receipt) -> None: ...


approval = Signal("approval", bool)
notes = Signal("notes", str)
progress = View("progress", str)


@workflow
async def order(card: str, cents: int) -> str:
    receipt = await charge(card, cents)
    assert isinstance(receipt, Receipt)
    return f"{receipt.card} paid {receipt.cents}"


@workflow
async def at_once(word: str) -> str:
    return word


def test_a_workflow_that_waits_for_nothing_ends_as_it_starts(stage: Stage) -> None:
    stage.start(at_once("done")).completes("done")


def test_an_activity_is_asked_for_once_and_its_outcome_comes_back_typed(stage: Stage) -> None:
    play = stage.start(order("visa", 5))
    play.asks('activity charge#1("visa",5)').goes_on("")
    play.answer("charge#1", Receipt("visa", 5)).completes("visa paid 5")


def test_arguments_may_be_given_by_keyword(stage: Stage) -> None:
    @workflow
    async def keywords(card: str, *, cents: int = 7) -> int:
        return (await charge(card, cents=cents)).cents

    play = stage.start(keywords("visa", cents=8))
    play.asks('activity charge#1{"args":["visa"],"kwargs":{"cents":8}}')
    play.answer("charge#1", Receipt("visa", 8)).completes(8)


def test_each_call_of_a_name_gets_the_next_number(stage: Stage) -> None:
    @workflow
    async def twice() -> int:
        first = await charge("a", 1)
        second = await charge("b", 2)
        return first.cents + second.cents

    play = stage.start(twice()).asks('activity charge#1("a",1)')
    play.answer("charge#1", Receipt("a", 1)).asks('activity charge#2("b",2)')
    play.answer("charge#2", Receipt("b", 2)).completes(3)


def test_a_call_can_be_journaled_under_another_name(stage: Stage) -> None:
    @workflow
    async def named() -> int:
        return (await charge("a", 1).options(name="deposit")).cents

    play = stage.start(named()).asks('activity deposit#1("a",1)')
    play.answer("deposit#1", Receipt("a", 1)).completes(1)


def test_a_step_is_journaled_under_the_name_it_was_given(stage: Stage) -> None:
    def price(sku: str) -> int:
        return len(sku)

    @workflow
    async def quote(sku: str) -> int:
        return await step("price", price, sku)

    stage.start(quote("abc")).asks('activity price#1("abc")').answer("price#1", 3).completes(3)


def test_long_arguments_are_journaled_by_their_hash_and_sent_whole(stage: Stage) -> None:
    @workflow
    async def long(card: str) -> int:
        return (await charge(card, 1)).cents

    play = stage.start(long("x" * 5_000))
    operation = play.machine.operations["charge#1"]
    assert operation.payload == '["' + "x" * 5_000 + '",1]'
    assert operation.args.startswith('"blake2b:')
    assert len(operation.args) < 100
    play.asks(f"activity charge#1{operation.args}")
    play.answer("charge#1", Receipt("x", 1)).completes(1)


def test_parallel_activities_may_end_in_any_order(stage: Stage) -> None:
    @workflow
    async def both() -> list[str]:
        a, b = await asyncio.gather(charge("a", 1), charge("b", 2))
        return [a.card, b.card]

    play = stage.start(both())
    play.asks('activity charge#1("a",1)', 'activity charge#2("b",2)')
    play.answer("charge#2", Receipt("b", 2)).asks().goes_on()
    play.answer("charge#1", Receipt("a", 1)).completes(["a", "b"])


def test_a_failed_activity_is_raised_where_it_is_awaited(stage: Stage) -> None:
    @workflow
    async def careful() -> str:
        try:
            await charge("a", 1)
        except errors.ActivityFailed as failed:
            return f"{failed.name} failed {failed.attempts} times: {failed.cause!r}"
        return "paid"

    failed = errors.ActivityFailed("charge", 3, ValueError("no money"))
    play = stage.start(careful()).asks('activity charge#1("a",1)')
    play.fail("charge#1", failed).completes("charge failed 3 times: ValueError('no money')")


def test_an_exception_nobody_catches_fails_the_run(stage: Stage) -> None:
    play = stage.start(order("visa", 5)).asks('activity charge#1("visa",5)')
    play.fail("charge#1", ValueError("no money")).fails("ValueError: no money")


def test_a_result_that_does_not_fit_the_declared_type_is_raised_at_the_await(stage: Stage) -> None:
    play = stage.start(order("visa", 5)).asks('activity charge#1("visa",5)')
    play.answer("charge#1", "not a receipt")
    play.fails(
        "PayloadInvalid: recorded result of charge#1: "
        "is not a Receipt: Expected `object`, got `str`"
    )


def test_arguments_that_do_not_fit_fail_the_run_before_its_code_starts(stage: Stage) -> None:
    play = stage.start(order("visa", "five"))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    play.fails("PayloadInvalid: argument cents of order: is not a int: Expected `int`, got `str`")


def test_a_result_that_is_not_json_fails_the_run(stage: Stage) -> None:
    @workflow
    async def odd() -> object:
        return object()

    play = stage.start(odd())
    play.fails(
        "PayloadInvalid: result of workflow odd: cannot be stored as JSON: objects of type "
        "object are not JSON; convert it to plain data first"
    )


def test_a_sleep_is_a_timer_and_asks_nothing(stage: Stage) -> None:
    @workflow
    async def nap() -> str:
        await asyncio.sleep(60)
        return "rested"

    play = stage.start(nap()).asks().goes_on("")
    timer = play.machine.next_timer
    assert timer is not None
    assert timer.due_us == NOON_US + 60_000_000
    play.skip(59).goes_on()
    play.skip(1).completes("rested")
    assert [entry.kind for entry in play.journal] == [e.TIMER]


def test_a_sleep_of_zero_needs_no_timer(stage: Stage) -> None:
    @workflow
    async def yields() -> str:
        await asyncio.sleep(0)
        return "back"

    stage.start(yields()).completes("back")


def test_timers_of_one_moment_fire_in_the_order_they_were_set(stage: Stage) -> None:
    @workflow
    async def race() -> list[int]:
        woken: list[int] = []

        async def sleeper(number: int) -> None:
            await asyncio.sleep(1)
            woken.append(number)

        await asyncio.gather(*(sleeper(number) for number in range(5)))
        return woken

    play = stage.start(race()).skip(1).completes([0, 1, 2, 3, 4])
    assert [entry.key for entry in play.journal] == [f"timer#{n}" for n in range(1, 6)]


def test_a_time_limit_gives_up_what_it_bounds(stage: Stage) -> None:
    @workflow
    async def impatient() -> str:
        try:
            async with asyncio.timeout(10):
                await charge("a", 1)
        except TimeoutError:
            return "too slow"
        return "paid"

    play = stage.start(impatient()).asks('activity charge#1("a",1)')
    play.skip(10).asks("abandon charge#1").completes("too slow")


def test_a_time_limit_that_was_kept_leaves_no_timer(stage: Stage) -> None:
    @workflow
    async def patient() -> None:
        async with asyncio.timeout(10):
            await charge("a", 1)
        await approval.receive()

    play = stage.start(patient()).asks('activity charge#1("a",1)')
    play.answer("charge#1", Receipt("a", 1)).goes_on("signal approval")
    assert play.machine.next_timer is None
    play.signal("approval", True).completes()


def test_messages_are_received_in_order_and_kept_until_then(stage: Stage) -> None:
    @workflow
    async def reader() -> list[str]:
        await asyncio.sleep(1)
        assert notes.pending() == 2
        found = [await notes.receive(), await notes.receive()]
        assert notes.pending() == 0
        found.append(await notes.receive())
        return found

    play = stage.start(reader()).signal("notes", "a").signal("notes", "b")
    play.skip(1).goes_on("signal notes")
    play.signal("notes", "c").completes(["a", "b", "c"])


def test_channels_do_not_mix(stage: Stage) -> None:
    @workflow
    async def careful() -> list[object]:
        return [await approval.receive(), await notes.receive()]

    play = stage.start(careful()).goes_on("signal approval")
    play.signal("notes", "first").goes_on("signal approval")
    play.signal("approval", False).completes([False, "first"])


def test_a_message_goes_to_the_receiver_that_waited_longest(stage: Stage) -> None:
    @workflow
    async def two() -> list[str]:
        async def receiver(name: str) -> str:
            return f"{name} got {await notes.receive()}"

        return list(await asyncio.gather(receiver("first"), receiver("second")))

    play = stage.start(two()).signal("notes", "a").signal("notes", "b")
    play.completes(["first got a", "second got b"])


def test_a_message_whose_receiver_gives_up_goes_to_the_next(stage: Stage) -> None:
    @workflow
    async def two() -> str:
        async def receiver() -> str:
            return await notes.receive()

        first, second = asyncio.create_task(receiver()), asyncio.create_task(receiver())
        await approval.receive()
        first.cancel()
        return await second

    play = stage.start(two()).goes_on("signal approval, signal notes")
    play.signal("approval", True).signal("notes", "a").completes("a")


def test_a_message_whose_receiver_is_cancelled_as_it_wakes_goes_to_the_next(stage: Stage) -> None:
    @workflow
    async def two() -> str:
        first, second = asyncio.create_task(notes.receive()), asyncio.create_task(notes.receive())
        await asyncio.sleep(0)
        machine_of("this test").channel("notes").push(
            Entry(0, 0, e.SIGNAL, "notes", None, '"mine"')
        )
        first.cancel()
        return await second

    stage.start(two()).completes("mine")


def test_a_channel_can_be_read_with_async_for(stage: Stage) -> None:
    @workflow
    async def collect() -> list[str]:
        found: list[str] = []
        async for note in notes:
            found.append(note)
            if note == "end":
                break
        return found

    stage.start(collect()).signal("notes", "a").signal("notes", "end").completes(["a", "end"])


def test_a_message_of_the_wrong_type_is_raised_at_the_receive(stage: Stage) -> None:
    @workflow
    async def strict() -> str:
        try:
            await approval.receive()
        except errors.PayloadInvalid as invalid:
            return invalid.where
        return "fine"

    stage.start(strict()).signal("approval", "maybe").completes("signal approval")


def test_views_are_published_in_order(stage: Stage) -> None:
    @workflow
    async def showing() -> None:
        progress.set("one")
        progress.set("two")
        await asyncio.sleep(1)
        progress.set("three")

    play = stage.start(showing()).asks('view progress = "one"', 'view progress = "two"')
    play.skip(1).asks('view progress = "three"').completes()


def test_awaiting_a_workflow_runs_a_child(stage: Stage) -> None:
    @workflow
    async def parent() -> str:
        return "child says " + await at_once("hi")

    play = stage.start(parent()).asks('child at_once#1("hi")').goes_on("child at_once#1")
    play.answer("at_once#1", "hi").completes("child says hi")


def test_spawning_gives_a_handle_whose_result_can_be_awaited_later(stage: Stage) -> None:
    @workflow
    async def parent() -> list[str]:
        handle = await monolite.spawn(at_once("hi"))
        await asyncio.sleep(1)
        return [handle.id, await handle.result(), await handle.result()]

    play = stage.start(parent(), id="p").asks('child at_once#1("hi")')
    play.answer("at_once#1", "hi").goes_on("")
    play.skip(1).completes(["p/at_once#1", "hi", "hi"])


def test_a_child_with_an_id_of_its_own_is_asked_for_and_linked(stage: Stage) -> None:
    @workflow
    async def parent() -> str:
        handle = await monolite.spawn(at_once("hi"), id="me")
        return await handle.result()

    play = stage.start(parent())
    play.asks('spawn spawn:at_once#1("me","attach",false,["hi"])')
    play.answer("spawn:at_once#1", "linked").goes_on("child at_once#1")
    play.answer("at_once#1", "hi").completes("hi")


def test_joining_a_run_asks_for_its_result(stage: Stage) -> None:
    @workflow
    async def parent() -> str:
        handle = await monolite.spawn(at_once("hi"), id="me")
        return await handle.result()

    play = stage.start(parent())
    play.asks('spawn spawn:at_once#1("me","attach",false,["hi"])')
    play.answer("spawn:at_once#1", "joined").asks('result result:me#1("me")')
    play.answer("result:me#1", "hi").completes("hi")


def test_a_detached_child_is_started_and_left_alone(stage: Stage) -> None:
    @workflow
    async def parent() -> str:
        return (await monolite.spawn(at_once("hi"), detached=True)).id

    stage.start(parent(), id="p").asks("detach p/at_once#1").completes("p/at_once#1")


def test_what_a_handle_does_inside_a_workflow_is_a_request(stage: Stage) -> None:
    @workflow
    async def parent() -> list[bool]:
        handle = await monolite.spawn(at_once("hi"))
        sent = await handle.signal(notes, "hello", id="m1")
        stopped = await handle.cancel("enough")
        return [sent.accepted, stopped.accepted]

    play = stage.start(parent(), id="p").asks(
        'child at_once#1("hi")', 'send send:notes#1("p/at_once#1","signal","notes","m1","hello")'
    )
    play.answer("send:notes#1", monolite.Accepted(accepted=True)).asks(
        'send cancel:p/at_once#1#1("p/at_once#1","cancel","",null,"enough")'
    )
    no = monolite.Accepted(accepted=False, reason="the run has completed")
    play.answer("cancel:p/at_once#1#1", no).completes([True, False])


def test_reading_another_run_inside_a_workflow_is_misuse(stage: Stage) -> None:
    @workflow
    async def parent() -> str:
        handle = await monolite.spawn(at_once("hi"), detached=True)
        problems: list[str] = []
        for ask in (handle.describe, handle.history, lambda: handle.view(progress)):
            try:
                await ask()
            except errors.Misused as misused:
                problems.append(str(misused).partition(" cannot")[0])
        return "; ".join(problems)

    stage.start(parent(), id="p").asks("detach p/at_once#1").completes(
        "a description of p/at_once#1; the history of p/at_once#1; view progress of p/at_once#1"
    )


def test_cancelling_raises_in_the_code_which_may_clean_up_durably(stage: Stage) -> None:
    @workflow
    async def tidy() -> None:
        receipt = await charge("a", 1)
        try:
            await approval.receive()
        finally:
            await refund(receipt)

    play = stage.start(tidy()).asks('activity charge#1("a",1)')
    play.answer("charge#1", Receipt("a", 1)).asks().goes_on("signal approval")
    play.cancel("enough").asks('activity refund#1({"card":"a","cents":1})').goes_on("")
    play.answer("refund#1").is_cancelled("enough")


def test_cancelling_gives_up_what_the_code_waits_for(stage: Stage) -> None:
    play = stage.start(order("visa", 5)).asks('activity charge#1("visa",5)')
    play.cancel().asks("abandon charge#1").is_cancelled()


def test_cancelling_again_does_not_interrupt_the_clean_up(stage: Stage) -> None:
    @workflow
    async def tidy() -> None:
        try:
            await approval.receive()
        finally:
            await refund(Receipt("a", 1))

    play = stage.start(tidy()).cancel("once")
    play.asks('activity refund#1({"card":"a","cents":1})')
    play.cancel("twice").asks().goes_on()
    play.answer("refund#1").is_cancelled("once")


def test_code_may_decline_to_be_cancelled(stage: Stage) -> None:
    @workflow
    async def stubborn() -> str:
        try:
            await approval.receive()
        except asyncio.CancelledError:
            return "no"
        return "yes"

    stage.start(stubborn()).cancel("please").completes("no")


def test_tasks_left_running_are_cancelled_and_may_clean_up_before_the_end(stage: Stage) -> None:
    @workflow
    async def sloppy() -> str:
        async def background() -> None:
            try:
                await approval.receive()
            finally:
                await refund(Receipt("b", 2))

        asyncio.get_running_loop().create_task(background())
        await asyncio.sleep(1)
        return "main is done"

    play = stage.start(sloppy()).skip(1).asks('activity refund#1({"card":"b","cents":2})')
    play.goes_on().answer("refund#1").completes("main is done")


def test_an_exception_in_a_bare_callback_fails_the_run(stage: Stage) -> None:
    @workflow
    async def calling_back() -> None:
        def broken() -> None:
            msg = "in a callback"
            raise ValueError(msg)

        asyncio.get_running_loop().call_later(1, broken)
        await approval.receive()

    stage.start(calling_back()).skip(1).fails("ValueError: in a callback")


def test_time_stands_still_until_something_happens(stage: Stage) -> None:
    @workflow
    async def watching() -> list[str]:
        seen = [monolite.now()]
        await asyncio.sleep(0)
        seen.append(monolite.now())
        await asyncio.sleep(90)
        seen.append(monolite.now())
        return [f"{moment:%H:%M:%S %Z}" for moment in seen]

    stage.start(watching()).skip(90).completes(["12:00:00 UTC", "12:00:00 UTC", "12:01:30 UTC"])


def test_time_does_not_go_back_when_the_clock_is_set_back(stage: Stage) -> None:
    @workflow
    async def watching() -> list[str]:
        seen: list[str] = []
        for _ in range(3):
            await approval.receive()
            seen.append(f"{monolite.now():%H:%M:%S}")
        return seen

    play = stage.start(watching())
    for hours in (2, -1, 2):
        play.now_us += hours * 3_600_000_000
        play.signal("approval", True)
    play.completes(["14:00:00", "14:00:00", "15:00:00"])


def test_chance_and_ids_are_the_runs_own_and_repeat(stage: Stage) -> None:
    @workflow
    async def chance() -> list[object]:
        drawn: list[object] = [monolite.random().random(), str(monolite.uuid4())]
        await asyncio.sleep(1)
        return [*drawn, monolite.random().random(), str(monolite.uuid4())]

    first = stage.start(chance(), id="one").skip(1).result
    assert stage.start(chance(), id="one").skip(1).result == first
    other = stage.start(chance(), id="two").skip(1).result
    assert set(map(str, first)).isdisjoint(map(str, other))
    assert len(set(map(str, first))) == 4


def test_the_code_can_ask_which_run_it_is(stage: Stage) -> None:
    @workflow(name="who", version=3)
    async def asking() -> monolite.Current:
        return monolite.current()

    stage.start(asking(), id="me").completes(
        {"id": "me", "name": "who", "attempt": 1, "parent": None, "version": 3}
    )


async def test_what_only_a_workflow_can_await_is_misuse_elsewhere() -> None:
    with pytest.raises(errors.Misused, match="works inside a workflow only"):
        await approval.receive()
    with pytest.raises(errors.Misused, match="works inside a workflow only"):
        approval.pending()
    with pytest.raises(errors.Misused, match=r"use Runtime\.spawn"):
        await monolite.spawn(at_once("x"))


def test_waiting_says_what_for(stage: Stage) -> None:
    @workflow
    async def busy() -> None:
        await asyncio.gather(at_once("x"), approval.receive(), notes.receive(), asyncio.sleep(5))

    play = stage.start(busy()).asks('child at_once#1("x")')
    play.goes_on("signal approval, signal notes, child at_once#1")


def test_waiting_for_what_never_comes_is_said(stage: Stage) -> None:
    @workflow
    async def lost() -> None:
        await asyncio.Event().wait()

    stage.start(lost()).goes_on("something that no entry will answer")


def test_an_entry_out_of_order_is_a_bug_of_the_caller(stage: Stage) -> None:
    play = stage.start(order("visa", 5)).asks('activity charge#1("visa",5)')
    with pytest.raises(AssertionError, match="entry 5 delivered where 0 is next"):
        play.machine.deliver(Entry(5, NOON_US, e.ACTIVITY, "charge#1"))
    play.goes_on()


def test_a_retired_machine_keeps_nothing(stage: Stage) -> None:
    play = stage.start(order("visa", 5)).asks('activity charge#1("visa",5)')
    play.answer("charge#1", Receipt("visa", 5)).completes("visa paid 5")
    machine = play.replayed().machine
    machine.retire()
    assert (machine.operations, machine.timers, machine.loop.live_tasks()) == ({}, {}, [])
    assert machine.take_commands() is not None


def test_leaving_memory_runs_clean_up_code_but_no_durable_step_of_it(stage: Stage) -> None:
    ran: list[str] = []

    @workflow
    async def tidy() -> None:
        try:
            await approval.receive()
        finally:
            ran.append("before")
            await refund(Receipt("a", 1))
            ran.append("after")

    play = stage.start(tidy()).goes_on("signal approval")
    machine = play.replayed().machine
    machine.unload()
    assert ran == ["before"]
    assert [type(command) for command in machine.take_commands()] == []
    play.goes_on("signal approval")
