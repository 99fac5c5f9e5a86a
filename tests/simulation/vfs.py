"""The simulated file layer: SQLite's own, with every change told to the machine it happens on.

It is the default of every connection while it is registered, and leaves directories alone that
belong to no machine. The index (`-shm`) passes it by: that is memory, and no crash keeps it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import apsw

from tests.simulation.faults import Fault, Part
from tests.simulation.machine import Machine
from tests.simulation.medium import Inode

SYSTEM = "unix"
"""SQLite's name of the real file system."""

CREATED_WITH_ENTRY = (
    apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
)
"""Files whose first sync, if they may be created, syncs the directory as well."""


class SimVFS(apsw.VFS):
    """Runs any number of machines, each in its directory."""

    def __init__(self) -> None:
        super().__init__("simulation", SYSTEM, makedefault=True)
        self._machines: dict[str, Machine] = {}

    def mount(self, machine: Machine) -> Machine:
        self._machines[str(machine.directory)] = machine
        return machine

    def unmount(self, machine: Machine) -> None:
        machine.halt()
        del self._machines[str(machine.directory)]

    def machine_of(self, path: str) -> Machine | None:
        directory, _, _ = path.rpartition("/")
        return self._machines.get(directory)

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        machine = None if path is None else self.machine_of(path)
        if path is None or machine is None:
            return apsw.VFSFile(SYSTEM, name, flags)
        return _SimFile(machine, path, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        machine = self.machine_of(filename)
        if machine is None:
            super().xDelete(filename, syncdir)
            return
        if machine.halted:
            return
        fault = machine.begin("delete", _part_by_name(filename))
        if fault is not None:
            raise fault.error()
        super().xDelete(filename, syncdir)
        machine.medium.unlink(_name(filename))
        if syncdir and not machine.plan.lies:
            machine.medium.sync_directory()
        machine.end()


class _SimFile(apsw.VFSFile):
    def __init__(
        self,
        machine: Machine,
        path: str,
        name: apsw.URIFilename | str | None,
        flags: list[int],
    ) -> None:
        self._machine = machine
        self._part: Part = _part_by_flags(flags[0])
        fault = None if machine.halted else machine.begin("open", self._part)
        if fault is not None:
            raise fault.error()
        super().__init__(SYSTEM, name, flags)
        self._inode = machine.medium.names.get(_name(path)) or self._known(path)
        creates = bool(flags[0] & apsw.SQLITE_OPEN_CREATE)
        self._syncs_directory = creates and bool(flags[0] & CREATED_WITH_ENTRY)
        if not machine.halted:
            machine.end()

    def _known(self, path: str) -> Inode:
        """Make a file known to the medium: a new one, or one made by other means than SQLite's."""
        inode = self._machine.medium.link(_name(path))
        size = self.xFileSize()
        if size:
            inode.write(0, super().xRead(size, 0))
        return inode

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        if not self._machine.halted:
            fault = self._machine.plan.strike("read", self._part)
            if fault is not None:
                raise fault.error()
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        machine = self._machine
        if machine.halted:
            return
        fault = machine.begin("write", self._part)
        whole = bytes(data)
        if fault is not None and fault.trouble == "short":
            self._write(whole[: len(whole) // 2], offset)
        if fault is not None:
            raise fault.error()
        self._write(whole, offset)
        machine.end()

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._inode.write(offset, data)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        machine = self._machine
        if machine.halted:
            return
        fault = machine.begin("truncate", self._part)
        if fault is not None:
            raise fault.error()
        super().xTruncate(newsize)
        self._inode.truncate(newsize)
        machine.end()

    def xSync(self, flags: int) -> None:  # noqa: N802
        machine = self._machine
        if machine.halted:
            return
        fault = machine.begin("sync", self._part)
        if fault is not None:
            self._fail_sync(fault)
        if not machine.plan.lies:
            self._inode.sync()
        if self._syncs_directory:
            # Two system calls: the power may fail between them.
            if machine.chance.random() < 0.5:
                machine.end()
            self._syncs_directory = False
            if not machine.plan.lies:
                machine.medium.sync_directory()
        machine.end()

    def _fail_sync(self, fault: Fault) -> None:
        self._inode.fail_sync(self._machine.chance)
        raise fault.error()


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _part_by_flags(flags: int) -> Part:
    if flags & apsw.SQLITE_OPEN_MAIN_DB:
        return "main"
    if flags & apsw.SQLITE_OPEN_WAL:
        return "log"
    return "journal" if flags & apsw.SQLITE_OPEN_MAIN_JOURNAL else "other"


def _part_by_name(path: str) -> Part:
    return "log" if path.endswith("-wal") else "journal" if path.endswith("-journal") else "main"


@contextmanager
def simulated() -> Generator[SimVFS]:
    """Make every connection that is opened inside go through a simulated file layer."""
    vfs = SimVFS()
    try:
        yield vfs
    finally:
        vfs.unregister()
