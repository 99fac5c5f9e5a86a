"""A faulty disk: SQLite's own files, whose log cannot be written or synced when a test says so."""

from __future__ import annotations

from typing import Any

import apsw

SYSTEM = "unix"
"""SQLite's name of the real file system."""


class FaultyDisk(apsw.VFS):
    """The default disk of every connection, from its making until it is unregistered."""

    def __init__(self) -> None:
        super().__init__("faulty", SYSTEM, makedefault=True)
        self.on_write: type[apsw.Error] | None = None
        self.on_sync: type[apsw.Error] | None = None

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: FaultyDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__(SYSTEM, name, flags)
        self._disk = disk
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        if self._is_log and self._disk.on_write is not None:
            raise self._disk.on_write
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._is_log and self._disk.on_sync is not None:
            raise self._disk.on_sync
        super().xSync(flags)
