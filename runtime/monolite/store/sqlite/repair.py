"""Repair at open: make sure that the log on the disk is the log that we are shown.

After a failed fsync the kernel may drop the dirty pages yet keep showing them from its cache.
A new process would then build on log frames that the disk does not have, and lose them with
the next power cut (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
Writing the same bytes again, in place, and syncing them closes the gap.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

CHUNK_BYTES = 1 << 20


def rewrite_log(con: apsw.Connection, path: Path) -> int:
    """Rewrite the file's WAL in place under the write lock; return how many bytes it had.

    The WAL carries no locks of SQLite's, so opening and closing it here is safe.
    """
    wal = path.with_name(path.name + "-wal")
    try:
        if wal.stat().st_size == 0:
            return 0
    except FileNotFoundError:
        return 0
    con.execute("BEGIN IMMEDIATE")
    try:
        return _rewrite(wal)
    finally:
        con.execute("ROLLBACK")


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
