"""The log: what is done to the `-wal` file itself, under SQLite's write lock.

The WAL carries no locks of SQLite's, so opening and closing it here is safe (the same with the
database file or `-shm` would drop the process's locks on them).
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

CHUNK_BYTES = 1 << 20

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
    fd = os.open(wal, os.O_RDWR | os.O_CLOEXEC)
    try:
        offset = 0
        while chunk := os.pread(fd, CHUNK_BYTES, offset):
            offset += os.pwrite(fd, chunk, offset)
        os.fsync(fd)
        return offset
    finally:
        os.close(fd)


def _extend(wal: Path) -> None:
    fd = os.open(wal, os.O_RDWR | os.O_CLOEXEC)
    try:
        end = start = os.fstat(fd).st_size
        try:
            while end < ROOM_BYTES:
                end += os.pwrite(fd, bytes(min(CHUNK_BYTES, ROOM_BYTES - end)), end)
            os.fsync(fd)
        except OSError:
            # The disk has none to spare: give back what others may need. The log then grows
            # commit by commit, as it always can.
            os.ftruncate(fd, start)
    finally:
        os.close(fd)
