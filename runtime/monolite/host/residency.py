"""Residency: which runs are in memory, when each must be looked at, and what its row says.

Rows are written lazily: a run on the move keeps the row it was born with ("look at me at
start-up"). One that has been quiet for a second gets its row's words: what it waits for, when
to wake it. From then on it may leave memory and come back by replay, and a start-up that finds
a million such rows need not read them.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from monolite.core import entry as e
from monolite.core import failure
from monolite.core.actor import ActorType
from monolite.core.entry import Attempt, Run, RunNo
from monolite.core.machine import Machine
from monolite.core.turn import ActorMachine, TurnDone
from monolite.host.batch import Batch
from monolite.host.resident import HOT, Resident, Words

if TYPE_CHECKING:
    from monolite.core.definition import Workflow
    from monolite.host.engine import Engine

log = logging.getLogger("monolite.engine")

QUIET_US = 1_000_000
"""A run that was quiet for this long gets its row written."""

WAKES_MAX = 200
"""Runs brought back in one turn: bounds how long the others wait for its commit."""

SETTLES_MAX = 500
"""Rows written for quiet runs in one turn, for the same reason."""

REPLAY_PAGE = 1_000
"""Journal entries in memory at a time while a run is replayed."""

IDLE_US = 60_000_000
"""A run that has waited for so long leaves memory; its journal brings it back."""

ALARMS_SPARE = 1_000
"""Stale alarms that may pile up before they are looked through."""

NO_MAX = 2**62


class Residency:
    """The runs in memory."""

    def __init__(self, engine: Engine, max_live: int) -> None:
        self._engine = engine
        self._max_live = max_live
        self.live: dict[RunNo, Resident] = {}
        self._ids: dict[str, Resident] = {}
        self._unsettled: deque[tuple[int, Resident]] = deque()
        self._idle: deque[tuple[int, Resident]] = deque()
        self._alarms: list[tuple[int, RunNo]] = []
        self._away: dict[RunNo, int] = {}
        """Runs that left memory while attempts of theirs run, and when their clocks call them."""
        self._revive: list[RunNo] = []
        self._parked: set[RunNo] = set()
        self._cursor = (-1, -1)
        self._parked_cursor: int | None = 0
        self._store_due_us: int | None = 0

    def __contains__(self, no: RunNo) -> bool:
        return no in self.live

    def by_id(self, id: str) -> Run | None:
        """Return the run of an id if it is in memory."""
        resident = self._ids.get(id)
        return None if resident is None else resident.run

    def why_parked(self, no: RunNo) -> str:
        """Return what a run that cannot run waits for, in words."""
        notes = self._engine.batch.writes.notes
        fresh = [note.waiting_on for note in notes if note.no == no]
        run = self._engine.store.run(no)
        words = fresh[-1] if fresh else None if run is None else run.waiting_on
        return words or "its code does not fit"

    # Coming in.

    def add(self, resident: Resident) -> None:
        run = resident.run
        self.live[run.no] = resident
        self._away.pop(run.no, None)
        self._ids[run.id] = resident
        self._engine.batch.touched[run.no] = resident

    def get(self, no: RunNo, now_us: int) -> Resident | None:
        """Return a run in memory, replaying its journal if it is not; None if it cannot run."""
        resident = self.live.get(no)
        if resident is not None:
            return resident
        if no in self._parked or no in self._engine.batch.ended_unstarted:
            return None
        run = self._engine.store.run(no)
        if run is None or run.ended:
            return None
        if self._engine.blames and self._engine.blocks.is_quarantined(no):
            self._engine.blocks.quarantine(run)
            return None
        registry = self._engine.registry
        definition = registry.get(run.name, run.version) or registry.get_actor(run.name)
        if definition is None:
            self._engine.park(run, e.STRANDED, f"no code for {run.name!r}")
            return None
        if run.queue is not None and run.started_us is None:
            self._engine.queues.wait(run)
            return None
        if run.status == e.QUEUED:
            return self._begin_queued(run, definition, now_us)
        return self._replay(run, definition)

    def admit(self, run: Run, *, fresh: bool) -> bool:
        """Begin a run whose turn has come in its queue; `fresh`: this turn spawned it."""
        engine = self._engine
        definition = engine.registry.get(run.name, run.version)
        if definition is None:
            engine.park(run, e.STRANDED, f"no code for {run.name!r}")
        else:
            self._begin_queued(run, definition, engine.now_us, fresh=fresh)
        return definition is not None

    def _begin_queued(
        self,
        run: Run,
        definition: Workflow[Any, Any] | ActorType,
        now_us: int,
        *,
        fresh: bool = False,
    ) -> Resident | None:
        run.status, run.started_us, run.wake_at_us = e.RUNNING, now_us, 0
        # The version that was asked for, or the newest if there is no code of that one.
        run.version = definition.version
        if not fresh:  # else its row is yet to be written
            self._engine.note(run, HOT, started_us=now_us, version=run.version)
        resident = self._engine.births.begin(run, definition)
        self._engine.inbox.deliver_backlog(resident, begins=True)
        for message in self._engine.batch.early.get(run.no, ()):
            self._engine.inbox.deliver_posted(run, message)
        return resident

    def _replay(self, run: Run, definition: Workflow[Any, Any] | ActorType) -> Resident | None:
        engine = self._engine
        engine.entering(run)
        try:
            machine = self._machine(run, definition)
        except Exception as error:  # noqa: BLE001 - a migration is the user's code
            engine.left()
            log.warning("%s is parked: its state cannot be loaded: %s", run.id, error)
            engine.park(run, e.STRANDED, f"code that can load its state: {error}")
            return None
        machine.replaying = True
        try:
            machine.patches = set(engine.store.patches(run.no))
            machine.start(run.started_us or run.created_us)
            self._feed_journal(machine)
        except Exception as error:  # noqa: BLE001 - Diverged, or a row that cannot be read: its own run's
            engine.left()
            machine.unload()
            log.warning("%s is parked as diverged: %s", run.id, error)
            text = failure.encode(failure.describe(error))
            engine.park(run, e.DIVERGED, str(error), error=text)
            return None
        if run.version != definition.version and not isinstance(definition, ActorType):
            # It replays cleanly on other code than it began with: from now on it is that code's.
            log.info("%s goes on with version %s", run.id, definition.version)
            run.version = definition.version
            engine.batch.writes.versions.append((definition.version, run.no))
        machine.replaying = False
        # A turn that ends in its replay ends only now: its code has changed.
        ended = [c for c in machine.take_commands() if isinstance(c, TurnDone)]
        words = Words(run.status, run.wake_at_us, run.waiting_on, run.error)
        resident = Resident(run, machine, words)
        self.add(resident)
        for operation in list(machine.operations.values()):
            engine.operations.resume(resident, operation)
        for done in ended:
            engine.inbox.turn_done(resident, done)
        engine.absorb(resident)
        if resident.deadlines and not resident.paused:
            engine.deadlines.expire(resident)
        engine.inbox.deliver_backlog(resident)
        return resident

    def _feed_journal(self, machine: Machine) -> None:
        """Deliver a run's recorded entries, a page of them in memory at a time."""
        while True:
            page = self._engine.store.entries(machine.run.no, machine.next_n, REPLAY_PAGE)
            for entry in page:
                machine.deliver(entry)
            if len(page) < REPLAY_PAGE:
                return

    def _machine(self, run: Run, definition: Workflow[Any, Any] | ActorType) -> Machine:
        if not isinstance(definition, ActorType):
            return Machine(run, definition)
        stored = self._engine.store.state(run.no)
        if stored is None:
            return ActorMachine(run, definition, None, definition.version, 0)
        return ActorMachine(run, definition, stored.state, stored.version, stored.retired_n)

    def touch(self, resident: Resident) -> None:
        """Note that a run moved: it is hot again, and the last that would leave memory."""
        no, batch = resident.run.no, self._engine.batch
        batch.touched[no] = resident
        if resident.run.ended:
            return
        if resident.noted.wake_at_us != 0 and not resident.paused:
            resident.noted = hot = resident.hot()
            resident.run.status = hot.status
            self._engine.note(resident.run, hot)

    def keep_hot(self, no: RunNo) -> None:
        """Have a run looked at at start-up: what it is owed, only its replay will find."""
        resident = self.live.get(no)
        if resident is not None:
            self.touch(resident)
            return
        run = self._engine.store.run(no)
        if (
            run is not None
            and run.status in (e.RUNNING, e.WAITING, e.BLOCKED)
            and run.wake_at_us != 0
        ):
            self._engine.note(run, HOT)

    # The clock.

    def wake(self, now_us: int) -> None:
        """Fire timers and retries that are due, and bring in the runs whose time has come."""
        while self._alarms and self._alarms[0][0] <= now_us:
            _, no = heapq.heappop(self._alarms)
            resident = self.live.get(no)
            if resident is None and self._away.pop(no, None) is not None:
                resident = self.get(no, now_us)
            if resident is not None:
                resident.armed_us = None
                self._fire(resident, now_us)
        if self._parked_cursor is not None:
            self._try_parked(now_us)
        if self._store_due_us is not None and self._store_due_us <= now_us:
            self._bring_in(now_us)

    def _fire(self, resident: Resident, now_us: int) -> None:
        machine, engine = resident.machine, self._engine
        if resident.paused:
            return
        while True:
            timer = machine.next_timer
            if timer is None or timer.due_us > now_us or resident.run.ended:
                break
            engine.journal(resident, e.TIMER, f"timer#{timer.number}", str(timer.delay_us))
        for key, waiting in list(resident.retrying.items()):
            if waiting.due_us <= now_us and key in resident.retrying:
                engine.launches.retry(resident, key, waiting)
        if resident.deadlines:
            engine.deadlines.expire(resident)
        self.arm(resident)

    def arm(self, resident: Resident) -> None:
        """Set the alarm for a run's next timer or retry."""
        due_us = resident.next_due_us()
        if due_us is None or resident.run.ended:
            return
        if resident.armed_us is None or due_us < resident.armed_us:
            resident.armed_us = due_us
            heapq.heappush(self._alarms, (due_us, resident.run.no))
            here = len(self.live) + len(self._away)
            if len(self._alarms) > 2 * here + ALARMS_SPARE:
                self._drop_stale_alarms()

    @property
    def alarms(self) -> int:
        """How many alarms are set, those of runs that are gone included."""
        return len(self._alarms)

    def _drop_stale_alarms(self) -> None:
        """Forget the alarms of runs that have ended or left, which may be due in years."""
        stays: dict[RunNo, int | None] = {**self._away}
        stays.update((no, resident.armed_us) for no, resident in self.live.items())
        self._alarms = [alarm for alarm in self._alarms if stays.get(alarm[1]) == alarm[0]]
        heapq.heapify(self._alarms)

    def _bring_in(self, now_us: int) -> None:
        rows = self._engine.store.due(self._cursor, now_us, WAKES_MAX)
        for at_us, no in rows:
            self._cursor = (at_us, no)
            self.get(no, now_us)
        if len(rows) < WAKES_MAX:
            self._cursor = max(self._cursor, (now_us, NO_MAX))
            self._retime()
        else:
            self._store_due_us = now_us

    def start_queued(self, now_us: int) -> int:
        """Start the runs that other processes queued; return how many there were."""
        rows = [
            no
            for no in self._engine.store.queued(now_us, WAKES_MAX)
            if no not in self.live and no not in self._parked
        ]
        for no in rows:
            self.get(no, now_us)
        # One that is queued for later shows among the runs that want to be woken.
        self._retime()
        return len(rows)

    def _try_parked(self, now_us: int) -> None:
        """At start-up, give runs that stopped for want of fitting code another try."""
        assert self._parked_cursor is not None
        rows = self._engine.store.parked(WAKES_MAX, self._parked_cursor)
        for no in rows:
            self._parked_cursor = no
            self.get(no, now_us)
        if len(rows) < WAKES_MAX:
            self._parked_cursor = None

    def _retime(self) -> None:
        """Ask the file when it next wants a look; what this turn writes is not in it yet."""
        due_us = self._engine.store.next_due_us(self._cursor[0])
        expected_us = self._engine.batch.expected_us
        times = [at_us for at_us in (due_us, expected_us) if at_us is not None]
        self._store_due_us = min(times) if times else None

    def expect(self, at_us: int) -> None:
        """Note that a row of the file wants to be woken at `at_us`."""
        batch = self._engine.batch
        if batch.expected_us is None or at_us < batch.expected_us:
            batch.expected_us = at_us
        if self._store_due_us is None or at_us < self._store_due_us:
            self._store_due_us = at_us
        if at_us <= self._cursor[0]:
            self._cursor = (at_us - 1, NO_MAX)

    def next_wake_us(self) -> int | None:
        """Return when the clock next concerns any run."""
        if self._revive or self._parked_cursor is not None:
            return 0
        times: list[int] = []
        if self._alarms:
            times.append(self._alarms[0][0])
        if self._store_due_us is not None:
            times.append(self._store_due_us)
        if self._unsettled:
            times.append(self._unsettled[0][0] + QUIET_US)
        return min(times) if times else None

    # Going quiet, and out.

    def settle(self, now_us: int) -> None:
        """Write the rows of runs that have gone quiet, and choose who leaves memory."""
        if self._unsettled:
            self._settle_quiet(now_us)
        if self._idle:
            self._dismiss_idle(now_us)
        if len(self.live) > self._max_live:
            # A tenth more than must be, so that the choice is not made again in every turn.
            keep = self._max_live - self._max_live // 10
            self._choose_leavers(len(self.live) - keep, now_us)

    def settle_all(self, now_us: int) -> None:
        """Write the rows of all runs in memory."""
        for resident in self.live.values():
            self._settle_one(resident, now_us)

    def _settle_quiet(self, now_us: int) -> None:
        """Look at the runs that may have been quiet for a while, oldest suspicion first.

        A run is queued once, when it gets going; if it has moved since, it goes to the back.
        """
        working = self._working()
        for _ in range(min(len(self._unsettled), SETTLES_MAX)):
            since_us, resident = self._unsettled[0]
            gone = resident.run.ended or self.live.get(resident.run.no) is not resident
            if not gone and since_us + QUIET_US > now_us:
                return
            self._unsettled.popleft()
            resident.unsettled = False
            if gone:
                continue
            if resident.touched_us + QUIET_US > now_us or id(resident) in working:
                self._suspect(resident)
            else:
                self._settle_one(resident, now_us)

    def _working(self) -> set[int]:
        """Return who has asked for work that is left over: nothing else would bring them back."""
        return {id(work.args[0]) for work in self._engine.work}

    def _suspect(self, resident: Resident) -> None:
        resident.unsettled = True
        self._unsettled.append((resident.touched_us, resident))

    def _settle_one(self, resident: Resident, now_us: int) -> None:
        run = resident.run
        if run.ended:
            return
        for flight in resident.flights():
            if not flight.recorded and flight.since_us + QUIET_US <= now_us:
                flight.recorded = True
                self._engine.batch.writes.attempts.append(
                    Attempt(run.no, flight.key, flight.number, e.STARTED, flight.since_us)
                )
        words = resident.words()
        if words != resident.noted:
            resident.noted = words
            run.status, run.waiting_on = words.status, words.waiting_on
            self._engine.note(run, words)
            self._engine.batch.touched[run.no] = resident
        if words.wake_at_us:
            self.expect(words.wake_at_us)
        self._idle.append((resident.touched_us, resident))

    def _dismiss_idle(self, now_us: int) -> None:
        """Let runs leave memory that have been quiet for long, with all their row needs written."""
        batch = self._engine.batch
        while self._idle and self._idle[0][0] + IDLE_US <= now_us:
            since_us, resident = self._idle.popleft()
            here = self.live.get(resident.run.no) is resident and not resident.run.ended
            moved = resident.touched_us > since_us or resident.run.no in batch.touched
            if here and not moved and not resident.flights():
                batch.evicted.append(resident)

    def _choose_leavers(self, surplus: int, now_us: int) -> None:
        batch = self._engine.batch
        working = self._working()
        oldest_first = sorted(self.live.values(), key=lambda r: r.touched_us)
        for resident in oldest_first:
            if surplus <= 0:
                break
            no = resident.run.no
            if no in batch.touched or resident.run.ended or id(resident) in working:
                continue
            self._settle_one(resident, now_us)
            batch.evicted.append(resident)
            surplus -= 1

    def committed(self, batch: Batch, now_us: int) -> None:
        """Bring memory up to date with a turn that has committed."""
        self._parked.update(batch.parked)
        for no in batch.writes.pardoned:
            self._engine.blames.pop(no, None)
            self._parked.discard(no)
            self._revive.append(no)
        for no, resident in batch.touched.items():
            if resident.run.ended or no not in self.live:
                continue
            resident.touched_us = now_us
            if not resident.unsettled:
                self._suspect(resident)
            if resident.machine.timers or resident.retrying or resident.deadlines:
                self.arm(resident)
        for resident in batch.ended:
            self._drop(resident)
            resident.machine.retire()
        for resident in batch.evicted:
            if resident.run.no in self.live:
                flights = resident.flights()
                self._engine.flights.set_aside(flights)
                if flights and resident.armed_us is not None:
                    # Its row says nothing of its clock: only the alarm does.
                    self._away[resident.run.no] = resident.armed_us
                self._drop(resident)
                resident.machine.unload()

    def forget(self, batch: Batch) -> None:
        """Drop what a failed turn changed; it comes back from the file as it was before."""
        flights = self._engine.flights
        flights.set_aside(flights.of_runs(set(batch.touched)))
        for no, resident in batch.touched.items():
            self._drop(resident)
            resident.machine.unload()
            self._revive.append(no)
        for run in batch.ended_unstarted.values():
            if run.queue is None and run.wake_at_us is not None:
                self.expect(run.wake_at_us)  # the clock may have passed it by in that turn
        self._parked_cursor = 0

    def revive_later(self, no: RunNo) -> None:
        """Have the next turn look at a run that a failed one has looked at."""
        self._revive.append(no)

    def revive(self) -> None:
        """Bring back what a failed turn dropped."""
        revive, self._revive = self._revive, []
        for no in revive:
            self._engine.resident(no)

    def unload(self) -> None:
        """Take every run out of memory, for good: each goes on from the file another time."""
        for resident in list(self.live.values()):
            self._drop(resident)
            resident.machine.unload()

    def _drop(self, resident: Resident) -> None:
        run = resident.run
        self.live.pop(run.no, None)
        if self._ids.get(run.id) is resident:
            del self._ids[run.id]


def reason_of(error: str | None) -> str | None:
    """Return a recorded failure in one line."""
    if error is None:
        return None
    try:
        return failure.decode(error).summary()
    except msgspec.MsgspecError:
        return error
