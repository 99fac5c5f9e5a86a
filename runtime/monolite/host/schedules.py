"""Schedules, engine side: ticks whose time has come, and the runs that they start.

A tick's run is born in the commit that moves its schedule on, so that neither is without the
other. Other processes change the same rows: each write names the revision it was decided on, and
the turn is repeated if somebody else was first.
"""

from __future__ import annotations

import heapq
import logging
from functools import partial
from typing import TYPE_CHECKING

from monolite.core import entry as e
from monolite.core.cron import zone
from monolite.core.schedule import (
    Declare,
    ScheduleRow,
    Verdict,
    after_tick,
    amend,
    changed,
    judge,
    next_fill,
    started,
    sure_misses,
    tick_id,
)
from monolite.errors import Misused
from monolite.host.events import Amend

if TYPE_CHECKING:
    from monolite.host.engine import Engine

log = logging.getLogger("monolite.engine")

STARTS_MAX = 200
"""Runs that schedules start in one turn: bounds how long the others wait for its commit."""

TICKS_MAX = 1_000
"""Ticks looked at in one turn, for the same reason."""

ALARMS_SPARE = 1_000
"""Stale alarms that may pile up before they are looked through."""


class Schedules:
    """The schedules of one engine: few, and all in memory."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rows: dict[str, ScheduleRow] = {}
        self._alarms: list[tuple[int, str]] = []
        self._waiting: dict[str, None] = {}
        """Schedules to look at in this turn or the next, whatever the time."""
        self._starts = 0
        self._ticks = 0
        self.open: dict[str, str] = {}
        """Which schedule waits for the end of a run, by the run's id."""

    # Memory.

    def forget(self) -> None:
        """Drop what is in memory: a turn has failed, and the file knows better."""
        self._rows.clear()
        self._alarms.clear()
        self._waiting.clear()
        self.open.clear()

    def reread(self) -> None:
        """Read the schedules that are not in memory as the file has them."""
        revisions = self._engine.store.schedule_revisions()
        for name in [name for name in self._rows if name not in revisions]:
            self._keep(name, None)
        for name, revision in revisions.items():
            known = self._rows.get(name)
            if known is None or known.revision != revision:
                self._keep(name, self._engine.store.schedule(name))
                self._waiting[name] = None

    def _keep(self, name: str, row: ScheduleRow | None) -> None:
        """Have a row in memory, and an alarm for its next tick."""
        old = self._rows.pop(name, None)
        if old is not None and old.open != (row.open if row else ()):
            for id in old.open:
                self.open.pop(id, None)
        if row is None:
            return
        self._rows[name] = row
        self.open.update(dict.fromkeys(row.open, name))
        due_us = row.due_us
        if due_us is not None and (old is None or old.due_us != due_us):
            heapq.heappush(self._alarms, (due_us, name))
            if len(self._alarms) > 2 * len(self._rows) + ALARMS_SPARE:
                rows = self._rows.values()
                self._alarms = [(x.due_us, x.name) for x in rows if x.due_us is not None]
                heapq.heapify(self._alarms)

    def _put(self, name: str, row: ScheduleRow | None) -> None:
        """Write a row with this turn, if it is another than before."""
        old = self._rows.get(name)
        if row == old:
            return
        writes = self._engine.batch.writes.schedules
        was = writes[name][0] if name in writes else None if old is None else old.revision
        if was is None and row is None:
            del writes[name]  # made and deleted in one turn
        else:
            if row is not None and was is not None:
                row = changed(row, revision=was + 1)
            writes[name] = (was, row)
        self._keep(name, row)

    # The clock.

    @property
    def next_wake_us(self) -> int | None:
        """When a schedule next wants to be looked at."""
        if self._waiting:
            return 0
        while self._alarms:
            due_us, name = self._alarms[0]
            row = self._rows.get(name)
            if row is not None and row.due_us == due_us:
                return due_us
            heapq.heappop(self._alarms)
        return None

    def wake(self) -> None:
        """Handle the ticks that are due."""
        now_us = self._engine.now_us
        self._starts = self._ticks = 0
        names = self._waiting
        while self._alarms and self._alarms[0][0] <= now_us:
            names[heapq.heappop(self._alarms)[1]] = None
        self._waiting = {}
        for name in names:
            self.tend(name)

    def ended(self, id: str) -> None:
        """Note that a run which a schedule waits for has ended."""
        self._engine.work.append(partial(self.tend, self.open[id]))

    def on_amend(self, event: Amend) -> None:
        engine, name, request = self._engine, event.name, event.request
        try:
            if isinstance(request, Declare):
                engine.registry.find(request.workflow, request.version)
                self.tend(name)  # what was due was due under the old settings
            amended = amend(self._rows.get(name), name, request, engine.now_us)
        except Exception as error:  # noqa: BLE001 - the asker's to handle
            engine.batch.refusals.append((event.reply, error))
            return
        for id in amended.starts:
            assert amended.row is not None
            self._start(amended.row, id)
        self._put(name, amended.row)
        self.tend(name)
        engine.batch.answers.append((event.reply, amended.answer))

    # One schedule.

    def tend(self, name: str) -> None:
        """Do all for a schedule that can be done now."""
        row = self._rows.get(name)
        if row is None:
            return
        try:
            zone(row.spec.tz)
        except Misused as error:
            log.warning("schedule %r stands still: %s", name, error)
            return
        row = changed(row, open=tuple(id for id in row.open if self._is_open(id)))
        if not row.paused:
            row = self._start_buffered(row)
            row = self._handle_ticks(row)
            row = self._fill_in(row)
        self._put(name, row)
        if self._is_spent:
            self._waiting[name] = None

    @property
    def _is_spent(self) -> bool:
        """Whether this turn has done enough for schedules."""
        return self._starts >= STARTS_MAX or self._ticks >= TICKS_MAX

    def _is_open(self, id: str) -> bool:
        run = self._engine.newest(id)
        return run is not None and not run.ended

    def _is_busy(self, row: ScheduleRow) -> bool:
        return row.exclusive and any(map(self._is_open, row.open))

    def _start_buffered(self, row: ScheduleRow) -> ScheduleRow:
        tick_us = row.buffered_us
        if tick_us is None or self._is_busy(row):
            return row
        id = tick_id(row.name, tick_us)
        self._start(row, id)
        return started(changed(row, buffered_us=None), id, tick_us)

    def _handle_ticks(self, row: ScheduleRow) -> ScheduleRow:
        now_us = self._engine.now_us
        busy = self._is_busy(row)
        while row.due_us is not None and row.due_us <= now_us and not self._is_spent:
            missed, next_us = sure_misses(row, now_us)
            if missed:
                row = changed(row, missed=row.missed + missed, next_us=next_us)
                continue
            self._ticks += 1
            tick_us = row.next_us
            assert tick_us is not None
            following_us = row.spec.next_tick(tick_us)
            verdict = judge(row, now_us, busy=busy)
            if verdict is Verdict.REPLACE and row.buffered_us is None:
                self._cancel(row)
            if verdict is Verdict.START:
                self._start(row, tick_id(row.name, tick_us))
            row = after_tick(row, verdict, following_us)
            if verdict is Verdict.START:
                busy = self._is_busy(row)
        return row

    def _fill_in(self, row: ScheduleRow) -> ScheduleRow:
        """Start the runs of past ticks that have none: one after the other, if exclusive."""
        while row.backfill and not self._is_spent:
            tick_us, rest = next_fill(row)
            if tick_us is None:
                return rest
            id = tick_id(row.name, tick_us)
            if self._engine.newest(id) is None:
                if self._is_busy(row):
                    return row
                self._start(row, id)
                rest = started(rest, id)
            self._ticks += 1
            row = rest
        return row

    # Its runs.

    def _start(self, row: ScheduleRow, id: str) -> None:
        """Start a run, unless the run of this id exists: then this is its tick once more."""
        engine = self._engine
        if engine.newest(id) is not None:
            return
        self._starts += 1
        definition = engine.registry.get(row.workflow, row.version)
        version = row.version if definition is None else definition.version
        run = engine.births.new_run(id, row.workflow, version, row.args)
        if definition is not None:
            engine.births.begin(run, definition)
        else:  # it waits in the file for its code
            run.status, run.started_us = e.QUEUED, None
            engine.must_look_outside = True

    def _cancel(self, row: ScheduleRow) -> None:
        """Ask the runs that are open to make room for the next."""
        for id in row.open:
            run = self._engine.newest(id)
            if run is not None and not run.ended:
                reason = '"its schedule starts the next run"'
                self._engine.inbox.post(run, e.CANCEL, "", reason, None)
