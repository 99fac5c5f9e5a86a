"""The scheduler: what a runtime and a client offer for schedules, which is the same."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from monolite.core.call import Call
from monolite.core.duration import Duration
from monolite.core.handle import Handle
from monolite.core.schedule import (
    CATCHUP,
    SKIP,
    Amendment,
    Declare,
    ScheduleRow,
    check_name,
    spec_of,
)
from monolite.core.spawn import workflow_of
from monolite.core.timetable import Schedule, ScheduleInfo, info_of
from monolite.errors import Misused, UnknownSchedule
from monolite.store.protocol import Reader

R = TypeVar("R")


class Scheduler:
    """Declares schedules and finds them again."""

    async def schedule(
        self,
        name: str,
        call: Call[Any],
        *,
        cron: str | None = None,
        every: Duration | None = None,
        anchor: datetime | None = None,
        tz: str = "UTC",
        overlap: str = SKIP,
        catchup: Duration = CATCHUP,
        jitter: Duration = 0,
    ) -> Schedule:
        """Start a run of a workflow at every tick; the schedule is durable when this returns.

        `cron` has five fields, or is "@hourly", "@daily", "@weekly", "@monthly" or "@yearly", by
        the clocks of `tz`. `every` is by elapsed time, counted from `anchor` (1970). A tick that
        finds the run before it open is passed over (`overlap="skip"`), waits for its end, one at
        most ("buffer"), starts beside it ("allow"), or has it cancelled and starts after its end
        ("cancel"). Ticks that no engine was there for are made up for if they are not older than
        `catchup`. `jitter` delays each start by up to so much. Declaring a schedule as it is
        changes nothing; other settings replace those it has. Raises Misused if they make no
        sense, and what `spawn` raises for its call.
        """
        declared = declaration(
            name,
            call,
            spec={
                "cron": cron,
                "every": every,
                "anchor": anchor,
                "tz": tz,
                "overlap": overlap,
                "catchup": catchup,
                "jitter": jitter,
            },
        )
        await self.amend_schedule(name, declared)
        return self.scheduled(name)

    def scheduled(self, name: str) -> Schedule:
        """Return a handle of the schedule of this name; whether it exists shows when it is used."""
        return Schedule(check_name(name), self)

    async def schedules(self) -> list[ScheduleInfo]:
        """Return all schedules of the file, by name."""
        return await self._read(
            lambda reader: [described(row, reader) for row in reader.schedules()]
        )

    async def describe_schedule(self, name: str) -> ScheduleInfo:
        def read(reader: Reader) -> ScheduleInfo:
            row = reader.schedule(name)
            if row is None:
                raise UnknownSchedule(f"there is no schedule {name!r}")
            return described(row, reader)

        return await self._read(read)

    def new_run_id(self, name: str) -> str:
        """Return an id for a run that somebody asks for by hand."""
        return f"{name}@now-{secrets.token_hex(6)}"

    async def amend_schedule(self, name: str, request: Amendment) -> tuple[str, ...]:
        """Change a schedule; return the ids of the runs that come of it."""
        raise NotImplementedError

    async def _read(self, read: Callable[[Reader], R]) -> R:
        raise NotImplementedError

    def handle(self, id: str) -> Handle[Any]:
        """Return a handle of a run."""
        raise NotImplementedError


def declaration(name: str, call: Call[Any], *, spec: dict[str, Any]) -> Declare:
    """Check a declaration and return what is sent of it; nothing has happened if this raises."""
    given: Any = call  # callers may be untyped
    if not isinstance(given, Call):
        msg = f"schedule takes a call of a @workflow, such as report(), not {given!r:.200}"
        raise Misused(msg)
    call.claim("schedule it again")
    definition = workflow_of(call)
    check_name(name)
    definition.signature.check(call.args, call.kwargs)
    args = definition.signature.encode(call.args, call.kwargs)
    return Declare(spec_of(**spec), definition.name, definition.version, args)


def described(row: ScheduleRow, reader: Reader) -> ScheduleInfo:
    """Return what the file says of a schedule now."""
    last = None if row.last_id is None else reader.run_by_id(row.last_id)
    found = [(id, reader.run_by_id(id)) for id in row.open]
    still_open = [id for id, run in found if run is not None and not run.ended]
    return info_of(row, None if last is None else last.status, still_open)
