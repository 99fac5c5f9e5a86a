"""Schedules: when each starts a run next, and what becomes of a tick whose time has come.

A tick is a nominal time: the moment that the cron expression or the interval names. Jitter delays
the start of its run and nothing else. A tick's run has an id made of the schedule's name and that
moment in UTC, so whoever handles a tick for a second time meets the run of the first.

`amend` decides on what people ask for, in whatever process they do; `judge` on a tick.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from hashlib import blake2b
from typing import assert_never

import msgspec

from monolite.core.admission import check_id
from monolite.core.cron import (
    EPOCH,
    check_cron,
    microseconds,
    moment,
    next_moment,
    zone,
)
from monolite.core.duration import Duration, seconds
from monolite.errors import Misused, UnknownSchedule

SKIP = "skip"
BUFFER = "buffer"
ALLOW = "allow"
CANCEL = "cancel"
OVERLAPS = (SKIP, BUFFER, ALLOW, CANCEL)

CATCHUP = "365d"
"""A year, as Temporal has it: what was missed while no engine ran is made up for."""

NAME_CHARS_MAX = 400
"""So that its runs' ids, which are longer, stay within their own bound."""

EVERY_US_MIN = 1_000

BACKFILL_TICKS_MAX = 10_000
"""Ticks in one `backfill`: they are all looked at before it returns."""

BACKFILLS_MAX = 100
"""Intervals of one schedule that wait to be filled."""

OPEN_MAX = 1_000
"""Runs of one schedule that somebody asked for by hand and that are open at once: its row lists
them, so that its ticks do not overlap with them."""

