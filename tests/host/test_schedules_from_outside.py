"""Schedules from other processes: they write to the same rows, and nobody's change is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from monolite import Client, Runtime, Signal, errors, workflow
from monolite.core.schedule import (
    CATCHUP,
    Amendment,
    Declare,
    Delete,
    SetPaused,
    Spec,
    amend,
    spec_of,
)
from monolite.host.clock import SystemClock
from monolite.host.engine import Engine
from monolite.host.events import Amend
from monolite.host.registry import Registry
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.store import SqliteStore
from tests.host.clocks import ManualClock, look

go = Signal("go", str)

HOUR_US = 3_600_000_000


@workflow
async def report(number: int = 0) -> int:
    return number


@workflow
async def long_report() -> str:
    return await go.receive()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


class Answered:
    """Takes an answer that nobody looks at."""

    def answer(self, value: object) -> None: ...
    def refuse(self, error: BaseException) -> None:
        raise error


async def test_a_client_declares_what_an_engine_finds_when_it_starts(path: Path) -> None:
    async with Client(path, create=True) as client:
        schedule = await client.schedule("s", report(4), every="1h")
        run = await schedule.run_now()
        assert (await run.describe()).status == "queued"
        info = await schedule.describe()
        assert (info.last_run, info.open) == (run.id, [run.id])
        async with Runtime(path, actors=[report]) as rt:
            assert await rt.handle(run.id).result() == 4
            assert await rt.schedule("s", report(4), every="1h") is not None
            assert (await rt.scheduled("s").describe()).declared_at == info.declared_at


async def test_a_client_steers_a_schedule_of_a_running_engine(path: Path) -> None:
    now = datetime.now(UTC)
    async with Runtime(path, actors=[long_report]) as rt, Client(path) as client:
        await rt.schedule("s", long_report(), every="1h", anchor=now + timedelta(minutes=1))
        outside = client.scheduled("s")
        run = await outside.run_now()
        await run.signal(go, "from outside")
        assert await run.result() == "from outside"
        await outside.pause()
        assert [info.paused for info in await rt.schedules()] == [True]
        await outside.resume()
        first, second = await outside.backfill(now - timedelta(hours=2), now)
        for run in (first, second):
            await begun(rt, run.id)
            await run.signal(go, "past")
            assert await run.result() == "past"
        await outside.delete()
        with pytest.raises(errors.UnknownSchedule):
            await rt.scheduled("s").pause()
        with pytest.raises(errors.UnknownSchedule):
            await outside.resume()


async def test_ticks_that_came_while_no_engine_ran_belong_to_who_declared_them(path: Path) -> None:
    class Later(SystemClock):
        def now_us(self) -> int:
            return super().now_us() + 3 * HOUR_US

    anchor = datetime.now(UTC) + timedelta(minutes=30)
    async with Client(path, create=True) as client:
        await client.schedule("s", report(1), every="1h", anchor=anchor)
        await client.schedule("s", report(2), every="1h", anchor=anchor, overlap="allow")
    async with Runtime(path, actors=[report], clock=Later()) as rt:
        await look(rt)
        runs = await rt.list(id_prefix="s@")
        assert len(runs) == 3
        assert [await rt.handle(run.id).result() for run in runs] == [2, 2, 2]


async def begun(rt: Runtime, id: str) -> None:
    """Let the engine take turns until a run exists."""
    while not await rt.list(id_prefix=id):
        await look(rt)


def amended(door: SqliteDoor, request: Amendment, clock: ManualClock) -> None:
    """Change the schedule as another process does."""
    now_us = clock.now_us()
    door.amend_schedule("s", lambda row: amend(row, "s", request, now_us), now_us)


def engine_on(path: Path, clock: ManualClock) -> Engine:
    store = SqliteStore.own(path, durability="normal", now_us=clock.now_us())
    return Engine(store, Registry([report]))


def declare(spec: Spec) -> Declare:
    return Declare(spec, "report", 1, "[]")


def hourly(tz: str = "UTC") -> Spec:
    return spec_of(
        cron="@hourly", every=None, anchor=None, tz=tz, overlap="skip", catchup=CATCHUP, jitter=0
    )


def test_a_turn_that_did_not_see_a_pause_is_repeated(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_on(path, clock)
    engine.turn([Amend("s", declare(hourly()), Answered())], clock.now_us())
    door = SqliteDoor.open_door(path, create=False, now_us=clock.now_us())
    clock.advance("1h")
    amended(door, SetPaused(paused=True), clock)
    seen: list[bool] = []

    def late(self: SqliteStore) -> bool:
        seen.append(True)
        return len(seen) > 1

    monkeypatch.setattr(SqliteStore, "changed", late)
    engine.turn([], clock.now_us())
    assert len(seen) == 2
    assert door.counts() == {}
    row = door.schedule("s")
    assert row is not None
    assert row.paused
    door.close()
    engine.close()


def test_a_turn_that_is_repeated_keeps_others_out_until_it_has_committed(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_on(path, clock)
    engine.turn([Amend("s", declare(hourly()), Answered())], clock.now_us())
    door = SqliteDoor.open_door(path, create=False, now_us=clock.now_us())
    clock.advance("1h")
    reread = engine.schedules.reread
    held: list[bool] = []

    def read_then_others_write() -> None:
        reread()
        held.append(engine.batch.careful)
        if not engine.batch.careful:
            amended(door, SetPaused(paused=not held[1:]), clock)
            engine.look_outside()

    monkeypatch.setattr(engine.schedules, "reread", read_then_others_write)
    engine.look_outside()
    engine.turn([], clock.now_us())
    assert held == [False, True]
    row = door.schedule("s")
    assert row is not None
    assert row.paused
    assert door.counts() == {}
    door.close()
    engine.close()


def test_two_who_declare_the_same_schedule_at_once_agree(path: Path, clock: ManualClock) -> None:
    engine = engine_on(path, clock)
    engine.turn([], clock.now_us())
    door = SqliteDoor.open_door(path, create=False, now_us=clock.now_us())
    request = declare(hourly())
    amended(door, request, clock)
    before = door.schedule("s")
    engine.turn([Amend("s", request, Answered())], clock.now_us())
    assert door.schedule("s") == before
    clock.advance("2h")
    engine.turn([], clock.now_us())
    assert door.counts() == {"completed": 2}
    door.close()
    engine.close()


def test_one_that_is_deleted_and_made_again_outside_is_another(
    path: Path, clock: ManualClock
) -> None:
    engine = engine_on(path, clock)
    engine.turn([Amend("s", declare(hourly()), Answered())], clock.now_us())
    door = SqliteDoor.open_door(path, create=False, now_us=clock.now_us())
    clock.advance("30m")
    amended(door, Delete(), clock)
    amended(door, declare(hourly(tz="Asia/Kolkata")), clock)
    clock.advance("45m")
    engine.turn([], clock.now_us())
    run = door.run_by_id("s@2030-01-01T00:30:00Z")
    assert run is None  # that tick was at the very moment of the declaration
    assert door.counts() == {}
    clock.advance("15m")
    engine.turn([], clock.now_us())
    assert door.run_by_id("s@2030-01-01T01:30:00Z") is not None
    assert door.counts() == {"completed": 1}
    door.close()
    engine.close()


def test_a_zone_that_is_not_known_here_stops_one_schedule_only(
    path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = engine_on(path, clock)
    engine.turn([Amend("good", declare(hourly()), Answered())], clock.now_us())
    engine.turn([Amend("bad", declare(hourly()), Answered())], clock.now_us())
    engine.close()
    con = apsw.Connection(str(path))
    con.execute(
        'UPDATE monolite_schedules SET spec = \'{"cron":"0 * * * *","tz":"Mars/Base"}\' '
        "WHERE name = 'bad'"
    )
    con.close()
    engine = engine_on(path, clock)
    clock.advance("1h")
    engine.turn([], clock.now_us())
    assert engine.store.counts() == {"completed": 1}
    assert "schedule 'bad' stands still: tz 'Mars/Base'" in caplog.text
    caplog.clear()
    engine.close()
