"""A full disk: requests are refused, nothing is lost, and it recovers by itself."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import monolite
from monolite import Client, Handle, Runtime, Signal, View, activity, errors, workflow
from monolite.host import engine
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Writes
from monolite.store.sqlite.store import SqliteStore
from tests.host import gate
from tests.host.clocks import ManualClock
from tests.host.homes import Home, ended, waits_on
from tests.host.loops import on_both_loops

number = Signal("number", int)
published = View("published", int)


class Disk:
    """The disk of every store of the test."""

    def __init__(self) -> None:
        self.is_full: Callable[[], bool] = lambda: False
        self.found_full = threading.Event()

    def check(self) -> None:
        if self.is_full():
            self.found_full.set()
            message = "the disk is full; free space, then send the request again"
            raise errors.StorageFull(message)

    @contextlib.asynccontextmanager
    async def full(self) -> AsyncGenerator[None]:
        """Be full, until the engine has noticed and the block is over."""
        self.is_full = lambda: True
        try:
            yield
            assert await anyio.to_thread.run_sync(self.found_full.wait, 10)
        finally:
            self.is_full = lambda: False

    def refuse_all_but_every(self, nth: int) -> None:
        """Refuse most commits."""
        tries = 0

        def is_full() -> bool:
            nonlocal tries
            tries += 1
            return tries % nth != 0

        self.is_full = is_full


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    for store in (MemoryStore, SqliteStore):
        commit: Callable[[Any, Writes], None] = vars(store)["commit"]

        def checked(
            self: Any, writes: Writes, commit: Callable[[Any, Writes], None] = commit
        ) -> None:
            disk.check()
            commit(self, writes)

        monkeypatch.setattr(store, "commit", checked)
    return disk


@workflow
async def echo(word: str) -> str:
    return word


@workflow
async def waiting() -> str:
    return await gate.wait_for_it()


# Requests.


@on_both_loops
async def test_a_request_is_refused_and_can_be_sent_again(home: Home, disk: Disk) -> None:
    async with home.runtime(echo, waiting) as rt:
        run = await rt.spawn(waiting())
        async with disk.full():
            with pytest.raises(errors.StorageFull, match="free space"):
                await rt.spawn(echo("again"), id="e")
            with pytest.raises(errors.StorageFull):
                await run.signal(number, 1, id="one")
            with pytest.raises(errors.StorageFull):
                await run.cancel()
            with pytest.raises(errors.StorageFull):
                await run.terminate()
        assert await (await rt.spawn(echo("again"), id="e")).result() == "again"
        assert (await run.signal(number, 1, id="one")).reason == ""
        assert [x.kind for x in await run.history()] == ["started", "signal"]
        await gate.open(run, "unharmed")
        assert await run.result() == "unharmed"


async def test_what_only_reads_is_answered_meanwhile(home: Home, disk: Disk) -> None:
    @workflow
    async def publishing() -> str:
        published.set(1)
        return await gate.wait_for_it()

    async with home.runtime(publishing, echo) as rt:
        run = await rt.spawn(publishing(), id="p")
        async with disk.full():
            with pytest.raises(errors.StorageFull):
                await rt.spawn(echo("x"))
            assert await run.view(published) == 1
            info = await run.describe()
            assert (info.status, info.waiting_on) == ("waiting", "signal gate")
            assert [info.id for info in await rt.list()] == ["p"]
            assert [x.kind for x in await run.history()] == ["started"]


async def test_who_waited_before_gets_the_result_after(home: Home, disk: Disk) -> None:
    async with home.runtime(waiting) as rt, asyncio.TaskGroup() as group:
        run = await rt.spawn(waiting())
        result = group.create_task(run.result())
        watched = group.create_task(everything(run))
        await run.describe()
        async with disk.full():
            with pytest.raises(errors.StorageFull):
                await gate.open(run, "too early")
        await gate.open(run, "now")
        assert await result == "now"
        assert await watched == []


async def everything(run: Handle[Any]) -> list[int]:
    """Return what is published until the run's end."""
    return [n async for n in run.watch(published)]


async def test_a_crowd_of_requests_is_refused_as_one_and_taken_as_one(
    home: Home, disk: Disk
) -> None:
    async with home.runtime(echo) as rt:
        async with disk.full():
            refused = await asyncio.gather(
                *(rt.spawn(echo(str(n)), id=f"e{n}") for n in range(50)), return_exceptions=True
            )
        assert {type(answer) for answer in refused} == {errors.StorageFull}
        assert await rt.list() == []
        runs = [await rt.spawn(echo(str(n)), id=f"e{n}") for n in range(50)]
        assert [await run.result() for run in runs] == [str(n) for n in range(50)]


# What goes on by itself.


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_an_outcome_is_kept_until_it_can_be_stored(
    home: Home, disk: Disk, in_thread: bool, fails: bool
) -> None:
    release = threading.Event()
    ran: list[int] = []

    def work() -> str:
        ran.append(1)
        release.wait(20)
        if fails:
            message = "as it should"
            raise ValueError(message)
        return "done"

    @activity(retry=False)
    def in_a_thread() -> str:
        return work()

    @activity(retry=False)
    async def on_the_loop() -> str:
        return await anyio.to_thread.run_sync(work)

    @workflow
    async def working() -> str:
        try:
            return await (in_a_thread() if in_thread else on_the_loop())
        except errors.ActivityFailed as failed:
            return f"{failed.cause}"

    async with home.runtime(working) as rt:
        run = await rt.spawn(working())
        async with disk.full():
            release.set()
        assert await run.result() == ("as it should" if fails else "done")
        assert [x.kind for x in await run.history()] == ["started", "activity", "completed"]

    assert ran == [1]


