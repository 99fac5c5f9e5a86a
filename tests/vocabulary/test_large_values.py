"""Large values and long histories: rows stay small, replays go by the page, and warn."""

from __future__ import annotations

import logging

import pytest

from monolite import (
    Actor,
    Client,
    ContinueAsNew,
    Runtime,
    Signal,
    Update,
    View,
    activity,
    query,
    transaction,
    update,
    workflow,
)
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
    async def hold(self, text: str) -> None:
        self.text = text

    @query
    def length(self) -> int:
        return len(self.text)

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


shown = View("shown", str)


@workflow
async def showing(left: int) -> None:
    """Show what each signal brings, in two runs of this id."""
    shown.set(await go_on.receive())
    if left:
        raise ContinueAsNew(showing(left - 1))
    async for text in go_on:
        shown.set(text)


def kept(rt: Runtime) -> list[tuple[str, int]]:
    """What is kept aside, and its length; and that no row is large."""
    with rt.read() as db:
        for column, table in (("state", "states"), ("value", "views")):
            query = f"SELECT max(length({column})) FROM monolite_{table}"  # a fixed list
            (longest,) = db.execute(query).fetchone() or (0,)
            assert (longest or 0) < 200, table
        rows = db.execute("SELECT slot, length(value) FROM monolite_large ORDER BY slot")
        return [(str(slot), int(length)) for slot, length in rows]


async def test_a_large_state_is_kept_aside_once_however_often_it_changes(lives: World) -> None:
    async with lives.runtime(Box) as rt:
        for extra in range(20):
            await rt.actor(Box, "b").hold(LARGE + "y" * extra)
        assert len(kept(rt)) == 1
    async with lives.runtime(Box) as rt, Client(lives.path) as client:
        assert await rt.actor(Box, "b").length() == len(LARGE) + 19
        assert await client.actor(Box, "b").length() == len(LARGE) + 19
        await rt.actor(Box, "b").hold("small")
        assert kept(rt) == []
        assert await client.actor(Box, "b").length() == 5


async def test_a_large_view_is_kept_aside_once_and_goes_over_to_the_next_run(
    lives: World,
) -> None:
    async with lives.runtime(showing) as rt, Client(lives.path) as client:
        run = await rt.spawn(showing(1), id="s")
        for extra in range(5):
            text = LARGE + "y" * extra
            watched = run.watch(shown)
            await run.signal(go_on, text)
            async for seen in watched:
                if seen == text:
                    break
            await watched.aclose()
            assert await run.view(shown) == text
            assert await client.handle("s").view(shown) == text
            assert kept(rt) == [("view:shown", len(text) + 2)]
        await run.signal(go_on, "small")
        await until_waiting(run, "signal")
        assert await run.view(shown) == "small"
        assert kept(rt) == []


async def test_the_timeline_shows_large_values_whole(lives: World) -> None:
    async with lives.runtime(carrying) as rt:
        run = await rt.spawn(carrying(LARGE), id="c")
        await run.update(echo, LARGE)
        with rt.read() as db:
            rows = db.execute("SELECT length(value) FROM monolite_timeline WHERE id = 'c'")
            assert {int(length) for (length,) in rows} == {len(LARGE) + 2}
        await run.signal(go_on, "")
        assert await run.result() == LARGE


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
