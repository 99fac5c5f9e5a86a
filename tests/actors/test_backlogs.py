"""Backlogs: thousands of messages behind a turn are read about once, not once for each turn."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

import monolite
from monolite import Actor, activity, query, signal, update
from monolite.core.entry import RunNo
from monolite.host.backlog import PAGE_MAX, Backlog
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Message, Store
from monolite.store.sqlite.store import SqliteStore
from tests.actors.watching import in_turn
from tests.host.clocks import ManualClock
from tests.host.counting import CountingStore
from tests.host.homes import RuntimeOn
from tests.store.samples import NOON_US, a_message, a_run, batch

BACKLOG = 2_000


@activity
async def nothing() -> None:
    return


class Clerk(Actor):
    """Takes one after the other; some take a while."""

    taken: int = 0

    @update
    async def work(self) -> None:
        await asyncio.sleep(60)

    @signal
    async def take(self) -> None:
        self.taken += 1

    @signal
    async def take_slowly(self) -> None:
        await nothing()
        self.taken += 1

    @query
    def count(self) -> int:
        return self.taken


@pytest.fixture(params=["file", "memory"])
def counting(request: pytest.FixtureRequest, tmp_path: Path) -> CountingStore:
    if request.param == "memory":
        return CountingStore(MemoryStore())
    path = tmp_path / "app.db"
    return CountingStore(SqliteStore.own(path, durability="normal", now_us=NOON_US))


async def fill(
    counting: CountingStore, clock: ManualClock, handler: str, **options: Any
) -> CountingStore:
    """Put a backlog behind a turn, end the turn, and wait until all of it was taken."""
    runtime = RuntimeOn(cast("Store", counting), actors=[Clerk], clock=clock, **options)
    async with runtime as rt:
        clerk = rt.actor(Clerk, "c")
        turn = asyncio.ensure_future(clerk.work())
        await in_turn(rt, "Clerk/c")
        sent = [monolite.send(getattr(clerk, handler)()) for _ in range(BACKLOG)]
        await asyncio.gather(*sent)
        counting.rows.clear()
        counting.calls.clear()
        clock.advance("60s")
        await rt.list(limit=1)
        await turn
        while await clerk.count() < BACKLOG:
            await asyncio.sleep(0)
        assert await clerk.count() == BACKLOG
    return counting


@pytest.mark.parametrize("handler", ["take", "take_slowly"])
async def test_a_backlog_is_read_in_proportion_to_its_length(
    counting: CountingStore, clock: ManualClock, handler: str
) -> None:
    counts = await fill(counting, clock, handler)
    assert sum(counts.rows.values()) < 4 * BACKLOG, counts.rows


async def test_neither_is_that_of_an_actor_that_leaves_memory_at_each_turn(
    counting: CountingStore, clock: ManualClock
) -> None:
    counts = await fill(counting, clock, "take_slowly", max_live=1)
    assert sum(counts.rows.values()) < 6 * BACKLOG, counts.rows


async def test_a_delayed_message_that_must_wait_is_looked_at_once(
    counting: CountingStore, clock: ManualClock
) -> None:
    """Else the engine would see it as due in every turn, and never rest."""
    async with RuntimeOn(cast("Store", counting), actors=[Clerk], clock=clock) as rt:
        clerk = rt.actor(Clerk, "c")
        turn = asyncio.ensure_future(clerk.work())
        await in_turn(rt, "Clerk/c")
        await monolite.send(clerk.take(), delay="30s")
        clock.advance("30s")
        await rt.list(limit=1)
        for _ in range(20):
            await rt.describe("Clerk/c")
        assert counting.rows["messages_due"] == 1
        assert counting.calls["messages_due"] == 1
        clock.advance("30s")
        await rt.list(limit=1)
        await turn
        assert await clerk.count() == 1


async def test_a_delayed_message_to_an_actor_that_is_gone_lets_the_engine_rest(
    counting: CountingStore, clock: ManualClock
) -> None:
    async with RuntimeOn(cast("Store", counting), actors=[Clerk], clock=clock) as rt:
        await monolite.send(rt.actor(Clerk, "c").take(), delay="30s")
        await rt.handle("Clerk/c").terminate("enough")
        clock.advance("30s")
        for _ in range(20):
            await rt.describe("Clerk/c")
        assert counting.calls["messages_due"] == 1


def test_pages_grow_and_what_is_taken_is_passed_over(counting: CountingStore) -> None:
    messages = [a_message(2, value=str(n)) for n in range(1_000)]
    counting.commit(batch(a_run(2), *messages))
    taken: set[int] = set()
    backlog = Backlog(cast("Store", counting), RunNo(2), taken)
    late = Message(RunNo(2), "signal", "late", "1", NOON_US, seq=10)
    backlog.ripen(late)
    found: list[int] = []
    while (message := backlog.next()) is not None:
        assert message.seq is not None
        taken.add(message.seq)
        found.append(message.seq)
    assert found == list(range(1, 1_001))
    assert counting.calls["waiting"] < 10 + 1_000 // PAGE_MAX
    assert counting.rows["waiting"] == 1_000
    counting.close()
