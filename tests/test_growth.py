"""Growth: what is done over and over leaves nothing behind, in memory or beside the file."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import anyio
import pytest

from monolite import Client, Runtime, Signal, View, workflow
from monolite.errors import FileOwned
from monolite.host import residency
from monolite.host.audience import Audience
from monolite.host.engine import Engine
from monolite.host.events import AwaitEnd, Post, Reply, Spawn, Unawait
from monolite.host.registry import Registry
from monolite.store.memory import MemoryStore
from tests.processes import programs

go = Signal("go", str)
news = View("news", str)


@workflow
async def waiter() -> str:
    return await go.receive()


@workflow
async def in_time() -> str:
    """Sets a timer for next year and needs it for no time at all."""
    async with asyncio.timeout(86_400 * 365):
        await asyncio.sleep(0.000_001)
    return "done"


class Answer:
    """A reply that can be looked for in memory."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def answer(self, value: object) -> None:
        self.heard.append(value)

    def refuse(self, error: BaseException) -> None:
        raise error


def in_memory() -> Engine:
    return Engine(MemoryStore(), Registry([waiter, in_time]))


def spawn(id: str, reply: Reply, name: str = "waiter") -> Spawn:
    return Spawn(id, name, "[]", 1, "attach", 0, None, reply)


def test_an_answer_that_nobody_waits_for_any_more_is_forgotten() -> None:
    engine = in_memory()
    kept, given_up = Answer(), Answer()
    forgotten = weakref.ref(given_up)
    engine.turn([spawn("w", Answer()), AwaitEnd("w", kept), AwaitEnd("w", given_up)], 1)
    engine.turn([Unawait(given_up)], 2)
    del given_up
    gc.collect()
    assert forgotten() is None
    released = engine.turn([Post("w", "signal", "go", '"now"', None, Answer())], 3)
    assert [reply for reply, _ in released.answers if reply is kept] == [kept]


def test_an_answer_may_be_given_up_in_the_turn_that_asks_for_it() -> None:
    engine = in_memory()
    given_up = Answer()
    engine.turn([spawn("w", Answer()), AwaitEnd("w", given_up), Unawait(given_up)], 1)
    released = engine.turn([Post("w", "terminate", "", '""', None, Answer())], 2)
    assert given_up not in [reply for reply, _ in released.answers]


async def test_waiting_with_a_time_limit_gives_up_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[Unawait] = []

    def note(_audience: Audience, event: Unawait) -> None:
        given_up.append(event)

    monkeypatch.setattr(Audience, "on_unawait", note)
    async with Runtime(tmp_path / "app.db", actors=[waiter]) as rt:
        run = await rt.spawn(waiter(), id="w")
        with anyio.move_on_after(0.001):
            await run.result()
        await run.describe()
    assert len(given_up) == 1


def test_timers_that_were_not_needed_leave_no_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run leaves one that is due next year: they are looked through now and then."""
    monkeypatch.setattr(residency, "ALARMS_SPARE", 10)
    engine = in_memory()
    for number in range(100):
        engine.turn([spawn(f"t{number}", Answer(), "in_time")], 2 * number)
        engine.turn([], 2 * number + 1)
    assert engine.store.counts() == {"completed": 100}
    assert engine.residency.alarms <= 12


def files_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_opening_and_closing_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "app.db"

    async def once() -> None:
        async with Runtime(path, actors=[programs]) as rt, Client(path) as client:
            run = await client.spawn(programs.naps())
            await run.result()
            await rt.list()
            await client.list()

    await once()
    before = files_open()
    for _ in range(5):
        await once()
    assert files_open() == before
    assert [p.name for p in tmp_path.iterdir()] == ["app.db"]


async def test_refused_openings_leave_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "app.db"

    async def once() -> None:
        with pytest.raises(FileOwned):
            await Runtime(path, actors=[programs]).__aenter__()

    async with Runtime(path, actors=[programs]):
        await once()  # SQLite keeps one file open for later, lest closing it drops our locks
        before = files_open()
        for _ in range(5):
            await once()
        assert files_open() == before
