"""An engine that cannot go on ends the program's block, and says why."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from monolite import activity, errors, workflow
from monolite.host.clock import Clock, SystemClock
from monolite.store.memory import MemoryStore
from monolite.store.protocol import Writes
from tests.host import gate
from tests.host.homes import RuntimeOn
from tests.host.loops import on_both_loops


@workflow
async def echo(word: str) -> str:
    return word


@workflow
async def waiting() -> str:
    return await gate.wait_for_it()


class Breaking(MemoryStore):
    """A store whose commits fail from when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self.times = 0

    def fail(self, error: BaseException, times: int = 1_000_000) -> None:
        self.error, self.times = error, times

    def commit(self, writes: Writes) -> None:
        if self.error is not None and self.times > 0:
            self.times -= 1
            raise self.error
        super().commit(writes)


async def out_of(program: Callable[[], Coroutine[Any, Any, object]]) -> BaseException | None:
    """Run a program and return the exception that comes out of it."""
    try:
        await program()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    return None


BROKEN = [
    errors.CommitUnknown("the disk is gone"),
    errors.Fenced(1, 2, "process 5"),
    RuntimeError("a bug of ours"),
]

per_error = pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)


@per_error
@on_both_loops
async def test_the_error_comes_out_of_the_program_s_block_as_it_is(error: Exception) -> None:
    store, got_so_far = Breaking(), list[str]()

    async def program() -> None:
        async with RuntimeOn(store, actors=[echo]) as rt:
            got_so_far.append(await (await rt.spawn(echo("before"))).result())
            store.fail(error)
            with pytest.raises(type(error)):
                await rt.spawn(echo("after"))
            got_so_far.append("told")
            await anyio.sleep_forever()

    assert await out_of(program) is error
    assert got_so_far == ["before", "told"]


@per_error
@on_both_loops
async def test_everybody_who_waits_is_told(error: Exception) -> None:
    store, told = Breaking(), list[BaseException | None]()

    async def program() -> None:
        async with RuntimeOn(store, actors=[waiting]) as rt:
            handle = await rt.spawn(waiting(), id="w")
            await gate.reached(handle)

            async def wait() -> None:
                told.append(await out_of(handle.result))

            for _ in range(3):
                group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await handle.describe()
            store.fail(error)
            await handle.cancel()

    async with anyio.create_task_group() as group:
        told.append(await out_of(program))
    assert told == [error] * 4


@on_both_loops
async def test_the_next_life_goes_on_from_what_was_committed() -> None:
    store = Breaking()

    async def first_life() -> None:
        async with RuntimeOn(store, actors=[waiting]) as rt:
            handle = await rt.spawn(waiting(), id="w")
            await gate.reached(handle)
            store.fail(errors.CommitUnknown("the disk is gone"), times=1)
            await gate.open(handle, "lost")

    assert await out_of(first_life) is store.error
    async with RuntimeOn(store, actors=[waiting]) as rt:
        handle = rt.handle("w", waiting)
        await gate.reached(handle)
        await gate.open(handle, "sent again")
        assert await handle.result() == "sent again"


@on_both_loops
async def test_activities_are_stopped_with_the_engine() -> None:
    store, log = Breaking(), list[str]()
    begun = anyio.Event()

    @activity
    async def work() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            log.append("stopped")

    @workflow
    async def works() -> None:
        await work()

    async def program() -> None:
        async with RuntimeOn(store, actors=[works], shutdown_grace="1h") as rt:
            handle = await rt.spawn(works())
            await begun.wait()
            store.fail(errors.CommitUnknown("the disk is gone"))
            await handle.cancel()

    with anyio.fail_after(5):
        assert await out_of(program) is store.error
    assert log == ["stopped"]


@on_both_loops
async def test_an_exception_of_the_program_is_not_lost_over_it() -> None:
    store = Breaking()

    async def program() -> None:
        async with RuntimeOn(store, actors=[echo]) as rt:
            store.fail(errors.CommitUnknown("the disk is gone"))
            try:
                await rt.spawn(echo("x"))
            except errors.CommitUnknown as unknown:
                msg = "mine"
                raise KeyError(msg) from unknown

    found = await out_of(program)
    assert found is not None
    assert "the disk is gone" in "".join(traceback.format_exception(found))


@on_both_loops
async def test_a_full_disk_refuses_what_can_be_sent_again_and_goes_on() -> None:
    store = Breaking()
    async with RuntimeOn(store, actors=[echo]) as rt:
        store.fail(errors.StorageFull("the disk is full"), times=1)
        with pytest.raises(errors.StorageFull, match="the disk is full"):
            await rt.spawn(echo("refused"), id="e")
        handle = await rt.spawn(echo("taken"), id="e")
        assert await handle.result() == "taken"
        assert [run.id for run in await rt.list()] == ["e"]


@on_both_loops
async def test_an_outcome_is_kept_while_the_disk_is_full() -> None:
    store, ran = Breaking(), list[int]()

    @activity
    async def work() -> str:
        ran.append(1)
        store.fail(errors.StorageFull("the disk is full"), times=2)
        return "done"

    @workflow
    async def works() -> str:
        return await work()

    async with RuntimeOn(store, actors=[works]) as rt:
        handle = await rt.spawn(works(), id="w")
        for _ in range(100):
            try:
                assert await handle.result() == "done"
                break
            except errors.StorageFull:
                continue
    assert ran == [1]


class Backwards(SystemClock):
    """A clock that is set back an hour at every look."""

    def __init__(self) -> None:
        self._hours = 0

    def now_us(self) -> int:
        self._hours += 1
        return super().now_us() - self._hours * 3_600_000_000


@on_both_loops
async def test_a_clock_that_goes_backwards_stops_nothing() -> None:
    @activity
    async def double(number: int) -> int:
        return 2 * number

    @workflow
    async def doubles(number: int) -> int:
        for _ in range(5):
            number = await double(number)
        return number

    clock: Clock = Backwards()
    async with RuntimeOn(MemoryStore(), actors=[doubles], clock=clock) as rt:
        handle = await rt.spawn(doubles(1))
        assert await handle.result() == 32
        assert [line.n for line in await handle.history()][1:-1] == [0, 1, 2, 3, 4]


@on_both_loops
async def test_an_engine_that_fails_as_the_runtime_is_entered_says_why() -> None:
    store = Breaking()
    async with RuntimeOn(store, actors=[works_on], shutdown_grace=0) as rt:
        await rt.spawn(works_on(), id="w")  # what it runs again is a commit of the next life

    async def program() -> None:
        async with RuntimeOn(store, actors=[works_on]) as rt:
            await rt.handle("w").result()

    for _ in range(20):
        error = errors.CommitUnknown("the disk is gone")
        store.fail(error)
        assert await out_of(program) is error
        with anyio.move_on_after(0.001) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()


@workflow
async def works_on() -> None:
    await endless()


@activity
async def endless() -> None:
    await anyio.sleep_forever()