_UNITS = ((86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"))


class Spec(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a schedule ticks, and how it treats a tick."""

    cron: str | None = None
    every_us: int | None = None
    anchor_us: int = 0
    tz: str = "UTC"
    overlap: str = SKIP
    catchup_us: int = 0
    jitter_us: int = 0

    @property
    def timing(self) -> tuple[str | None, int | None, int, str]:
        """What the ticks depend on."""
        return self.cron, self.every_us, self.anchor_us, self.tz

    def next_tick(self, after_us: int) -> int | None:
        """Return the first tick after a moment, or None if there is no more."""
        if self.every_us is not None:
            passed = (after_us - self.anchor_us) // self.every_us
            return self.anchor_us + (passed + 1) * self.every_us
        assert self.cron is not None
        return next_moment(self.cron, zone(self.tz), after_us)

    def words(self) -> str:
        """Return when it ticks, as its declaration says it."""
        if self.every_us is not None:
            return f"every {_duration_words(self.every_us)}"
        return f"{self.cron} ({self.tz})"


class ScheduleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as its row holds it. `revision` is a new one whenever anything changes."""

    name: str
    workflow: str
    version: int
    args: str
    spec: Spec
    declared_us: int
    revision: int
    paused: bool = False
    next_us: int | None = None
    """The first tick that is not handled yet."""
    last_us: int | None = None
    """The last tick that started a run."""
    last_id: str | None = None
    """The last run that was started, asked for by name or by its tick."""
    open: tuple[str, ...] = ()
    """Runs that another one must not overlap with; some of them may have ended."""
    buffered_us: int | None = None
    """A tick that waits for those to end."""
    backfill: tuple[tuple[int, int], ...] = ()
    """Intervals (after, up to) whose ticks are still to be filled in."""
    skipped: int = 0
    skipped_us: int | None = None
    missed: int = 0

    @property
    def due_us(self) -> int | None:
        """When its next tick is to be handled: its time and the jitter."""
        if self.paused or self.next_us is None:
            return None
        return self.next_us + jitter_us(self.name, self.next_us, self.spec.jitter_us)

    @property
    def exclusive(self) -> bool:
        """Whether no two of its runs may be open at once."""
        return self.spec.overlap != ALLOW


def spec_of(
    *,
    cron: str | None,
    every: Duration | None,
    anchor: datetime | None,
    tz: str,
    overlap: str,
    catchup: Duration,
    jitter: Duration,
) -> Spec:
    """Return checked settings; raise Misused or ValueError saying what is wrong."""
    if (cron is None) == (every is None):
        raise Misused("a schedule takes either cron='0 9 * * *' or every='5m'")
    if overlap not in OVERLAPS:
        msg = f"overlap={overlap!r} is none of {', '.join(map(repr, OVERLAPS))}"
        raise Misused(msg)
    if anchor is not None and (anchor.tzinfo is None or cron is not None):
        raise Misused("anchor is a datetime with a time zone, and goes with every=")
    zone(tz)
    every_us = None if every is None else _us(every, "every")
    if every_us is not None and every_us < EVERY_US_MIN:
        raise Misused(f"every={every!r} is too short; a millisecond is the least")
    return Spec(
        cron=None if cron is None else check_cron(cron),
        every_us=every_us,
        anchor_us=0 if anchor is None else microseconds(anchor),
        tz=tz,
        overlap=overlap,
        catchup_us=_us(catchup, "catchup"),
        jitter_us=_us(jitter, "jitter"),
    )


def _duration_words(us: int) -> str:
    """Return a duration in the largest unit that it is a whole number of: "90m"."""
    for unit_us, letter in _UNITS:
        if us % unit_us == 0:
            return f"{us // unit_us}{letter}"
    return f"{us / 1_000:g}ms"


def _us(duration: Duration, name: str) -> int:
    return round(seconds(duration, name=name) * 1_000_000)


def check_name(name: str) -> str:
    """Return `name` if it can name a schedule; raise Misused if not."""
    check_id(name, "name of a schedule")
    if len(name) > NAME_CHARS_MAX:
        raise Misused(f"name of a schedule {name!r:.100} has more than {NAME_CHARS_MAX} characters")
    return name


def tick_id(name: str, tick_us: int) -> str:
    """Return the id of a tick's run: in UTC, whatever the zone, where no hour comes twice."""
    return f"{name}@{moment(tick_us).replace(tzinfo=None).isoformat()}Z"


def jitter_us(name: str, tick_us: int, most_us: int) -> int:
    """Return by how much a tick's run is delayed: always the same for the same tick."""
    if not most_us:
        return 0
    seed = blake2b(f"{name}@{tick_us}".encode(), digest_size=8).digest()
    return int.from_bytes(seed) * most_us >> 64


# A tick.


class Verdict(enum.Enum):
    """What becomes of a tick."""

    START = "start"
    SKIP = "skip"
    MISS = "miss"
    WAIT = "wait"
    REPLACE = "replace"


def judge(row: ScheduleRow, now_us: int, *, busy: bool) -> Verdict:
    """Decide on the tick that is due; `busy`: a run of the schedule is open."""
    assert row.due_us is not None
    if now_us - row.due_us > row.spec.catchup_us:
        return Verdict.MISS
    if row.exclusive and row.buffered_us is not None:
        busy = True
    if not busy or not row.exclusive:
        return Verdict.START
    if row.spec.overlap == CANCEL:
        return Verdict.REPLACE
    if row.spec.overlap == BUFFER and row.buffered_us is None:
        return Verdict.WAIT
    return Verdict.SKIP


def after_tick(row: ScheduleRow, verdict: Verdict, next_us: int | None) -> ScheduleRow:
    """Return the row with its tick handled; `next_us` is the one behind it."""
    tick_us = row.next_us
    assert tick_us is not None
    if verdict is Verdict.MISS:
        return changed(row, next_us=next_us, missed=row.missed + 1)
    if verdict is Verdict.SKIP:
        return changed(row, next_us=next_us, skipped=row.skipped + 1, skipped_us=tick_us)
    if verdict is Verdict.START:
        return started(changed(row, next_us=next_us), tick_id(row.name, tick_us), tick_us)
    if row.buffered_us is not None:  # a newer tick takes the place of the one that waits
        row = changed(row, skipped=row.skipped + 1, skipped_us=row.buffered_us)
    return changed(row, next_us=next_us, buffered_us=tick_us)


def started(row: ScheduleRow, id: str, tick_us: int | None = None) -> ScheduleRow:
    """Return the row with a run noted as started."""
    opened = (*(x for x in row.open if x != id), id) if row.exclusive else ()
    row = changed(row, last_id=id, open=opened)
    return row if tick_us is None else changed(row, last_us=max(tick_us, row.last_us or tick_us))


def sure_misses(row: ScheduleRow, now_us: int) -> tuple[int, int | None]:
    """Return how many ticks from the next one on are too old, and the first that may not be.

    Counts them where that takes no time: an interval's. Others are judged one by one.
    """
    spec, next_us = row.spec, row.next_us
    horizon_us = now_us - spec.catchup_us - spec.jitter_us
    if spec.every_us is None or next_us is None or next_us >= horizon_us:
        return 0, next_us
    count = (horizon_us - next_us) // spec.every_us
    return count, next_us + count * spec.every_us


def changed(row: ScheduleRow, **fields: object) -> ScheduleRow:
    return msgspec.structs.replace(row, **fields)


# What people ask for.


class Declare(msgspec.Struct, frozen=True, tag=True):
    """Have a schedule of these settings."""

    spec: Spec
    workflow: str
    version: int
    args: str


class SetPaused(msgspec.Struct, frozen=True, tag=True):
    """Pass over the ticks, or no longer."""

    paused: bool


class RunNow(msgspec.Struct, frozen=True, tag=True):
    """Start a run at once."""

    id: str


class Backfill(msgspec.Struct, frozen=True, tag=True):
    """Start the runs of past ticks that have none."""

    start_us: int
    end_us: int


class Delete(msgspec.Struct, frozen=True, tag=True):
    """Have the schedule no more; its runs stay."""


Amendment = Declare | SetPaused | RunNow | Backfill | Delete


class Amended(msgspec.Struct, frozen=True):
    """What a request comes to: the new row (None: no row), runs to start at once, the answer."""

    row: ScheduleRow | None
    starts: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()


def amend(row: ScheduleRow | None, name: str, request: Amendment, now_us: int) -> Amended:
    """Decide on a request; raise UnknownSchedule or Misused."""
    if isinstance(request, Declare):
        return Amended(_declare(row, name, request, now_us))
    if row is None:
        raise UnknownSchedule(f"there is no schedule {name!r}; declare it with schedule() first")
    match request:
        case SetPaused():
            return Amended(_set_paused(row, now_us, paused=request.paused))
        case RunNow():
            if len(row.open) >= OPEN_MAX:
                raise Misused(f"{OPEN_MAX:,} runs of {row.name!r} are open; let some of them end")
            return Amended(started(row, request.id), (request.id,), (request.id,))
        case Backfill():
            return _backfill(row, request, now_us)
        case Delete():
            return Amended(None)
        case _:
            assert_never(request)


def _declare(row: ScheduleRow | None, name: str, request: Declare, now_us: int) -> ScheduleRow:
    spec = request.spec
    if row is None:
        return ScheduleRow(
            name=name,
            workflow=request.workflow,
            version=request.version,
            args=request.args,
            spec=spec,
            declared_us=now_us,
            revision=now_us,
            next_us=spec.next_tick(now_us),
        )
    same_time = spec.timing == row.spec.timing
    if spec.overlap == SKIP and row.buffered_us is not None:
        row = changed(row, buffered_us=None, skipped=row.skipped + 1, skipped_us=row.buffered_us)
    return changed(
        row,
        workflow=request.workflow,
        version=request.version,
        args=request.args,
        spec=spec,
        next_us=row.next_us if same_time else spec.next_tick(now_us),
        open=row.open if spec.overlap != ALLOW else (),
    )


def _set_paused(row: ScheduleRow, now_us: int, *, paused: bool) -> ScheduleRow:
    if paused == row.paused:
        return row
    if paused:
        return changed(row, paused=True)
    return changed(row, paused=False, next_us=row.spec.next_tick(now_us))


def _backfill(row: ScheduleRow, request: Backfill, now_us: int) -> Amended:
    start_us, end_us = request.start_us, request.end_us
    if not start_us <= end_us <= now_us:
        raise Misused("backfill takes an interval of the past: its start, then its end")
    if len(row.backfill) >= BACKFILLS_MAX:
        raise Misused(f"{row.name!r} has {BACKFILLS_MAX} intervals to fill; let them end first")
    ids: list[str] = []
    tick_us = row.spec.next_tick(start_us - 1)
    while tick_us is not None and tick_us <= end_us:
        if len(ids) == BACKFILL_TICKS_MAX:
            msg = f"there are more than {BACKFILL_TICKS_MAX:,} ticks; backfill a part at a time"
            raise Misused(msg)
        ids.append(tick_id(row.name, tick_us))
        tick_us = row.spec.next_tick(tick_us)
    if not ids:
        return Amended(row)
    waiting = (*row.backfill, (start_us - 1, end_us))
    return Amended(changed(row, backfill=waiting), answer=tuple(ids))


def next_fill(row: ScheduleRow) -> tuple[int | None, ScheduleRow]:
    """Return the first tick that is still to be filled in, and the row without it."""
    while row.backfill:
        (after_us, end_us), *rest = row.backfill
        tick_us = row.spec.next_tick(after_us)
        if tick_us is not None and tick_us <= end_us:
            return tick_us, changed(row, backfill=((tick_us, end_us), *rest))
        row = changed(row, backfill=tuple(rest))
    return None, row


def parse_time(text: str) -> int:
    """Return a moment written like "2026-11-23T09:00+01:00" in microseconds; without zone: UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is no time; write it like '2026-11-23T09:00+01:00', or without zone in UTC"
        raise Misused(msg) from None
    return microseconds(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def check_moment(at: datetime, name: str) -> int:
    """Return an aware datetime in microseconds; raise Misused if it has no time zone."""
    if at.tzinfo is None or at < EPOCH:
        raise Misused(f"{name} must be a datetime with a time zone, not {at!r}")
    return microseconds(at)
