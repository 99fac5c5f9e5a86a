"""Code that no longer asks for what the journal holds parks its run; nothing is written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from monolite import Runtime, Signal, Workflow, activity, errors, workflow
from monolite.store.sqlite.reader import SqliteReader
from tests.core.play import Stage

approval = Signal("approval", str)

charged: list[str] = []


@activity
async def charge(card: str, cents: int) -> str:
    charged.append(f"{card} {cents}")
    return f"charged {cents}"


@activity
async def refund(card: str) -> str:
    return f"refunded {card}"


@workflow(name="order")
async def original(card: str) -> list[str]:
    """The code that the journals of these tests were written by."""
    done = [await charge(card, 5)]
    await asyncio.sleep(0.01)
    done.append(await refund(card))
    done.append(await approval.receive())
    return done


JOURNAL = [
    ("activity", "charge#1", '["visa",5]'),
    ("timer", "timer#1", "10000"),
    ("activity", "refund#1", '["visa"]'),
]


@workflow(name="order")
async def asks_for_another_activity(card: str) -> list[str]:
    return [await refund(card)]  # here


@workflow(name="order")
async def gives_other_arguments(card: str) -> list[str]:
    return [await charge(card, 6)]  # here


@workflow(name="order")
async def sleeps_longer(card: str) -> list[str]:
    done = [await charge(card, 5)]
    await asyncio.sleep(60)  # here
    return done


@workflow(name="order")
async def leaves_something_out(card: str) -> list[str]:
    await asyncio.sleep(0.01)  # here
    return [await refund(card)]


@workflow(name="order")
async def waits_for_a_message_instead(card: str) -> list[str]:
    return [card, await approval.receive()]  # here


@workflow(name="order")
async def does_it_in_another_order(card: str) -> list[str]:
    done = [await charge(card, 5)]
    done.append(await refund(card))  # here
    await asyncio.sleep(0.01)
    return done


@workflow(name="order")
async def ends_early(card: str) -> list[str]:
    return [await charge(card, 5)]


@workflow(name="order")
async def raises_early(card: str) -> list[str]:
    await charge(card, 5)
    msg = "not today"
    raise ValueError(msg)  # here


@workflow(name="charge")
async def charging(card: str, cents: int) -> str:
    return f"{card} {cents}"


@workflow(name="order")
async def runs_a_child_of_that_name(card: str) -> list[str]:
    return [await charging(card, 5)]  # here


@workflow(name="order")
async def does_more_at_once(card: str) -> list[str]:
    other, found = await asyncio.gather(refund(card), charge(card, 5))  # here
    await asyncio.sleep(1)
    return [other, found]


Changed = Workflow[..., list[str]]

CHANGES: list[tuple[Changed, str, str, int]] = [
    (asks_for_another_activity, 'activity charge#1("visa",5)', 'activity refund#1("visa")', 0),
    (gives_other_arguments, 'activity charge#1("visa",5)', 'activity charge#1("visa",6)', 0),
    (sleeps_longer, "timer#1 (a timer of 0.01 s)", "timer#1 (a timer of 60 s)", 1),
    (leaves_something_out, 'activity charge#1("visa",5)', "timer#1 (a timer of 0.01 s)", 0),
    (waits_for_a_message_instead, 'activity charge#1("visa",5)', "signal approval", 0),
    (does_it_in_another_order, "timer#1 (a timer of 0.01 s)", 'activity refund#1("visa")', 1),
    (ends_early, "timer#1 (a timer of 0.01 s)", "nothing: the workflow completed", 1),
    (
        raises_early,
        "timer#1 (a timer of 0.01 s)",
        "nothing: the workflow failed with ValueError: not today",
        1,
    ),
    (runs_a_child_of_that_name, 'activity charge#1("visa",5)', 'child charge#1("visa",5)', 0),
    (
        does_more_at_once,
        "timer#1 (a timer of 0.01 s)",
        'activity refund#1("visa")',
        1,
    ),
]

per_change = pytest.mark.parametrize(
    ("changed", "expected", "actual", "n"),
    CHANGES,
    ids=[change[0].fn.__name__ for change in CHANGES],
)


def line_marked_here(changed: Changed) -> str | None:
    """Return "file.py:line" of the line of a function that is marked with "# here"."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    for number in range(changed.fn.__code__.co_firstlineno, len(lines) + 1):
        if lines[number - 1].endswith("# here"):
            return f"{Path(__file__).name}:{number}"
        if not lines[number - 1].strip():
            return None
    return None


