"""The log: what is done to the `-wal` file itself, under SQLite's write lock.

It goes through SQLite's own file layer, as everything does that has to survive a power cut: one
kind of sync, one kind of error. The WAL carries no locks of SQLite's, so opening and closing it
here is safe (the same with the database file or `-shm` would drop the process's locks on them).
"""

from __future__ import annotations

from pathlib import Path

import apsw

CHUNK_BYTES = 1 << 16
"""SQLite's file layer takes a page at a time, and no 128 KiB."""

LOG_PAGES_MAX = 1_000
"""Checkpoint when the log has more pages, so that it starts over in room it has already."""

ROOM_BYTES = LOG_PAGES_MAX * (4096 + 24) + 32
"""The log's size at that point: pages of 4 KiB, a header each, and the log's own."""


def rewrite(con: apsw.Connection, path: Path) -> int:
    """Rewrite the file's log in place and sync it; return how many bytes it had.

    After a failed fsync the kernel may drop the dirty pages yet keep showing them from its
    cache. A new process would then build on log frames that the disk does not have, and lose
    them with the next power cut (Rebello et al., "Can Applications Recover from fsync
    Failures?", ATC 2020). Writing the same bytes again, in place, closes the gap.
    """
    wal = wal_of(path)
    if not _size(wal):
        return 0
    con.execute("BEGIN IMMEDIATE")
    try:
        return _rewrite(wal)
    finally:
        con.execute("ROLLBACK")


def make_room(con: apsw.Connection, path: Path) -> None:
    """Write zeros behind the log's end, so that commits need not make the file grow.

    A commit that overwrites costs about half of one that appends, because the file system has
    no new blocks to record. SQLite takes the zeros for what a former log left behind: a frame
    counts only with the log's own salt and checksum.
    """
    wal = wal_of(path)
    con.execute("BEGIN IMMEDIATE")
    try:
        # No log, no header: then the zeros would be all there is, and readers of the log (such
        # as Litestream) expect a header.
        if 0 < _size(wal) < ROOM_BYTES:
            _extend(wal)
    finally:
        con.execute("ROLLBACK")


def wal_of(path: Path) -> Path:
    """Return where SQLite keeps the log of a file."""
    return path.with_name(path.name + "-wal")


def _size(wal: Path) -> int:
    try:
        return wal.stat().st_size
    except FileNotFoundError:
        return 0


def _rewrite(wal: Path) -> int:
    file = _open(wal)
    try:
        offset, size = 0, file.xFileSize()
        # Never beyond the end: of a read that falls short, zeros at its end are cut off too.
        while chunk := file.xRead(min(CHUNK_BYTES, size - offset), offset):
            file.xWrite(chunk, offset)
            offset += len(chunk)
        file.xSync(apsw.SQLITE_SYNC_FULL)
        return offset
    finally:
        file.xClose()


def _extend(wal: Path) -> None:
    file = _open(wal)
    try:
        end = start = file.xFileSize()
        try:
            while end < ROOM_BYTES:
                size = min(CHUNK_BYTES, ROOM_BYTES - end)
                file.xWrite(bytes(size), end)
                end += size
            file.xSync(apsw.SQLITE_SYNC_FULL)
        except (apsw.FullError, apsw.IOError):
            # The disk has none to spare: give back what others may need. The log then grows
            # commit by commit, as it always can.
            file.xTruncate(start)
    finally:
        file.xClose()


def _open(wal: Path) -> apsw.VFSFile:
    flags = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE
    return apsw.VFSFile("", str(wal.absolute()), [flags, 0])
