"""The timetable: what a program holds of a schedule, and what it is told of one."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any, Protocol

import msgspec

from monolite.core.cron import moment, zone
from monolite.core.handle import Handle
from monolite.core.schedule import (
    Amendment,
    Backfill,
    Delete,
    RunNow,
    ScheduleRow,
    SetPaused,
    check_moment,
)
from monolite.errors import Misused


class ScheduleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a schedule. Times of its ticks are in its own zone.

    `skipped` counts the ticks that found a run open, `missed` those that were older than
    `catchup` when an engine came to them; neither has a run.
    """

    name: str
    workflow: str
    when: str
    tz: str
    overlap: str
    catchup_s: float
    jitter_s: float
    paused: bool
    next_at: datetime | None
    last_at: datetime | None
    last_run: str | None
    last_status: str | None
    open: list[str]
    buffered_at: datetime | None
    backfills: int
    skipped: int
    last_skipped_at: datetime | None
    missed: int
    declared_at: datetime


def info_of(row: ScheduleRow, last_status: str | None, still_open: list[str]) -> ScheduleInfo:
    """Return a schedule's row as ScheduleInfo; `still_open` are runs."""
    tz = _zone_here(row.spec.tz)
    spec = row.spec
    return ScheduleInfo(
        name=row.name,
        workflow=row.workflow,
        when=spec.words(),
        tz=spec.tz,
        overlap=spec.overlap,
        catchup_s=spec.catchup_us / 1_000_000,
        jitter_s=spec.jitter_us / 1_000_000,
        paused=row.paused,
        next_at=None if row.paused else _at(row.next_us, tz),
        last_at=_at(row.last_us, tz),
        last_run=row.last_id,
        last_status=last_status,
        open=still_open,
        buffered_at=_at(row.buffered_us, tz),
        backfills=len(row.backfill),
        skipped=row.skipped,
        last_skipped_at=_at(row.skipped_us, tz),
        missed=row.missed,
        declared_at=moment(row.declared_us),
    )


def _zone_here(name: str) -> tzinfo:
    try:
        return zone(name)
    except Misused:  # the file comes from a machine that knows more of them
        return zone("UTC")


def _at(at_us: int | None, tz: tzinfo) -> datetime | None:
    return None if at_us is None else moment(at_us).astimezone(tz)


class SchedulePort(Protocol):
    """How a schedule's handle reaches the file: through a runtime or a client."""

    async def amend_schedule(self, name: str, request: Amendment) -> tuple[str, ...]: ...
    async def describe_schedule(self, name: str) -> ScheduleInfo: ...
    def new_run_id(self, name: str) -> str: ...
    def handle(self, id: str) -> Handle[Any]: ...


class Schedule:
    """One schedule, by its name. Made by `schedule` or `scheduled`; holds no resources."""

    __slots__ = ("_port", "name")

    def __init__(self, name: str, port: SchedulePort) -> None:
        self.name = name
        self._port = port

    async def pause(self) -> None:
        """Start nothing more until `resume`, except what `run_now` asks for.

        Runs that are open go on.
        """
        await self._port.amend_schedule(self.name, SetPaused(paused=True))

    async def resume(self) -> None:
        """Go on with the first tick from now; those that came during the pause are passed over."""
        await self._port.amend_schedule(self.name, SetPaused(paused=False))

    async def run_now(self) -> Handle[Any]:
        """Start a run at once, whatever else is open, and return its handle."""
        id = self._port.new_run_id(self.name)
        await self._port.amend_schedule(self.name, RunNow(id))
        return self._port.handle(id)

    async def backfill(self, start: datetime, end: datetime) -> list[Handle[Any]]:
        """Start the runs of the ticks from `start` to `end`, both in the past, in their order.

        One begins when the one before has ended, unless the schedule's overlap is "allow". Ticks
        that have a run already keep it. Returns the handles of all of them, those that are still
        to begin included.
        """
        interval = Backfill(check_moment(start, "start"), check_moment(end, "end"))
        ids = await self._port.amend_schedule(self.name, interval)
        return [self._port.handle(id) for id in ids]

    async def delete(self) -> None:
        """Have the schedule no more. Its runs stay, those that are open included."""
        await self._port.amend_schedule(self.name, Delete())

    async def describe(self) -> ScheduleInfo:
        """Return what is known of the schedule; raise UnknownSchedule if there is none."""
        return await self._port.describe_schedule(self.name)

    def __repr__(self) -> str:
        return f"<schedule {self.name}>"