@per_change
def test_the_message_says_what_is_held_what_is_asked_and_where(
    stage: Stage, changed: Changed, expected: str, actual: str, n: int
) -> None:
    play = stage.start(original("visa"), id="order-1")
    play.answer("charge#1", "charged 5").skip(0.01).answer("refund#1", "refunded visa")
    assert [(x.kind, x.key, x.args) for x in play.journal] == JOURNAL
    with pytest.raises(errors.Diverged) as caught:
        play.replayed(changed)
    diverged = caught.value
    assert (diverged.expected, diverged.at) == (expected, f"order-1 entry {n}")
    assert diverged.actual.partition(" (at ")[0] == actual
    place = line_marked_here(changed)
    assert (place is None) == (changed is ends_early)
    if place is not None:
        assert diverged.actual.endswith(f"(at {place})")
    assert str(diverged) == (
        f"order-1 entry {n}: the journal holds {expected}, but the code now asks for "
        f"{diverged.actual}; bring back the old code for runs in flight, then restart: "
        "nothing was written"
    )
    play.goes_on("signal approval")
    play.all_seen()


async def first_life(file: Path) -> None:
    async with Runtime(file, actors=[original]) as rt:
        handle = await rt.spawn(original("visa"), id="order-1")
        while (await handle.describe()).waiting_on != "signal approval":
            await asyncio.sleep(0)


def journal(file: Path) -> list[Any]:
    """Everything that is written of what the run has learned and asked for."""
    reader = SqliteReader.open(file)
    try:
        run = reader.run_by_id("order-1")
        assert run is not None
        return [*reader.entries(run.no), *reader.attempts(run.no)]
    finally:
        reader.close()


@per_change
async def test_a_diverged_run_is_parked_and_repaired_code_continues_it(
    tmp_path: Path, changed: Changed, expected: str, actual: str, n: int
) -> None:
    file = tmp_path / "app.db"
    charged.clear()
    await first_life(file)
    before = journal(file)

    async with Runtime(file, actors=[changed]) as rt:
        # A run that only waits for messages is not read until one comes.
        assert await rt.handle("order-1").signal(approval, "yes")
        info = await rt.describe("order-1")
        assert info.status == "diverged"
        assert info.error is not None
        for words in (info.waiting_on, info.error):
            assert words is not None
            assert f"order-1 entry {n}: the journal holds {expected}" in words
            assert f"the code now asks for {actual}" in words
        assert [i.id for i in await rt.list(status="diverged")] == ["order-1"]
    assert journal(file) == before

    async with Runtime(file, actors=[original]) as rt:
        handle = rt.handle("order-1", original)
        assert await handle.result() == ["charged 5", "refunded visa", "yes"]
        assert (await handle.describe()).error is None
    assert charged == ["visa 5"]