async def test_a_timer_that_is_due_meanwhile_fires_once_afterwards(
    home: Home, disk: Disk, clock: ManualClock
) -> None:
    @workflow
    async def sleeping() -> str:
        await asyncio.sleep(60)
        return "awake"

    async with home.runtime(sleeping, clock=clock) as rt:
        run = await rt.spawn(sleeping())
        async with disk.full():
            await clock.skip(rt, 61)
        assert await run.result() == "awake"
        assert [x.kind for x in await run.history()] == ["started", "timer", "completed"]


async def test_a_delayed_run_that_is_due_meanwhile_begins_afterwards(
    home: Home, disk: Disk, clock: ManualClock
) -> None:
    async with home.runtime(waiting, clock=clock) as rt:
        run = await rt.spawn(waiting(), delay=60)
        async with disk.full():
            await clock.skip(rt, 61)
        await waits_on(run, "signal gate")
        await gate.open(run, "begun")
        assert await run.result() == "begun"


async def test_nothing_that_was_not_stored_takes_effect(home: Home, disk: Disk) -> None:
    ran: list[str] = []

    @activity
    async def act(word: str) -> str:
        ran.append(word)
        return word

    @workflow
    async def acting(word: str) -> str:
        return await act(word)

    async with home.runtime(acting) as rt:
        async with disk.full():
            with pytest.raises(errors.StorageFull):
                await rt.spawn(acting("refused"))
        assert await (await rt.spawn(acting("taken"))).result() == "taken"

    assert ran == ["taken"]


async def test_a_runtime_can_be_left_while_the_disk_is_full(home: Home, disk: Disk) -> None:
    ran: list[int] = []

    @activity
    async def act() -> str:
        ran.append(1)
        return "done"

    @workflow
    async def acting() -> str:
        word = await gate.wait_for_it()
        return f"{word} {await act()}"

    async with home.runtime(acting, shutdown_grace=0) as rt:
        run = await rt.spawn(acting(), id="a")
        disk.is_full = lambda: True
        with pytest.raises(errors.StorageFull):
            await gate.open(run, "lost")
    disk.is_full = lambda: False

    async with home.runtime(acting) as rt:
        await gate.open(rt.handle("a"), "well")
        assert await rt.handle("a").result() == "well done"

    assert ran == [1]


# What other processes put into the file meanwhile.


async def test_a_message_of_another_process_is_delivered_afterwards(
    tmp_path: Path, disk: Disk
) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=[waiting]) as rt, Client(path) as client:
        run = await rt.spawn(waiting(), id="w")
        async with disk.full():
            await gate.open(client.handle("w"), "from outside")
        with anyio.fail_after(10):
            assert await run.result() == "from outside"


async def test_a_run_of_another_process_is_started_afterwards(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=[echo]) as rt, Client(path) as client:
        async with disk.full():
            await client.spawn(echo("from outside"), id="e")
        with anyio.fail_after(10):
            assert await rt.handle("e").result() == "from outside"


async def test_a_delayed_run_that_another_process_cancels_is_cancelled_afterwards(
    tmp_path: Path, disk: Disk
) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=[echo]) as rt, Client(path) as client:
        run = await rt.spawn(echo("never"), id="e", delay="1h")
        async with disk.full():
            await client.handle("e").cancel("from outside")
        with anyio.fail_after(10), pytest.raises(errors.Cancelled, match="from outside"):
            await run.result()


# A disk that is full now and then.


@workflow
async def family(depth: int) -> int:
    """Count a tree of children, awaited, spawned, named and detached."""
    if depth == 0:
        return 1
    named = await monolite.spawn(family(depth - 1), id=f"{monolite.current().id}/named")
    detached = await monolite.spawn(family(depth - 1), detached=True)
    await named.signal(number, depth)
    awaited = await asyncio.gather(family(depth - 1), family(depth - 1))
    return 1 + sum([*awaited, await named.result(), await detached.result()])


@pytest.mark.parametrize("bound", [1, 3, 10_000])
@pytest.mark.parametrize("max_live", [3, 10_000])
async def test_runs_end_as_ever_on_a_disk_that_refuses_now_and_then(
    home: Home, disk: Disk, monkeypatch: pytest.MonkeyPatch, bound: int, max_live: int
) -> None:
    monkeypatch.setattr("monolite.host.thread.FULL_WAIT_S", (0.0,) * 4)
    monkeypatch.setattr(engine, "CASCADE_MAX", bound)
    async with home.runtime(family, max_live=max_live) as rt:
        run = await rt.spawn(family(3), id="top")
        disk.refuse_all_but_every(3)
        with anyio.fail_after(20):
            while (await run.describe()).status == "running":
                await anyio.lowlevel.checkpoint()
            assert (await ended(run)).status == "completed"
        disk.is_full = lambda: False
        assert await run.result() == 1 + 4 + 16 + 64
        assert {info.status for info in await rt.list(limit=1_000)} == {"completed"}
