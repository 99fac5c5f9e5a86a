"""A chain: the life of a file through many crashes, each life starting from the last one's end."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from unittest.mock import patch

import apsw

from monolite.errors import CommitUnknown, FileDamaged, MonoliteError
from monolite.store.sqlite import log
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.store import SqliteStore
from tests.simulation.batch import Contents
from tests.simulation.faults import Fault, Halt, Plan
from tests.simulation.ledger import Ledger, Lost
from tests.simulation.machine import Machine
from tests.simulation.vfs import SimVFS
from tests.store.samples import NOON_US

LIVES_MAX = 25
"""A chain ends then, so that files are also made anew."""

FRAME_BYTES = 4096 + 24

LOG_PAGES = (3, 10, 30, 100)
"""Small logs, so that a checkpoint is never far."""


@dataclass
class Tally:
    """What came of a number of lives."""

    cuts: int = 0
    acknowledged: int = 0
    survived: int = 0
    lost: int = 0
    damaged: int = 0
    unknown: int = 0
    """Commits that failed in a way that leaves their outcome open."""
    during: Counter[str] = field(default_factory=Counter[str])
    """What was going on when the power failed."""
    losses: list[str] = field(default_factory=list[str])

    @property
    def failed(self) -> int:
        return self.lost + self.damaged

    def __str__(self) -> str:
        parts = [f"{self.cuts} power cuts", f"{self.acknowledged} acknowledged commits"]
        parts += [f"{self.survived} unacknowledged ones survived"]
        if self.unknown:
            parts.append(f"{self.unknown} commits unknown")
        parts += [f"{self.lost} runs lost something", f"{self.damaged} damaged"]
        during = ", ".join(f"{n} {what}" for what, n in self.during.most_common())
        return "; ".join(parts) + f"\ncut while: {during}"


@dataclass(frozen=True)
class Circumstances:
    """What a chain runs under."""

    durability: str = "full"
    lies: bool = False
    failing_syncs: bool = False
    """Each life has a sync that fails, then a restart of the process, then the power cut."""
    spares_opening: bool = False
    """Whether the power holds until the file is open, so that each life acknowledges something."""


class Chain:
    """One file and its ledger, from one machine to the next."""

    def __init__(
        self,
        vfs: SimVFS,
        directory: Path,
        chance: Random,
        tally: Tally,
        circumstances: Circumstances,
    ) -> None:
        self._vfs = vfs
        self._directories = (directory / str(number) for number in count())
        self._chance = chance
        self._tally = tally
        self._circumstances = circumstances
        self._ledger = Ledger()
        self._doing = ""
        self._machine = vfs.mount(Machine(next(self._directories), chance))

    def run(self, cuts: int) -> None:
        """Live through so many power cuts, or until something is lost."""
        try:
            for _ in range(cuts):
                self.live_until_the_power_fails()
            self.look()
        except Lost as error:
            self._tally.lost += 1
            self._tally.losses.append(str(error))
        except (MonoliteError, apsw.Error) as error:
            self._tally.damaged += 1
            self._tally.losses.append(str(error))
        finally:
            self._vfs.unmount(self._machine)
            shutil.rmtree(self._machine.directory)
            self._tally.acknowledged += self._ledger.acknowledged
            self._tally.survived += self._ledger.survived

    def live_until_the_power_fails(self) -> None:
        chance = self._chance
        if self._circumstances.failing_syncs:
            self._live(Plan(Fault("sync", "EIO", at=chance.randint(1, 25), part="log")))
            self._next(self._machine.after_restart(next(self._directories)))
        halt_at = chance.randint(1, chance.choice((20, 150, 400)))
        self._live(Plan(halt_at=halt_at, lies=self._circumstances.lies))
        self._tally.cuts += 1
        self._tally.during[self._moment()] += 1
        self._next(self._machine.after_power_cut(next(self._directories)))

    def look(self) -> None:
        """Judge the file once more, with nothing going wrong."""
        self._live(Plan(), commits=0)

    def _moment(self) -> str:
        where = self._machine.halted_in
        if self._doing == "committing" and where is not None and where[1] == "main":
            return "checkpointing"
        return self._doing if where is not None else "idle"

    def _next(self, machine: Machine) -> None:
        self._vfs.unmount(self._machine)
        shutil.rmtree(self._machine.directory)
        self._machine = self._vfs.mount(machine)

    def _live(self, plan: Plan, commits: int = 40) -> None:
        """Open the file, judge it, and write to it until it closes, fails or the machine stops."""
        self._machine.plan = plan
        path = self._machine.directory / "app.db"
        with contextlib.ExitStack() as stack:
            try:
                self._doing = "opening"
                halt_at, spares = plan.halt_at, self._circumstances.spares_opening
                if halt_at is not None and spares:
                    plan.halt_at = None
                self._ledger.try_opening()
                store = SqliteStore.own(
                    path, durability=self._circumstances.durability, now_us=NOON_US
                )
                stack.callback(_let_go, store, self._machine)
                self._ledger.acknowledge_opening(store.epoch, store.file_id)
                self._doing = "reading"
                self._judge(path)
                if halt_at is not None and spares:
                    plan.halt_at = plan.operations + halt_at
                self._commit_some(store, self._chance.randint(min(commits, 1), commits), stack)
            except Halt:
                pass
            except (MonoliteError, apsw.Error) as error:
                self._doubt(error)

    def _doubt(self, error: Exception) -> None:
        """Raise an error again unless the machine has a right to it."""
        if self._machine.halted:
            return
        if not self._machine.plan.struck:
            raise error
        if isinstance(error, CommitUnknown):
            self._tally.unknown += 1

    def _judge(self, path: Path) -> None:
        con = apsw.Connection(str(path))
        try:
            (verdict,) = con.execute("PRAGMA integrity_check").fetchall()
            if verdict != ("ok",):
                raise FileDamaged(str(verdict))
            self._ledger.judge(Contents.of(con))
        finally:
            con.close()

    def _commit_some(self, store: SqliteStore, commits: int, stack: contextlib.ExitStack) -> None:
        self._doing = "committing"
        for _ in range(commits):
            self._commit(store)
            if self._chance.random() < 0.02:
                # It keeps what comes after it from leaving the log.
                reader = apsw.Connection(str(store.path))
                stack.callback(_let_go, reader, self._machine)
                reader.execute("BEGIN")
                Contents.of(reader)
        if self._chance.random() < 0.5:
            self._doing = "closing"
            store.close()

    def _commit(self, store: SqliteStore) -> None:
        batch = self._ledger.draw(self._chance)
        if not batch.by_door:
            store.commit(batch.writes())
        else:
            door = SqliteDoor.open_door(store.path, create=False, now_us=NOON_US)
            try:
                door.post("run-2", batch.message())
            finally:
                door.close()
        if not self._machine.halted:
            self._ledger.acknowledge(batch)


def _let_go(opened: SqliteStore | apsw.Connection, machine: Machine) -> None:
    """Close what a dead process has open."""
    machine.halt()
    with contextlib.suppress(apsw.Error):
        opened.close()


@contextlib.contextmanager
def small_log(chance: Random) -> Generator[None]:
    """Let logs be checkpointed after few pages, with little room."""
    pages = chance.choice(LOG_PAGES)
    room = pages * FRAME_BYTES + 32
    with patch.object(log, "LOG_PAGES_MAX", pages), patch.object(log, "ROOM_BYTES", room):
        yield


def cut_power(
    vfs: SimVFS, directory: Path, *, cuts: int, seed: int, circumstances: Circumstances
) -> Tally:
    """Cut the power so often, in as many chains as it takes."""
    tally = Tally()
    for number in count():
        if tally.cuts >= cuts:
            return tally
        chance = Random(f"{seed}/{number}")
        with small_log(chance):
            lives = min(LIVES_MAX, cuts - tally.cuts)
            chain = Chain(vfs, directory / str(number), chance, tally, circumstances)
            chain.run(lives)
    raise AssertionError
