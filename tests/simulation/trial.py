"""A trial: two short lives of a file in which one operation of the disk fails, and what follows."""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from pathlib import Path
from random import Random
from unittest.mock import patch

import apsw

from monolite.errors import CommitUnknown, FileDamaged, FileForeign, StorageFull
from monolite.store.protocol import Message
from monolite.store.sqlite.door import SqliteDoor
from monolite.store.sqlite.store import SqliteStore
from tests.simulation.batch import Contents
from tests.simulation.faults import Fault, Plan
from tests.simulation.ledger import Ledger
from tests.simulation.machine import Machine
from tests.simulation.vfs import SimVFS
from tests.store.samples import NOON_US

COMMITS = 6
"""In each life: enough for the small log to be moved into the file."""

TRIES = 3

OPENING_FAILS = (StorageFull, FileDamaged, FileForeign)
"""What an owner or a client may be told when a file cannot be opened."""


class Trial:
    """Runs the scenario once. `told` says which errors came out of it."""

    def __init__(self, vfs: SimVFS, directory: Path, seed: str) -> None:
        self._vfs = vfs
        self._chance = Random(seed)
        self._directory = directory
        self._number = 0
        self._ledger = Ledger()
        self.told: Counter[type[Exception]] = Counter()
        self._machine = vfs.mount(Machine(self._fresh(), self._chance))

    def _fresh(self) -> Path:
        self._number += 1
        return self._directory / str(self._number)

    def run(self, *faults: Fault) -> Plan:
        """Live through it; raises Lost if afterwards something acknowledged is missing."""
        plan = Plan(*faults)
        self._live(plan, closes=False)
        self._next(self._machine.after_restart(self._fresh()))
        self._live(plan, closes=True)
        if self._chance.random() < 0.5:
            self._next(self._machine.after_restart(self._fresh()))
            self._look()
        self._next(self._machine.after_power_cut(self._fresh()))
        self._look()
        return plan

    def end(self) -> None:
        self._vfs.unmount(self._machine)
        shutil.rmtree(self._directory)

    def _next(self, machine: Machine) -> None:
        self._vfs.unmount(self._machine)
        self._machine = self._vfs.mount(machine)

    @property
    def _path(self) -> Path:
        return self._machine.directory / "app.db"

    def _live(self, plan: Plan, *, closes: bool) -> None:
        self._machine.plan = plan
        self._ledger.try_opening()
        try:
            store = SqliteStore.own(self._path, now_us=NOON_US)
        except OPENING_FAILS as error:
            self.told[type(error)] += 1
            return
        self._ledger.acknowledge_opening(store.epoch, store.file_id)
        try:
            self._judge()
            with contextlib.suppress(CommitUnknown):
                for number in range(COMMITS):
                    self._commit(store, by_door=number == 3)
        finally:
            if not closes:
                self._machine.halt()
            # SQLite keeps to itself what goes wrong when it closes; a file layer in Python cannot.
            with contextlib.suppress(apsw.Error):
                store.close()

    def _commit(self, store: SqliteStore, *, by_door: bool) -> None:
        """Commit a batch; a full disk is tried again, an unknown outcome ends the life."""
        batch = self._ledger.draw(self._chance)
        batch.by_door = by_door and batch.number > 1
        for _ in range(TRIES):
            try:
                if batch.by_door:
                    self._post(batch.message(), store.path)
                else:
                    store.commit(batch.writes())
            except StorageFull:
                self.told[StorageFull] += 1
            except OPENING_FAILS as error:
                self.told[type(error)] += 1
                break
            except CommitUnknown:
                self.told[CommitUnknown] += 1
                raise
            else:
                self._ledger.acknowledge(batch)
                return
        self._ledger.refuse(batch)

    def _post(self, message: Message, path: Path) -> None:
        door = SqliteDoor.open_door(path, create=False, now_us=NOON_US)
        try:
            door.post("run-2", message)
        finally:
            door.close()

    def _look(self) -> None:
        """Open the file with nothing going wrong, and judge it."""
        self._ledger.try_opening()
        store = SqliteStore.own(self._path, now_us=NOON_US)
        self._ledger.acknowledge_opening(store.epoch, store.file_id)
        try:
            self._judge()
        finally:
            self._machine.halt()
            store.close()

    def _judge(self) -> None:
        with patch.object(self._machine, "plan", Plan()):
            con = apsw.Connection(str(self._path))
            try:
                assert con.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                self._ledger.judge(Contents.of(con))
            finally:
                con.close()
