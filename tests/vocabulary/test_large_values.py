"""Large values and long histories: rows stay small, replays go by the page, and warn."""

from __future__ import annotations

import logging

import pytest

from monolite import Actor, Signal, Update, activity, transaction, update, workflow
from monolite.host import residency
from tests.host.hosts import World, until_waiting

LARGE = "x" * 200_000
go_on = Signal("go_on", str)
echo = Update("echo", str, str)


@activity
async def same(text: str) -> str:
    return text


@workflow
async def carrying(text: str) -> str:
    """Carry a large text through every kind of row."""
    first = await same(text)
    request = await echo.receive()
    request.reply(request.value)
    return first + await go_on.receive()


@workflow
async def parent(text: str) -> int:
    return len(await carrying(text))


class Box(Actor):
    text: str = ""

    @update
    async def put(self, text: str) -> str:
        self.text += text
        return self.text


async def test_large_values_come_back_whole_and_leave_rows_small(lives: World) -> None:
    async with lives.runtime(carrying) as rt:
        run = await rt.spawn(carrying(LARGE), id="c")
        assert await run.update(echo, LARGE, id="u") == LARGE
    async with lives.runtime(carrying) as rt:
        run = rt.handle("c", carrying)
        assert await run.update(echo, LARGE, id="u") == LARGE
        await run.signal(go_on, LARGE)
        assert await run.result() == LARGE + LARGE
        with rt.read() as db:
            for column, table in (
                ("args", "runs"),
                ("value", "runs"),
                ("value", "journal"),
                ("value", "inbox"),
                ("answer", "inbox"),
            ):
                query = f"SELECT max(length({column})) FROM monolite_{table}"  # a fixed list
                (longest,) = db.execute(query).fetchone() or (0,)
                assert longest < 200, (column, table)
    async with lives.runtime(carrying) as rt:
        assert await rt.handle("c").result() == LARGE + LARGE


async def test_parents_and_actors_carry_large_values(lives: World) -> None:
    async with lives.runtime(carrying, parent, Box) as rt:
        run = await rt.spawn(parent(LARGE), id="p")
        await until_waiting(run, "child")
        (child,) = await rt.list(name="carrying")
        assert await rt.handle(child.id).update(echo, LARGE) == LARGE
        await rt.handle(child.id).signal(go_on, LARGE)
        assert await run.result() == 2 * len(LARGE)
        assert await rt.actor(Box, "b").put(LARGE) == LARGE
    async with lives.runtime(carrying, parent, Box) as rt:
        assert len(await rt.actor(Box, "b").put(LARGE)) == 2 * len(LARGE)


async def test_a_long_journal_is_replayed_by_the_page_and_named_in_the_log(
    lives: World, caplog: pytest.LogCaptureFixture
) -> None:
    count = 20_000
    async with lives.runtime(looping, history_warning=1_000) as rt:
        with caplog.at_level(logging.WARNING, "monolite.engine"):
            run = await rt.spawn(looping(count), id="l")
            await until_waiting(run, "signal")
    warned = [r.getMessage() for r in caplog.records if "ContinueAsNew" in r.getMessage()]
    assert len(warned) == 1
    assert "'l'" in warned[0]
    assert count > residency.REPLAY_PAGE
    async with lives.runtime(looping) as rt:
        await rt.handle("l").signal(go_on, "end")
        assert await rt.handle("l").result() == count


@transaction
def one(db: object) -> int:
    return 1


@workflow
async def looping(count: int) -> int:
    total = 0
    for _ in range(count):
        total += await one()
    await go_on.receive()
    return total