async def test_a_run_that_stays_diverged_says_so_in_every_life(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    await first_life(file)
    for _ in range(3):
        async with Runtime(file, actors=[ends_early]) as rt:
            await rt.handle("order-1").signal(approval, "yes", id="once")
            assert (await rt.describe("order-1")).status == "diverged"
            assert [i.id for i in await rt.list(status="diverged")] == ["order-1"]


async def test_a_message_to_a_diverged_run_waits_for_repaired_code(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    await first_life(file)
    async with Runtime(file, actors=[ends_early]) as rt:
        assert await rt.handle("order-1").signal(approval, "yes", id="once")
        assert (await rt.describe("order-1")).status == "diverged"
    async with Runtime(file, actors=[original]) as rt:
        handle = rt.handle("order-1", original)
        assert (await handle.signal(approval, "yes", id="once")).reason == "duplicate"
        assert await handle.result() == ["charged 5", "refunded visa", "yes"]


async def test_a_diverged_run_can_be_terminated(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    await first_life(file)
    async with Runtime(file, actors=[ends_early]) as rt:
        handle = rt.handle("order-1")
        assert await handle.terminate("give it up")
        with pytest.raises(errors.Terminated, match="give it up"):
            await handle.result()
        assert (await handle.describe()).status == "terminated"
    async with Runtime(file, actors=[original]) as rt:
        assert (await rt.describe("order-1")).status == "terminated"


async def test_a_diverged_run_can_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    await first_life(file)
    async with Runtime(file, actors=[ends_early]) as rt:
        await rt.handle("order-1").signal(approval, "yes")
        assert [i.id for i in await rt.list(status="diverged")] == ["order-1"]
        handle = await rt.spawn(ends_early("visa"), id="order-1", id_conflict="restart")
        assert await handle.result() == ["charged 5"]
        assert (await handle.describe()).generation == 2
        assert await rt.list(status="diverged") == []


async def test_a_parent_whose_child_ended_while_it_was_diverged_gets_the_result(
    tmp_path: Path,
) -> None:
    @workflow
    async def child() -> str:
        return await approval.receive()

    @workflow(name="parent")
    async def parent() -> str:
        await charge("visa", 1)
        return await child()

    @workflow(name="parent")
    async def broken() -> str:
        await refund("visa")
        return await child()

    file = tmp_path / "app.db"
    async with Runtime(file, actors=[parent, child]) as rt:
        handle = await rt.spawn(parent(), id="p")
        while (await handle.describe()).waiting_on != "child child#1":
            await asyncio.sleep(0)
    async with Runtime(file, actors=[broken, child]) as rt:
        assert await rt.handle("p").signal(Signal("wake up", str), "now")
        assert (await rt.describe("p")).status == "diverged"
        young = rt.handle("p/child#1", child)
        assert await young.signal(approval, "grown up")
        assert await young.result() == "grown up"
    async with Runtime(file, actors=[parent, child]) as rt:
        async with asyncio.timeout(5):
            assert await rt.handle("p", parent).result() == "grown up"


def test_messages_after_an_early_end_are_a_divergence_too(stage: Stage) -> None:
    @workflow
    async def waits() -> str:
        await asyncio.sleep(1)
        first = await approval.receive()
        return first + await approval.receive()

    @workflow(name="waits")
    async def does_not() -> str:
        await asyncio.sleep(1)
        return "done"

    play = stage.start(waits()).skip(1).signal("approval", "a")
    with pytest.raises(errors.Diverged, match="the journal holds signal approval, but the code"):
        play.replayed(does_not)
    play.goes_on("signal approval")


def test_a_message_that_was_never_received_is_none(stage: Stage) -> None:
    @workflow
    async def naps() -> str:
        await asyncio.sleep(2)
        return "rested"

    stage.start(naps()).signal("approval", "unheard").skip(2).completes("rested")


def test_arguments_that_no_longer_fit_are_a_divergence_if_the_run_has_learned_anything(
    stage: Stage,
) -> None:
    @workflow(name="order")
    async def wants_a_number(card: int) -> list[str]:
        return [await charge(str(card), 5)]

    play = stage.start(original("visa")).answer("charge#1", "charged 5").cancel("enough")
    for journal in (play.journal, play.journal[1:]):
        with pytest.raises(errors.Diverged, match=r"failed with PayloadInvalid: argument \w+ of"):
            type(play)(
                wants_a_number,
                play.run,
                [replace(entry, n=n) for n, entry in enumerate(journal)],
                replaying=True,
            )
    play.asks('activity charge#1("visa",5)').is_cancelled("enough")
